"""Split rules of each published layout, on generated folders in that layout."""

import gzip
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from favae.config.dataset import DatasetConfig
from favae.data.layouts import list_records
from favae.data.records import ImageRecord, count_splits, name_hash


def _records(raw: Path, config: dict | None = None, **layout: object) -> list[ImageRecord]:
    return list_records(DatasetConfig.model_validate({"layout": layout, "image_size": 8, **(config or {})}), raw)


def _splits(records: list[ImageRecord]) -> dict[str, str]:
    return {r.id: r.split for r in records}


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.fixture
def celebahq(tmp_path: Path) -> Path:
    root = tmp_path / "celebahq"
    _touch(root / "CelebA-HQ-img", "0.jpg", "1.jpg", "2.jpg")
    (root / "CelebA-HQ-to-CelebA-mapping.txt").write_text(
        "idx  orig_idx  orig_file\n0  4  000005.jpg\n1  0  000001.jpg\n2  2  000003.jpg\n3  1  000002.jpg\n"
    )
    lines = ["000001.jpg 0", "000002.jpg 1", "000003.jpg 2", "000004.jpg 0", "000005.jpg 2"]
    (root / "list_eval_partition.txt").write_text("\n".join(lines))
    (root / "celeba-caption").mkdir()
    for i in range(4):
        (root / "celeba-caption" / f"{i}.txt").write_text(f"She smiles {i}. \n\nShe is young.\n")
    return tmp_path


def test_celebahq_is_split_by_its_source_image_in_celeba(celebahq):
    records = _records(celebahq, kind="celebahq")
    assert _splits(records) == {"0": "test", "1": "train", "2": "test", "3": "val"}
    assert [r.split for r in records] == ["train", "val", "test", "test"]
    assert records[0].captions == ("She smiles 1.", "She is young.")
    assert len(_records(celebahq, kind="celebahq", files="present")) == 3


def test_a_folder_of_more_images_is_all_training_and_leaves_val_and_test_as_they_are(celebahq):
    _touch(celebahq / "faces" / "part", "a.png", "b.jpg")
    alone = _records(celebahq, kind="celebahq")
    more = _records(celebahq, {"more_training": "faces"}, kind="celebahq")
    assert _splits(more) == {**_splits(alone), "faces/part/a.png": "train", "faces/part/b.jpg": "train"}
    assert [r.source for r in more if r.id not in _splits(alone)] == ["faces/part/a.png", "faces/part/b.jpg"]
    assert [r.split for r in more] == sorted((r.split for r in more), key=["train", "val", "test"].index)
    with pytest.raises(ValueError, match=r"the raw-data folder .*elsewhere does not exist"):
        _records(celebahq, {"more_training": "elsewhere"}, kind="celebahq")
    with pytest.raises(ValidationError, match="images cannot be added to tiles"):
        _records(celebahq, {"more_training": "faces"}, kind="tiles", images=["coffee"], windows=[0.5])


def test_celebahq_captions_missing_or_empty_are_named(celebahq):
    path = celebahq / "celebahq" / "celeba-caption" / "2.txt"
    path.write_text("\n")
    with pytest.raises(ValueError, match=r"2\.txt has no caption"):
        _records(celebahq, kind="celebahq")
    path.unlink()
    with pytest.raises(ValueError, match=r"2\.txt is missing"):
        _records(celebahq, kind="celebahq")
    assert _records(celebahq, kind="celebahq", captions="none")[0].captions == ()


def test_celebahq_by_lists(celebahq):
    (celebahq / "train.txt.gz").write_bytes(gzip.compress(b"imgHQ00000.npy\nimgHQ00001.npy\n"))
    (celebahq / "val.txt").write_text("imgHQ00002.npy\n")
    lists = {"train": "train.txt.gz", "test": "val.txt"}
    records = _records(celebahq, kind="celebahq", split="lists", lists=lists)
    assert _splits(records) == {"0": "train", "1": "train", "2": "test"}
    (celebahq / "val.txt").write_text("imgHQ00001.npy\n")
    with pytest.raises(ValueError, match="in both lists"):
        _records(celebahq, kind="celebahq", split="lists", lists=lists)


