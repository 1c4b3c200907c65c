"""Searching a folder: links are followed, files that are not images of the data set are left out, and everything left
out is reported."""

import logging
import os
from pathlib import Path

import pytest
from PIL import Image

from favae.config.dataset import DatasetConfig
from favae.data.prepare import BadImagesError, prepare
from favae.data.walk import Unused, walk_images


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (len(name), 5, 9)).save(folder / name, format="PNG")


def _walk(folder: Path, **options: object) -> tuple[list[str], dict[str, int]]:
    unused = Unused()
    found = walk_images(folder, unused, **options)
    counts = {reason: entry["count"] for reason, entry in unused.summary().items()}
    return [path.relative_to(folder).as_posix() for path in found], counts


def _prepare(raw: Path, out: Path, **changes: object) -> dict:
    layout = {"kind": "folder", "root": "mine", **changes.pop("layout", {})}
    out.mkdir()
    return prepare(DatasetConfig.model_validate({"layout": layout, "image_size": 8, **changes}), raw, out)


def test_linked_folders_and_files_are_followed(tmp_path):
    _touch(tmp_path, "store/deep/b.png", "store/c.png", "walked/a.png")
    (tmp_path / "walked" / "linked").symlink_to(tmp_path / "store", target_is_directory=True)
    (tmp_path / "walked" / "d.png").symlink_to(tmp_path / "store" / "c.png")
    assert _walk(tmp_path / "walked") == (["a.png", "d.png", "linked/c.png", "linked/deep/b.png"], {})


@pytest.mark.parametrize("target", [".", "..", "../.."])
def test_a_link_to_a_folder_above_ends_there_and_is_counted(tmp_path, target):
    _touch(tmp_path, "root/x/y/a.png")
    (tmp_path / "root" / "x" / "y" / "loop").symlink_to(target, target_is_directory=True)
    found, counts = _walk(tmp_path / "root")
    assert found == ["x/y/a.png"] and counts == {"link to a folder above it": 1}


def test_two_folders_that_link_to_each_other_end(tmp_path):
    _touch(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a" / "to_b").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "to_a").symlink_to(tmp_path / "a")
    assert _walk(tmp_path)[0] == ["a/1.png", "a/to_b/2.png", "b/2.png", "b/to_a/1.png"]


def test_a_broken_link_is_named(tmp_path):
    _touch(tmp_path / "mine", "train/a.png")
    (tmp_path / "mine" / "train" / "class").symlink_to(tmp_path / "gone")
    (tmp_path / "mine" / "train" / "self").symlink_to("self")
    summary = _prepare(tmp_path, tmp_path / "one")
    assert summary["unused"] == {"link that leads nowhere": {"count": 2, "first": ["train/class", "train/self"]}}
    (tmp_path / "mine" / "train" / "b.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(BadImagesError, match=r"train/b\.png: missing: a link to .*gone\.png, which leads nowhere"):
        _prepare(tmp_path, tmp_path / "two")


@pytest.mark.parametrize(
    "name",
    [
        "._a.jpg",
        ".hidden.png",
        ".Trash-1000/files/a.png",
        ".ipynb_checkpoints/a-checkpoint.png",
        ".thumbnails/a.png",
        "@eaDir/a.png/SYNOPHOTO_THUMB_XL.jpg",
        "SYNOPHOTO_THUMB_M.jpg",
        "__MACOSX/a.png",
        "#recycle/a.png",
        "$RECYCLE.BIN/a.png",
        "lost+found/a.png",
        "Thumbs.db",
        "desktop.ini",
        "sub/.DS_Store",
    ],
)
def test_hidden_and_system_files_are_left_out_and_counted(tmp_path, name):
    _touch(tmp_path, "a.png", name)
    assert _walk(tmp_path) == (["a.png"], {"hidden or system file": 1})


def test_a_hidden_folder_above_the_searched_one_does_not_matter(tmp_path):
    _touch(tmp_path, ".cache/images/a.png")
    assert _walk(tmp_path / ".cache" / "images")[0] == ["a.png"]


def test_unknown_suffixes_are_counted_each(tmp_path):
    _touch(tmp_path, "a.png", "b.HEIC", "c.heic", "d.jfif", "e.avif", "README")
    assert _walk(tmp_path) == (["a.png"], {"suffix .heic": 2, "suffix .jfif": 1, "suffix .avif": 1, "no suffix": 1})


def test_a_folder_named_like_an_image_is_a_folder(tmp_path):
    _touch(tmp_path, "x.png/a.png")
    assert _walk(tmp_path) == (["x.png/a.png"], {})


def test_a_pipe_named_like_an_image_is_not_waited_for(tmp_path):
    _touch(tmp_path, "a.png")
    os.mkfifo(tmp_path / "b.png")
    assert _walk(tmp_path) == (["a.png"], {"not a regular file": 1})


def test_unused_files_are_in_log_and_summary(tmp_path, caplog):
    _touch(tmp_path / "mine", "train/a.png", "train/b.heic", "train/._a.png")
    with caplog.at_level(logging.WARNING):
        summary = _prepare(tmp_path, tmp_path / "out")
    assert summary["unused"] == {
        "hidden or system file": {"count": 1, "first": ["train/._a.png"]},
        "suffix .heic": {"count": 1, "first": ["train/b.heic"]},
    }
    assert "1 not used (suffix .heic): train/b.heic" in caplog.text


def test_captions_that_are_read_are_not_reported_as_unused(tmp_path):
    _touch(tmp_path / "mine", "train/a.png")
    (tmp_path / "mine" / "train" / "a.txt").write_text("a square\n", encoding="utf-8")
    assert _prepare(tmp_path, tmp_path / "out", layout={"captions": "sidecar"})["unused"] == {}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (b"caf\xe9.png", r"caf\\xe9\.png: the name is not UTF-8"),
        (b"a\rb.png", r"a\\rb\.png: the name has the control character '\\r'"),
        (b"a\nb.png", r"a\\nb\.png: the name has the control character '\\n'"),
    ],
)
@pytest.mark.parametrize("split", ["subfolders", "hash"])
def test_names_that_no_table_can_contain_are_refused_by_name(tmp_path, name, message, split):
    _touch(tmp_path / "mine", "train/a.png")
    os.rename(tmp_path / "mine/train/a.png", os.fsencode(tmp_path / "mine/train") + b"/" + name)  # noqa: PTH104
    with pytest.raises(ValueError, match=message):
        _prepare(tmp_path, tmp_path / "out", layout={"split": split})


def test_folders_may_be_nested_as_deep_as_paths_are_long(tmp_path):
    folder = tmp_path
    for _ in range(1200):
        folder /= "d"
        folder.mkdir()
    _touch(folder, "a.png")
    try:
        assert _walk(tmp_path) == ([f"{'d/' * 1200}a.png"], {})
    finally:  # too deep for the recursion of those who clean up after tests
        (folder / "a.png").unlink()
        while folder != tmp_path:
            folder.rmdir()
            folder = folder.parent


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    _touch(tmp_path, "a.png", "closed/b.png")
    scan = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr("favae.data.walk.os.scandir", refuse)
    with pytest.raises(ValueError, match="closed cannot be read: Permission denied; correct its permissions"):
        _walk(tmp_path)
