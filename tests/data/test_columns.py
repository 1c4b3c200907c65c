"""Names, labels and captions as columns: the same as in the tables, derived once, never believed when damaged."""

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from favae.data import columns
from favae.data.dataset import PreparedSplit
from favae.runtime import paths


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project root with a folder for state, as the working directory."""
    root = tmp_path / "project"
    (root / paths.STATE).mkdir(parents=True)
    monkeypatch.chdir(root)
    return root


def kept() -> list[Path]:
    return sorted(p for p in (paths.STATE / "index.columns").glob("*") if p.is_dir())


def tables(folder: Path, index: str, captions: str = "") -> Path:
    """A prepared folder of one-pixel images with these rows of `index.csv` and `captions.csv`."""
    folder.mkdir()
    (folder / "index.csv").write_text("split,shard,row,id,source,sha256,label,box\n" + index, encoding="utf-8")
    (folder / "captions.csv").write_text("id,caption\n" + captions, encoding="utf-8")
    for split in ("train", "val"):
        rows = sum(line.startswith(split) for line in index.splitlines())
        np.save(folder / f"{split}-00000.npy", np.zeros((rows, 1, 1, 3), np.uint8))
    return folder


TWO = "train,0,0,a/é.png,s,h,7,\nval,0,0,v,s,h,-1,\ntrain,0,1,b,s,h,,\n"


def content(split: PreparedSplit) -> tuple[list[str], list[int | None], list[list[str]]]:
    return list(split.ids), list(split.labels), [split.captions(row) for row in range(len(split))]


def test_columns_say_what_the_tables_say(project: Path, prepared: Callable[..., PreparedSplit]) -> None:
    split = prepared(shard_rows=4)
    for again in (split, PreparedSplit(split.folder, "train")):
        with (split.folder / "index.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
        with (split.folder / "captions.csv").open(newline="") as file:
            texts = list(csv.DictReader(file))
        expected = [[t["caption"] for t in texts if t["id"] == row["id"]] for row in rows]
        assert content(again) == ([row["id"] for row in rows], [None] * len(rows), expected)
    assert len(kept()) == 1


def test_letters_labels_and_images_without_captions(project: Path, tmp_path: Path) -> None:
    folder = tables(tmp_path / "d", TWO, 'a/é.png,"two\nlines, a comma"\nv,of val\n')
    expected = (["a/é.png", "b"], [7, None], [["two\nlines, a comma"], []])
    assert content(PreparedSplit(folder, "train")) == expected == content(PreparedSplit(folder, "train"))
    assert content(PreparedSplit(folder, "val")) == (["v"], [-1], [["of val"]])


def test_sequences_take_slices_and_negative_numbers(project: Path, tmp_path: Path) -> None:
    split = PreparedSplit(tables(tmp_path / "d", TWO), "train")
    assert split.ids[-1] == "b" and split.ids[:5] == ["a/é.png", "b"] and split.labels[::-1] == [None, 7]
    for outside in (split.ids, split.labels):
        with pytest.raises(IndexError):
            outside[2]
    with pytest.raises(IndexError, match="split of 2"):
        split.captions(2)


def test_derived_once_and_shared(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tables(tmp_path / "d", TWO)
    first = content(PreparedSplit(folder, "train"))
    monkeypatch.setattr(columns, "_derive", lambda *_: pytest.fail("derived again"))
    found = columns.columns_of(folder, "train")
    assert all(isinstance(values, np.memmap) or not len(values) for values in found.values())
    assert content(PreparedSplit(folder, "train")) == first


def test_a_changed_table_is_read_again_though_size_and_time_are_the_same(project: Path, tmp_path: Path) -> None:
    folder = tables(tmp_path / "d", TWO)
    PreparedSplit(folder, "train")
    index, time = folder / "index.csv", (folder / "index.csv").stat().st_mtime_ns
    index.write_text(index.read_text(encoding="utf-8").replace(",7,", ",9,"), encoding="utf-8")
    os.utime(index, ns=(time, time))
    assert list(PreparedSplit(folder, "train").labels) == [9, None]


@pytest.mark.parametrize("name", ["ids.npy", "labels.npy", "crc32.txt", "last_captions.npy"])
@pytest.mark.parametrize("damage", [lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b[: len(b) // 2], lambda _: b""])
def test_damaged_columns_are_derived_again(
    project: Path, tmp_path: Path, name: str, damage: Callable[[bytes], bytes]
) -> None:
    folder = tables(tmp_path / "d", TWO, "b,x\n")
    expected = content(PreparedSplit(folder, "train"))
    (there,) = kept()
    (there / name).write_bytes(damage((there / name).read_bytes()))
    assert content(PreparedSplit(folder, "train")) == expected
    assert columns._load(there) is not None


def test_without_a_folder_for_state_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tables(tmp_path / "d", TWO)
    monkeypatch.chdir(tmp_path)
    assert list(PreparedSplit(folder, "train").ids) == ["a/é.png", "b"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d"]


def test_what_cannot_be_kept_is_held_in_memory(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(columns, "_keep", full)
    assert list(PreparedSplit(tables(tmp_path / "d", TWO), "train").labels) == [7, None]


@pytest.mark.parametrize(
    ("index", "captions", "message"),
    [
        ("train,0,1,a,s,h,,\n", "", r"index\.csv: a: row 1 of shard 0 is not in order; prepare again"),
        ("train,0,0,a,s,h,x,\n", "", r"index\.csv: a: .*'x'; prepare again"),
        ("train,0,0,a,s\n", "", r"index\.csv:2: 5 fields, expected 8"),
        ("val,0,0,a,s,h,,\n", "", "has no train images"),
        ("train,0,0,a,s,h,,\n", "z,text\n", r"captions\.csv: captions of 'z' are not in the order of index\.csv"),
        ("train,0,0,a,s,h,,\n", "a," + "x" * 200_000 + "\n", r"captions\.csv is damaged"),
    ],
)
def test_a_wrong_table_is_named(project: Path, tmp_path: Path, index: str, captions: str, message: str) -> None:
    folder = tables(tmp_path / "d", index, captions)
    for _ in range(2):
        with pytest.raises(ValueError, match=message):
            PreparedSplit(folder, "train")
    assert not kept()


def test_processes_that_open_a_split_together_agree(project: Path, tmp_path: Path) -> None:
    rows = "".join(f"train,0,{i},image {i},s,h,{i},\n" for i in range(20_000))
    folder = tables(tmp_path / "d", rows)
    code = (
        "import sys; from favae.data.dataset import PreparedSplit; s = PreparedSplit(sys.argv[1], 'train'); "
        "assert s.ids[-1] == 'image 19999' and s.labels[5] == 5 and len(s) == 20000"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(folder)], cwd=project) for _ in range(3)]
    assert [process.wait(timeout=120) for process in running] == [0, 0, 0]
    assert len(kept()) == 1 and not list(kept()[0].parent.glob(".*"))