def test_celebahq_in_mm_celebahq_s_own_split(celebahq):
    """24,000 / 6,000 by number, without any list."""
    splits = _splits(_records(celebahq, kind="celebahq", split="mm_celebahq", captions="none"))
    assert list(splits.values()).count("train") == 24_000 and list(splits.values()).count("test") == 6_000
    assert (splits["0"], splits["23999"], splits["24000"], splits["29999"]) == ("train", "train", "test", "test")
    present = _records(celebahq, kind="celebahq", split="mm_celebahq", files="present")
    assert [(r.id, r.split, len(r.captions)) for r in present] == [(str(i), "train", 2) for i in range(3)]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("list_eval_partition.txt", "000001.jpg 3", "expected a file name and 0, 1 or 2"),
        ("list_eval_partition.txt", "000001.jpg 0", "such as 000005.jpg, are not in"),
        ("CelebA-HQ-to-CelebA-mapping.txt", "0 000001.jpg", "expected number, original number"),
    ],
)
def test_malformed_lists_are_named(celebahq, file, text, message):
    (celebahq / "celebahq" / file).write_text(text)
    with pytest.raises(ValueError, match=message):
        _records(celebahq, kind="celebahq")


@pytest.mark.parametrize(
    "layout",
    [
        {"kind": "celebahq", "split": "lists"},
        {"kind": "celebahq", "lists": {"train": "a", "test": "b"}},
        {"kind": "celebahq", "val_from_train": 3},
        {"kind": "celeba", "split": "partition"},
        {"kind": "ffhq", "files": "present"},
        {"kind": "folder", "root": "x", "val_share": 0.6, "test_share": 0.4},
        {"kind": "cifar"},
    ],
)
def test_contradictory_layouts_are_refused(layout):
    with pytest.raises(ValidationError):
        DatasetConfig.model_validate({"layout": layout, "image_size": 8})


def test_ffhq_by_number_over_thousand_folders(tmp_path):
    _touch(tmp_path / "ffhq", "00000/00000.png", "59000/59999.png", "60000/60000.png", "512_69999.png")
    records = _records(tmp_path, kind="ffhq", val_from_train=0)
    assert _splits(records) == {"00000": "train", "59999": "train", "60000": "test", "69999": "test"}
    _touch(tmp_path / "ffhq", "70000.png")
    with pytest.raises(ValueError, match="got number 70000"):
        _records(tmp_path, kind="ffhq")


def test_ffhq_twice_the_same_number_is_an_error(tmp_path):
    _touch(tmp_path / "ffhq", "00030.png", "512_00030.png")
    with pytest.raises(ValueError, match="the same image, 30, twice"):
        _records(tmp_path, kind="ffhq")


def test_ffhq_by_json_names_missing_files_as_listed(tmp_path):
    _touch(tmp_path / "ffhq", "00000.png", "00002.png")
    entries = {str(i): {"category": c} for i, c in enumerate(("training", "validation", "validation"))}
    (tmp_path / "ffhq" / "ffhq-dataset-v2.json").write_text(json.dumps(entries))
    records = _records(tmp_path, kind="ffhq", split="json", val_from_train=0)
    assert _splits(records) == {"00000": "train", "00001": "test", "00002": "test"}
    assert len(_records(tmp_path, kind="ffhq", split="json", val_from_train=0, files="present")) == 2
    entries["3"] = {"category": "test"}
    (tmp_path / "ffhq" / "ffhq-dataset-v2.json").write_text(json.dumps(entries))
    with pytest.raises(ValueError, match="3: found the category 'test', expected"):
        _records(tmp_path, kind="ffhq", split="json")


@pytest.mark.parametrize("val", ["ILSVRC2012_val_00000001.JPEG", "n02/ILSVRC2012_val_00000001.JPEG"])
def test_imagenet_val_is_test_and_labels_follow_sorted_wnids(tmp_path, val):
    train = [f"{wnid}/{wnid}_{i}.JPEG" for wnid in ("n03", "n01", "n02") for i in range(4)]
    _touch(tmp_path / "imagenet" / "train", *train)
    _touch(tmp_path / "imagenet" / "val", val)
    records = _records(tmp_path, kind="imagenet", val_from_train=5)
    assert count_splits(records) == {"train": 7, "val": 5, "test": 1}
    assert all(r.label == int(r.id.split("/")[1][1:]) - 1 for r in records if r.split != "test")
    assert records[-1].label == (1 if val.startswith("n02") else None)


def test_celeba_trains_on_all_images_outside_the_test_list(tmp_path):
    root = tmp_path / "celeba"
    _touch(root / "img_align_celeba", *(f"{i:06d}.jpg" for i in range(1, 7)))
    (root / "ffl_test_3000.txt").write_text("img_align_celeba/000002.jpg\nimg_align_celeba/000009.jpg\n")
    records = _records(tmp_path, kind="celeba", val_from_train=0)
    assert {r.id for r in records if r.split == "test"} == {"000002", "000009"}
    assert {r.id for r in records if r.split == "train"} == {f"{i:06d}" for i in (1, 3, 4, 5, 6)}
    assert len(_records(tmp_path, kind="celeba", val_from_train=0, files="present")) == 6
    (root / "list_eval_partition.txt").write_text("000001.jpg 2\n000002.jpg 1\n")
    records = _records(tmp_path, kind="celeba", split="partition", val_from_train=0)
    assert _splits(records) == {"000002": "val", "000001": "test"}


