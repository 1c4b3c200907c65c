"""Preparation always gives the same bytes, records what it changed, and names every image that it cannot use."""

import csv
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from favae.config.dataset import DatasetConfig
from favae.data.dataset import PreparedSplit
from favae.data.prepare import BadImagesError, prepare
from favae.data.shipped import SHIPPED_IMAGES, shipped_path
from favae.data.tiles import regions


def _spec(**changes: object) -> DatasetConfig:
    layout = {"kind": "folder", "root": "images", **changes.pop("layout", {})}
    return DatasetConfig.model_validate({"layout": layout, "image_size": 8, **changes})


def _run(config: DatasetConfig, root: Path, name: str, **options: object) -> tuple[dict, Path]:
    out = root / name
    out.mkdir()
    return prepare(config, root / "raw", out, **options), out


def _bytes(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_index_pixels_hashes_and_captions_belong_together(image_folder, tmp_path):
    summary, out = _run(_spec(layout={"captions": "sidecar"}, shard_rows=4), tmp_path, "out")
    assert summary["counts"] == summary["found"] == {"train": 10, "val": 3, "test": 4}
    assert sorted(p.name for p in out.glob("train-*")) == [f"train-0000{i}.npy" for i in range(3)]
    for row in _rows(out / "index.csv"):
        source = image_folder / row["source"]
        expected = Image.open(source).resize((8, 8), Image.Resampling.BILINEAR)
        stored = np.load(out / f"{row['split']}-{int(row['shard']):05d}.npy")[int(row["row"])]
        assert np.array_equal(stored, np.asarray(expected))
        assert row["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    captions = _rows(out / "captions.csv")
    assert len(captions) == summary["captions"] == 34
    assert captions[0] == {"id": "train/00.png", "caption": "train 0 first"}


def test_pixel_hash_is_of_all_pixels_in_order_independent_of_shards(image_folder, tmp_path):
    small, out = _run(_spec(shard_rows=3), tmp_path, "small")
    large, _ = _run(_spec(), tmp_path, "large")
    assert small["pixel_sha256"] == large["pixel_sha256"]
    x = PreparedSplit(out, "train").images(range(10)).permute(0, 2, 3, 1).numpy()
    assert small["pixel_sha256"]["train"] == hashlib.sha256(x.tobytes()).hexdigest()


def test_any_number_of_workers_writes_the_same_bytes(tmp_path):
    layout = {"kind": "tiles", "images": ["coffee", "moon"], "windows": [0.3]}
    config = DatasetConfig.model_validate({"layout": layout, "image_size": 16})
    seen: list[tuple[int, int]] = []
    one, out_one = _run(config, tmp_path, "one")
    two, out_two = _run(config, tmp_path, "two", workers=2, progress=lambda done, total: seen.append((done, total)))
    assert one == two and _bytes(out_one) == _bytes(out_two)
    total = sum(one["found"].values())
    assert seen == [(i + 1, total) for i in range(total)]


def _spoil(root: Path) -> dict[str, str]:
    """Put one of each kind of bad image into the training folder; returns name -> word of the reason."""
    train = root / "train"
    (train / "empty.png").touch()
    (train / "text.jpg").write_text("not an image")
    data = (train / "00.png").read_bytes()
    (train / "short.png").write_bytes(data[: len(data) // 2])
    Image.fromarray(np.zeros((4, 4), np.float32)).save(train / "float.tif")
    return {"empty.png": "empty", "text.jpg": "not an image", "short.png": "truncated", "float.tif": "floating"}


def test_by_default_preparation_fails_and_lists_every_bad_image(image_folder, tmp_path):
    bad = _spoil(image_folder)
    with pytest.raises(BadImagesError, match="4 of 21 images") as caught:
        _run(_spec(), tmp_path, "out")
    for name, reason in bad.items():
        assert f"train/{name}: {reason}" in str(caught.value)
    report = {Path(r["source"]).name: r["reason"] for r in _rows(tmp_path / "out" / "bad_images.csv")}
    assert set(report) == set(bad) and all(reason in report[name] for name, reason in bad.items())


def test_skip_leaves_out_and_counts_and_keeps_the_rest(image_folder, tmp_path):
    clean, _ = _run(_spec(), tmp_path, "clean")
    bad = _spoil(image_folder)
    skipped, out = _run(_spec(on_bad_image="skip"), tmp_path, "skipped")
    assert skipped["bad_images"] == len(bad) and skipped["found"]["train"] == 14
    assert sum(skipped["bad_image_reasons"].values()) == 4
    assert skipped["counts"] == clean["counts"] and skipped["pixel_sha256"] == clean["pixel_sha256"]
    assert len(PreparedSplit(out, "train")) == 10


def test_every_conversion_is_counted(image_folder, tmp_path):
    train = image_folder / "train"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 30)).save(train / "turned.jpg", exif=exif)
    Image.new("L", (20, 20)).save(train / "grey.png")
    Image.new("RGBA", (20, 20)).save(train / "alpha.png")
    Image.new("CMYK", (20, 20)).save(train / "print.jpg")
    Image.new("RGB", (4, 4)).save(train / "tiny.png")
    summary, _ = _run(_spec(), tmp_path, "out")
    once = ("CMYK to RGB", "EXIF rotation", "L to RGB", "RGBA to RGB", "upscaled")
    assert summary["conversions"] == dict.fromkeys(once, 1)
    with pytest.raises(BadImagesError, match="3 of 22"):
        _run(_spec(non_rgb="bad"), tmp_path, "strict")


def test_an_image_copied_into_two_splits_is_counted(image_folder, tmp_path):
    shutil.copy(image_folder / "train" / "03.png", image_folder / "test" / "copy.png")
    assert _run(_spec(), tmp_path, "out")[0]["in_several_splits"] == 1


def test_counts_and_limit_and_channels(image_folder, tmp_path):
    with pytest.raises(ValueError, match="train: found 10, expected 11"):
        _run(_spec(expected_counts={"train": 11, "val": 3}), tmp_path, "wrong")
    config = _spec(expected_counts={"train": 10}, limit={"train": 4, "test": 99}, channels=1)
    summary, out = _run(config, tmp_path, "out")
    assert summary["counts"] == {"train": 4, "val": 3, "test": 4}
    assert PreparedSplit(out, "train").image_shape == (1, 8, 8)


def test_tiles_record_their_box_and_the_hash_of_its_pixels(tmp_path):
    layout = {"kind": "tiles", "images": ["retina", "moon"], "windows": [0.3], "min_std": 8}
    config = DatasetConfig.model_validate({"layout": layout, "image_size": 16})
    summary, out = _run(config, tmp_path, "out")
    rows = _rows(out / "index.csv")
    assert summary["flat_tiles"] == sum(summary["found"].values()) - len(rows) > 0
    photo = SHIPPED_IMAGES["retina"]
    image = Image.open(shipped_path(photo))
    for row in [r for r in rows if r["source"] == photo.source][::9]:
        box = tuple(map(int, row["box"].split()))
        left, top, right, bottom = regions(photo, config.layout)[row["split"]]
        assert left <= box[0] and top <= box[1] and box[2] <= right and box[3] <= bottom
        assert row["sha256"] == hashlib.sha256(image.crop(box).tobytes()).hexdigest()
    assert min(PreparedSplit(out, "train").images([i])[0].float().std(correction=0) for i in range(5)) >= 8


def test_no_training_image_is_an_error(image_folder, tmp_path):
    shutil.rmtree(image_folder / "train")
    with pytest.raises(ValueError, match="no training image"):
        _run(_spec(), tmp_path, "out")
