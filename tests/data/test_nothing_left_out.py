"""Every form of data set is searched in the same way: nothing is left out, taken twice or taken for another without a word."""

import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from favae.config.dataset import DatasetConfig
from favae.data.images import BadImage
from favae.data.label_maps import read_label_map
from favae.data.layouts import RawFiles, list_records
from favae.data.paired import ade20k_pairs, celebamask_pairs, cityscapes_pairs, facades_pairs, folder_pairs
from favae.data.prepare import prepare
from favae.data.texts import TextFiles
from favae.data.walk import Unused

WIDE = (8, 4)


def image(path: Path, size: tuple[int, int] = (8, 8), level: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (level, level, level)).save(path)
    return path


def listed(root: Path, layout: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Sources of the records, and what was left out."""
    raw = RawFiles()
    config = DatasetConfig.model_validate({"layout": layout, "image_size": 8})
    return [record.source for record in list_records(config, root, raw)], raw.unused.summary()


def test_the_images_of_ffhq_are_read_not_its_thumbnails(tmp_path: Path) -> None:
    for number in (0, 60_000):
        for folder, side in (("images1024x1024", 32), ("thumbnails128x128", 8), ("in-the-wild-images", 48)):
            thousand = "" if folder.startswith("thumb") else f"{number:05d}/"
            image(tmp_path / f"ffhq/{folder}/{thousand}{number:05d}.png", (side, side))
    sources, _ = listed(tmp_path, {"kind": "ffhq", "val_from_train": 0})
    assert sources == ["images1024x1024/00000/00000.png", "images1024x1024/60000/60000.png"]


def test_of_two_copies_of_different_sizes_none_is_chosen(tmp_path: Path) -> None:
    for folder, side in (("small", 8), ("large/00000", 64)):
        image(tmp_path / "ffhq" / folder / "00000.png", (side, side))
    with pytest.raises(ValueError, match=r"small/00000\.png and .*large/00000/00000\.png are the same image, 0, twice"):
        listed(tmp_path, {"kind": "ffhq", "val_from_train": 0})


def celeba(root: Path, text: str, name: str = "list_eval_partition.txt") -> Path:
    for number in (1, 2, 3):
        image(root / f"celeba/img_align_celeba/{number:06d}.jpg")
    (root / "celeba" / name).write_text(text)
    return root


PARTITION = {"kind": "celeba", "split": "partition", "val_from_train": 0}


def test_images_that_no_list_has_are_counted(tmp_path: Path) -> None:
    _, unused = listed(celeba(tmp_path, "000001.jpg 0\n000003.jpg 2\n"), PARTITION)
    assert unused == {"in no list": {"count": 1, "first": ["000002.jpg"]}}


@pytest.mark.parametrize(
    ("name", "layout"),
    [("list_eval_partition.txt", PARTITION), ("ffl_test_3000.txt", {"kind": "celeba", "val_from_train": 0})],
)
@pytest.mark.parametrize("text", ["", "\n \n", "\ufeff\n"])
def test_an_empty_list_is_named(tmp_path: Path, name: str, layout: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=f"{name} has no entry, expected one per image"):
        listed(celeba(tmp_path, text, name), layout)


def test_lists_that_contradict_themselves_are_named(tmp_path: Path) -> None:
    path = tmp_path / "mapping.txt"
    path.write_text("0 119613 119614.jpg\n1 99094 099095.jpg\n0 5 000006.jpg\n")
    with pytest.raises(ValueError, match=r"mapping\.txt, line 3: image 0 is listed twice, for two files"):
        TextFiles().mapping(path)
    path.write_text('{"0": {"category": "training"}, "00": {"category": "validation"}}')
    with pytest.raises(ValueError, match="image 0 is listed twice, in different parts"):
        TextFiles().ffhq_json(path)


def test_splits_one_folder_deeper_are_found_and_named(tmp_path: Path) -> None:
    image(tmp_path / "mine/mine/train/1.png")
    with pytest.raises(ValueError, match=r"train, val and test are in .*mine/mine: let `root` name it"):
        listed(tmp_path, {"kind": "folder", "root": "mine"})


def test_a_data_set_without_training_images_says_what_was_wrong_with_one(tmp_path: Path) -> None:
    (tmp_path / "mine/train").mkdir(parents=True)
    (tmp_path / "mine/train/1.png").write_text("text")
    layout = {"kind": "folder", "root": "mine"}
    config = DatasetConfig.model_validate({"layout": layout, "image_size": 8, "on_bad_image": "skip"})
    with pytest.raises(ValueError, match=r"left of 1 found \(1 bad; train/1\.png: not an image"):
        prepare(config, tmp_path, tmp_path)


Pairs = Callable[[Path, Unused], list[Any]]
FORMS: dict[str, tuple[Pairs, tuple[str, ...]]] = {
    "side by side": (facades_pairs, ("train/1.png", "val/2.png")),
    "folders": (lambda root, unused: folder_pairs(root, unused=unused), ("A/1.png", "B/1.png")),
    "ade20k": (
        ade20k_pairs,
        tuple(f"{k}/{p}/1.png" for k in ("images", "annotations") for p in ("training", "validation")),
    ),
    "cityscapes": (
        cityscapes_pairs,
        tuple(
            f"{folder}/{part}/bonn/1_{end}.png"
            for part in ("train", "val")
            for folder, end in (
                ("leftImg8bit", "leftImg8bit"),
                ("gtFine", "gtFine_labelIds"),
                ("gtFine", "gtFine_instanceIds"),
            )
        ),
    ),
    "celebamask": (celebamask_pairs, ("CelebA-HQ-img/1.jpg", "CelebAMask-HQ-mask-anno/0/00001_skin.png")),
}


@pytest.fixture(params=list(FORMS))
def pairs(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Pairs, Path, int]:
    """The reader of a form, a folder with pairs of it, and their number."""
    read, names = FORMS[request.param]
    for name in names:
        image(tmp_path / "raw" / name, WIDE)
    return read, tmp_path / "raw", len(read(tmp_path / "raw", Unused()))


def test_pairs_in_linked_folders_are_found(pairs: tuple[Pairs, Path, int], tmp_path: Path) -> None:
    read, root, count = pairs
    for number, folder in enumerate(sorted(path.parent for path in root.rglob("*.*"))):
        if not folder.is_symlink():
            folder.rename(tmp_path / f"store{number}")
            folder.symlink_to(tmp_path / f"store{number}")
    assert len(read(root, Unused())) == count
    (root / "loop").symlink_to(root)
    assert len(read(root, Unused())) == count


def test_hidden_files_beside_pairs_are_left_out_and_counted(pairs: tuple[Pairs, Path, int]) -> None:
    read, root, count = pairs
    for path in list(root.rglob("*.*")):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\26\7")
        image(path.parent / "@eaDir" / path.name)
    unused = Unused()
    assert len(read(root, unused)) == count
    assert unused.summary()["hidden or system file"]["count"] >= 2 * count


def test_pairs_are_found_where_an_archive_puts_them(pairs: tuple[Pairs, Path, int], tmp_path: Path) -> None:
    read, root, count = pairs
    (tmp_path / "above").mkdir()
    root.rename(tmp_path / "above" / "unpacked")
    found = read(tmp_path / "above", Unused())
    assert len(found) == count and all(pair.image.path.is_file() for pair in found)


def test_cityscapes_may_be_unpacked_into_a_folder_per_archive(tmp_path: Path) -> None:
    for name in FORMS["cityscapes"][1]:
        image(tmp_path / f"{name.partition('/')[0]}_trainvaltest" / name)
    assert len(cityscapes_pairs(tmp_path)) == 2


def test_a_pipe_among_pairs_does_not_stop_the_search(pairs: tuple[Pairs, Path, int]) -> None:
    read, root, count = pairs
    for folder in {path.parent for path in root.rglob("*.*")}:
        os.mkfifo(folder / "pipe.png")
    assert len(read(root, Unused())) == count


def png(width: int, height: int) -> bytes:
    """A grey PNG of which only the header is right."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)

    head = chunk(b"IHDR", width.to_bytes(4) + height.to_bytes(4) + bytes((8, 0, 0, 0, 0)))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (png(60_000, 60_000), "too large"),
        (png(10, 10), "truncated or corrupt"),
        (b"", "empty file"),
        (b"text", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not an image"),
        (b"GIF89a\0\0\0\0", "truncated or corrupt|not an image"),
    ],
)
def test_a_label_map_is_read_with_the_care_of_an_image(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "map.png"
    path.write_bytes(content)
    with pytest.raises(BadImage, match=reason):
        read_label_map(path, 19)


def test_a_label_map_that_is_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(BadImage, match="not a file"):
        read_label_map(tmp_path / "pipe.png", 19)
    np.testing.assert_array_equal(read_label_map(grey(tmp_path / "right.png"), 19), np.full((2, 3), 7))


def grey(path: Path) -> Path:
    Image.fromarray(np.full((2, 3), 7, np.uint8)).save(path)
    return path