def test_subfolders_may_be_nested_but_no_file_may_be_outside(tmp_path):
    _touch(tmp_path / "mine", "train/cats/a.JPG", "train/a.png", "test/a.png", "notes.txt")
    records = _records(tmp_path, kind="folder", root="mine")
    assert _splits(records) == {"train/a.png": "train", "train/cats/a.JPG": "train", "test/a.png": "test"}
    _touch(tmp_path / "mine", "b.png")
    with pytest.raises(ValueError, match=r"b\.png is outside"):
        _records(tmp_path, kind="folder", root="mine")


def test_hash_split_keeps_its_shares_and_the_splits_of_earlier_images(tmp_path):
    layout = {"kind": "folder", "root": "mine", "split": "hash", "val_share": 0.2, "test_share": 0.3}
    _touch(tmp_path / "mine", *(f"{i}.png" for i in range(400)))
    first = _records(tmp_path, **layout)
    counts = count_splits(first)
    for split, share in (("train", 0.5), ("val", 0.2), ("test", 0.3)):
        assert abs(counts[split] - 400 * share) < 4 * np.sqrt(400 * share * (1 - share))
    _touch(tmp_path / "mine", *(f"{i}.png" for i in range(400, 500)))
    later = _splits(_records(tmp_path, **layout))
    assert all(later[r.id] == r.split for r in first)
    assert _splits(_records(tmp_path, **layout, seed=1)) != later


def test_validation_and_limit_take_the_smallest_hashes(tmp_path):
    _touch(tmp_path / "ffhq", *(f"{i:05d}.png" for i in range(50)))
    order = sorted((f"{i:05d}" for i in range(50)), key=name_hash)
    records = _records(tmp_path, {"limit": {"train": 8}}, kind="ffhq", val_from_train=6)
    assert {r.id for r in records if r.split == "val"} == set(order[:6])
    assert [r.id for r in records if r.split == "train"] == sorted(order[6:14])
    with pytest.raises(ValueError, match="val_from_train is 50 but there are 50"):
        _records(tmp_path, kind="ffhq", val_from_train=50)


@pytest.mark.parametrize("kind", ["celebahq", "ffhq", "imagenet", "celeba", "mnist"])
def test_a_missing_folder_is_named(tmp_path, kind):
    with pytest.raises(ValueError, match=f"{kind} does not exist"):
        _records(tmp_path, kind=kind)


def test_an_empty_folder_is_named(tmp_path):
    _touch(tmp_path / "mine", "train/readme.md")
    with pytest.raises(ValueError, match="no images in"):
        _records(tmp_path, kind="folder", root="mine")


@pytest.fixture
def idx_files(tmp_path: Path, noise) -> tuple[Path, np.ndarray]:
    root = tmp_path / "mnist"
    root.mkdir()
    x = noise(6, 4, 4)
    for part in ("train", "t10k"):
        (root / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, 6, 4, 4) + x.tobytes())
        labels = struct.pack(">2i", 2049, 6) + bytes(range(6))
        (root / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    return tmp_path, x


def test_idx_files_plain_or_gzip(idx_files):
    raw, _ = idx_files
    records = _records(raw, kind="mnist", checksums="unchecked", val_from_train=2)
    assert count_splits(records) == {"train": 4, "val": 2, "test": 6}
    assert [(r.item, r.label) for r in records if r.split == "test"] == [(i, i) for i in range(6)]
    with pytest.raises(ValueError, match="expected 6bbc9ace898e44ae57da46a324031adb"):
        _records(raw, kind="mnist")


@pytest.mark.parametrize("kept", [3, 40])
def test_a_short_idx_file_is_named(idx_files, kept):
    raw, _ = idx_files
    path = raw / "mnist" / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match="not a complete idx3 file"):
        _records(raw, kind="mnist", checksums="unchecked")
    path.unlink()
    with pytest.raises(ValueError, match="neither t10k-images"):
        _records(raw, kind="mnist", checksums="unchecked")


def test_a_short_gzip_file_is_named(idx_files):
    raw, _ = idx_files
    path = raw / "mnist" / "train-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="not a complete gzip file"):
        _records(raw, kind="mnist", checksums="unchecked")
