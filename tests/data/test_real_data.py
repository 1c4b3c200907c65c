"""Pieces of the published data sets, in their published layouts, prepared at small size."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from favae.config.dataset import DatasetConfig
from favae.data.dataset import PreparedSplit
from favae.data.layouts import list_records
from favae.data.mnist import read_images
from favae.data.prepare import BadImagesError, prepare
from favae.data.records import count_splits


def _prepare(raw: Path, out: Path, config: dict | None = None, **layout: object) -> dict:
    return prepare(DatasetConfig.model_validate({"layout": layout, "image_size": 16, **(config or {})}), raw, out)


def _counts(raw: Path, expected: dict[str, int], **layout: object) -> None:
    config = {"layout": layout, "image_size": 16, "expected_counts": expected}
    assert count_splits(list_records(DatasetConfig.model_validate(config), raw)) == expected


def test_celebahq_joined_with_celeba_gives_the_published_counts(real_data):
    expected = {"train": 24183, "val": 2993, "test": 2824}
    _counts(real_data / "raw", expected, kind="celebahq", captions="none")


def test_taming_lists_give_the_published_counts(real_data):
    for kind, name, expected in (
        ("celebahq", "celebahq", {"train": 25000, "val": 0, "test": 5000}),
        ("ffhq", "ffhq", {"train": 60000, "val": 0, "test": 10000}),
    ):
        lists = {
            "train": f"splits/taming_{name}train.txt.gz",
            "test": f"splits/taming_{name}validation.txt.gz",
        }
        options = {"captions": "none"} if kind == "celebahq" else {}
        _counts(
            real_data, expected, kind=kind, root=f"raw/{kind}", split="lists", lists=lists, val_from_train=0, **options
        )


def test_celebahq_with_ten_captions_per_image(real_data, tmp_path):
    summary = _prepare(real_data / "raw", tmp_path, kind="celebahq", files="present")
    assert sum(summary["counts"].values()) == 101 and summary["captions"] == 1010
    assert summary["conversions"] == {} and summary["in_several_splits"] == 0
    train = PreparedSplit(tmp_path, "train")
    assert train.ids[0] == "0" and len(train.captions(0)) == 10
    assert train.captions(0)[0] == "The person has high cheekbones, and pointy nose. She is wearing lipstick."
    original = Image.open(real_data / "raw/celebahq/CelebA-HQ-img/0.jpg").resize((16, 16), Image.Resampling.BILINEAR)
    assert np.array_equal(train.images([0])[0].permute(1, 2, 0).numpy(), np.asarray(original))


def test_an_incomplete_celebahq_names_what_is_missing(real_data, tmp_path):
    with pytest.raises(BadImagesError, match="29,899 of 30,000") as caught:
        _prepare(real_data / "raw", tmp_path, kind="celebahq", captions="none")
    assert "CelebA-HQ-img/102.jpg: missing" in str(caught.value)
    assert f"29,879 more in {tmp_path / 'bad_images.csv'}" in str(caught.value)


def test_ffhq_with_two_transparent_images(real_data, tmp_path):
    summary = _prepare(real_data / "raw", tmp_path, kind="ffhq", val_from_train=2)
    assert summary["counts"] == {"train": 14, "val": 2, "test": 5}
    assert summary["conversions"] == {"RGBA to RGB": 2}


def test_imagenet_has_its_counts_and_a_label_per_training_image(real_data, tmp_path):
    config = {"resize": "center_crop"}
    summary = _prepare(real_data / "raw", tmp_path, config, kind="imagenet", val_from_train=20)
    assert summary["counts"] == {"train": 180, "val": 20, "test": 18} and summary["bad_images"] == 0
    labels = [label for split in ("train", "val") for label in PreparedSplit(tmp_path, split).labels]
    assert sorted(labels) == list(range(200))
    assert list(PreparedSplit(tmp_path, "test").labels) == [None] * 18


def test_celeba_with_the_published_test_list(real_data, tmp_path):
    layout = {"kind": "celeba", "val_from_train": 50, "files": "present"}
    config = {"resize": "center_crop", "limit": {"train": 60}}
    summary = _prepare(real_data / "raw", tmp_path, config, **layout)
    assert summary["counts"] == {"train": 60, "val": 50, "test": 150}
    listed = (real_data / "raw/celeba/ffl_test_3000.txt").read_text().split()
    assert {f"img_align_celeba/{i}.jpg" for i in PreparedSplit(tmp_path, "test").ids} <= set(listed)


def test_faces_as_a_users_own_folder(real_data, tmp_path):
    summary = _prepare(real_data / "raw", tmp_path, {"limit": {"train": 30}}, kind="folder", root="faces")
    assert summary["counts"] == {"train": 30, "val": 40, "test": 0}
    with pytest.raises(ValueError, match="has no test images"):
        PreparedSplit(tmp_path, "test")


def test_mnist_checksums_counts_and_pixels(real_data, tmp_path):
    config = {"image_size": 28, "channels": 1, "limit": {"train": 50, "val": 10, "test": 20}}
    config["expected_counts"] = {"train": 55000, "val": 5000, "test": 10000}
    summary = _prepare(real_data / "raw", tmp_path, config, kind="mnist")
    assert summary["counts"] == {"train": 50, "val": 10, "test": 20}
    test = PreparedSplit(tmp_path, "test")
    images = read_images(real_data / "raw/mnist/t10k-images-idx3-ubyte.gz")
    for row, name in enumerate(test.ids):
        assert np.array_equal(test.images([row])[0, 0].numpy(), images[int(name.split("-")[1])])
