"""Published data sets as users store them: they are accepted, or the message tells what was found and what to do."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from favae.config.dataset import DatasetConfig
from favae.data.layouts import RawFiles, list_records
from favae.data.records import ImageRecord


def _records(raw: Path, used: RawFiles | None = None, **layout: object) -> list[ImageRecord]:
    return list_records(DatasetConfig.model_validate({"layout": layout, "image_size": 8}), raw, used)


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def _found(records: list[ImageRecord]) -> dict[str, tuple[str, str]]:
    assert all(record.path.is_file() for record in records)
    return {record.id: (record.split, record.source) for record in records}


@pytest.mark.parametrize(
    ("folder", "suffix"),
    [
        ("img_align_celeba", "jpg"),
        ("img_align_celeba/img_align_celeba", "jpg"),  # Kaggle
        ("Img/img_align_celeba", "jpg"),  # as in the authors' drive
        ("Img/img_align_celeba_png", "png"),
        ("img_align_celeba", "png"),
    ],
)
@pytest.mark.parametrize(
    "partition", ["list_eval_partition.txt", "list_eval_partition.csv", "Eval/list_eval_partition.txt"]
)
def test_celeba_is_found_in_nested_folders(tmp_path, folder, suffix, partition):
    root = tmp_path / "celeba"
    _touch(root / folder, *(f"{i:06d}.{suffix}" for i in range(1, 4)))
    (root / partition).parent.mkdir(exist_ok=True)
    csv = partition.endswith("csv")
    lines = [f"{i:06d}.jpg{',' if csv else ' '}{split}" for i, split in ((1, 0), (2, 1), (3, 2))]
    (root / partition).write_text("\n".join(["image_id,partition"] * csv + lines), encoding="utf-8")
    splits = {"000001": "train", "000002": "val", "000003": "test"}
    expected = {i: (split, f"{folder}/{i}.{suffix}") for i, split in splits.items()}
    assert _found(_records(tmp_path, kind="celeba", split="partition", val_from_train=0)) == expected
    (root / "ffl_test_3000.txt").write_text("img_align_celeba/000003.jpg\n", encoding="utf-8")
    by_list = _found(_records(tmp_path, kind="celeba", val_from_train=0))
    assert by_list == {i: ("test" if i == "000003" else "train", source) for i, (_, source) in expected.items()}


def test_an_archive_unpacked_twice_is_used_once_and_counted(tmp_path):
    root = tmp_path / "celeba"
    _touch(root / "img_align_celeba", "000001.jpg", "img_align_celeba/000001.jpg", "img_align_celeba/000002.jpg")
    (root / "ffl_test_3000.txt").write_text("000002.jpg\n", encoding="utf-8")
    used = RawFiles()
    found = _found(_records(tmp_path, used, kind="celeba", val_from_train=0))
    assert found["000001"] == ("train", "img_align_celeba/000001.jpg")
    assert used.unused.summary()["second copy of an image"]["count"] == 1


def test_one_image_in_two_formats_is_refused_by_name(tmp_path):
    root = tmp_path / "celeba"
    _touch(root / "img_align_celeba", "000001.jpg", "000001.png")
    (root / "ffl_test_3000.txt").write_text("000001.jpg\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"000001\.jpg and .*000001\.png are the same image"):
        _records(tmp_path, kind="celeba", val_from_train=0)


@pytest.mark.parametrize(
    ("folder", "name"),
    [("CelebA-HQ-img", "{}.jpg"), ("CelebAMask-HQ/CelebA-HQ-img", "{}.png"), ("celeba_hq_256", "{:05d}.jpg")],
)
def test_celebahq_is_found_by_number(tmp_path, folder, name):
    root = tmp_path / "celebahq"
    _touch(root / folder, name.format(0), name.format(24000), "overview.png")
    _touch(root, "text/celeba-caption/0.txt")
    (root / "text/celeba-caption/0.txt").write_text("a face\n", encoding="utf-8")
    used = RawFiles()
    layout = {"kind": "celebahq", "split": "mm_celebahq", "files": "present"}
    found = _found(_records(tmp_path, used, captions="none", **layout))
    assert found == {
        "0": ("train", f"{folder}/{name.format(0)}"),
        "24000": ("test", f"{folder}/{name.format(24000)}"),
    }
    assert used.unused.summary()["name is no number"]["first"] == ["overview.png"]
    (root / "text/celeba-caption/24000.txt").write_text("another face\n", encoding="utf-8")
    assert [r.captions for r in _records(tmp_path, **layout)] == [("a face",), ("another face",)]


@pytest.mark.parametrize("folder", ["", "images1024x1024/00000/", "resized/"])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_ffhq_flat_or_in_thousand_folders(tmp_path, folder, suffix):
    _touch(tmp_path / "ffhq", f"{folder}00001.{suffix}", "LICENSE.txt")
    assert _found(_records(tmp_path, kind="ffhq", val_from_train=0)) == {"00001": ("train", f"{folder}00001.{suffix}")}


def test_two_resolutions_of_ffhq_are_refused_with_what_to_do(tmp_path):
    _touch(tmp_path / "ffhq", "images256x256/00000/00001.png", "thumbnails128x128/00000/00001.png")
    with pytest.raises(ValueError, match="the same image, 1, twice; keep one of them, or let `root` name the folder"):
        _records(tmp_path, kind="ffhq")
    assert len(_records(tmp_path, kind="ffhq", root="ffhq/thumbnails128x128", val_from_train=0)) == 1


def test_ffhq_json_may_be_beside_the_image_folder(tmp_path):
    _touch(tmp_path / "ffhq/images1024x1024", "00001.png")
    (tmp_path / "ffhq/ffhq-dataset-v2.json").write_text('{"1": {"category": "validation"}}', encoding="utf-8")
    records = _records(tmp_path, kind="ffhq", root="ffhq/images1024x1024", split="json", val_from_train=0)
    assert _found(records) == {"00001": ("test", "00001.png")}


@pytest.mark.parametrize("base", ["", "ILSVRC/Data/CLS-LOC/"])
@pytest.mark.parametrize("parts", [("train", "val"), ("ILSVRC2012_img_train", "ILSVRC2012_img_val")])
@pytest.mark.parametrize("val", ["", "n02/"])
def test_imagenet_ids_and_labels_do_not_depend_on_its_folder(tmp_path, base, parts, val):
    root = tmp_path / "imagenet"
    train = f"{base}{parts[0]}"
    _touch(root, f"{train}/n01/a.JPEG", f"{train}/n02/b.JPEG", f"{train}/.ipynb_checkpoints/c.JPEG")
    _touch(root, f"{base}{parts[1]}/{val}v.JPEG")
    records = _records(tmp_path, kind="imagenet", val_from_train=0)
    assert [(r.id, r.label) for r in records] == [
        ("train/n01/a", 0),
        ("train/n02/b", 1),
        (f"val/{val}v", 1 if val else None),
    ]
    assert all((root / r.source).samefile(r.path) for r in records)


def test_a_linked_class_of_imagenet_is_a_class(tmp_path):
    _touch(tmp_path, "imagenet/train/n01/a.JPEG", "imagenet/val/v.JPEG", "store/n02/b.JPEG")
    (tmp_path / "imagenet/train/n02").symlink_to(tmp_path / "store/n02")
    assert [r.label for r in _records(tmp_path, kind="imagenet", val_from_train=0)] == [0, 1, None]


@pytest.mark.parametrize("kind", ["{}-idx{}-ubyte", "{}.idx{}-ubyte", "{}-idx{}", "{}.idx{}"])
@pytest.mark.parametrize("folder", ["", "raw/", "MNIST/raw/"])
@pytest.mark.parametrize("packed", ["gz", "plain", "plain named gz"])
def test_mnist_in_every_spelling(tmp_path, kind, folder, packed):
    pixels = np.arange(8, dtype=np.uint8)
    for part in ("train", "t10k"):
        for what, dimensions, header in (("images", 3, (2, 2, 2)), ("labels", 1, (2,))):
            body = (
                struct.pack(f">{dimensions + 1}I", 0x0800 + dimensions, *header) + pixels[: np.prod(header)].tobytes()
            )
            name = kind.format(f"{part}-{what}", dimensions) + (".gz" if "gz" in packed else "")
            path = tmp_path / "mnist" / f"{folder}{name}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(gzip.compress(body) if packed == "gz" else body)
    records = _records(tmp_path, kind="mnist", checksums="unchecked", val_from_train=0)
    assert len(records) == 4 and [r.label for r in records] == [0, 1, 0, 1]
    assert records[0].source.startswith(folder + "train-images")


@pytest.mark.parametrize(
    ("kind", "files", "message"),
    [
        ("celeba", ["img_align_celeba.zip"], r"found img_align_celeba\.zip, an archive: unpack it there"),
        (
            "celeba",
            ["data/train-00000.parquet"],
            "no folder img_align_celeba or img_align_celeba_png .*found data: put",
        ),
        ("celebahq", ["celeba.tfrecords"], "TensorFlow's form, which is not read"),
        ("ffhq", ["ffhq.parquet"], "Hugging Face's form, which is not read"),
        ("imagenet", ["ILSVRC2012_img_train.tar"], r"found ILSVRC2012_img_train\.tar, an archive"),
        ("imagenet", ["train/n01.tar", "val/v.JPEG"], r"train has no folders <wnid>.*found n01\.tar, an archive"),
        ("imagenet", ["train/n01/a.JPEG"], "train alone; expected `train` with a folder per class and `val` beside it"),
        ("mnist", ["mnist.npz"], r"neither train-images-idx3-ubyte.*found mnist\.npz, NumPy's form"),
        ("mnist", [], "the folder is empty"),
    ],
)
def test_other_formats_are_named_with_what_to_do(tmp_path, kind, files, message):
    (tmp_path / kind).mkdir()
    _touch(tmp_path / kind, *files)
    layout = {"split": "mm_celebahq", "captions": "none"} if kind == "celebahq" else {}
    with pytest.raises(ValueError, match=message):
        _records(tmp_path, kind=kind, **layout)


def test_a_raw_folder_that_is_a_dangling_link_is_named(tmp_path):
    (tmp_path / "ffhq").symlink_to(tmp_path / "gone")
    with pytest.raises(ValueError, match=r"ffhq is a link to .*gone, which does not exist"):
        _records(tmp_path, kind="ffhq")


@pytest.mark.parametrize("folder", ["valid", "Training", "testing"])
def test_folders_with_other_names_of_splits_get_the_right_advice(tmp_path, folder):
    _touch(tmp_path / "mine", f"{folder}/a.png")
    meant = {"valid": "val", "Training": "train", "testing": "test"}[folder]
    with pytest.raises(ValueError, match=f"is outside .* rename its folder to {meant}"):
        _records(tmp_path, kind="folder", root="mine")


@pytest.mark.parametrize("name", ["../../x.png", "/etc/x.png", "..\\x.png", "C:\\x.png", "a/../../x.png"])
@pytest.mark.parametrize("file", ["list_eval_partition.txt", "ffl_test_3000.txt"])
def test_a_list_that_points_outside_the_data_set_is_refused(tmp_path, name, file):
    root = tmp_path / "celeba"
    _touch(root / "img_align_celeba", "000001.jpg")
    partition = file.startswith("list")
    (root / file).write_text("000001.jpg 0\n" * partition + f"{name}{' 0' * partition}\n", encoding="utf-8")
    split = "partition" if partition else "test_list"
    with pytest.raises(ValueError, match=f"{file}, line {1 + partition}: found .*, which points outside the data set"):
        _records(tmp_path, kind="celeba", split=split, val_from_train=0)


def test_listed_images_that_are_missing_are_counted(tmp_path):
    root = tmp_path / "celeba"
    _touch(root / "img_align_celeba", "000001.jpg")
    (root / "img_align_celeba" / "000002.jpg").symlink_to("gone.jpg")
    lines = "".join(f"00000{i}.jpg 0\n" for i in range(1, 5))
    (root / "list_eval_partition.txt").write_text(lines, encoding="utf-8")
    used = RawFiles()
    records = _records(tmp_path, used, kind="celeba", split="partition", val_from_train=0, files="present")
    assert [r.id for r in records] == ["000001"]
    counts = {reason: entry["count"] for reason, entry in used.unused.summary().items()}
    assert counts == {"link that leads nowhere": 1, "listed but not present": 2}
