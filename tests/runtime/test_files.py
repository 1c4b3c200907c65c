"""Files are read and replaced whole, and of a folder that a user chose only what was written there before."""

import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from disk_support import separate_disks

from favae.results.cards import read_card
from favae.results.run_record import read_record
from favae.runtime.files import move_into_place, replacing, replacing_folder, whole_file, write_text


def write(folder: Path, *names: str) -> None:
    with replacing_folder(folder) as built:
        for name in names:
            (built / name).parent.mkdir(exist_ok=True)
            (built / name).write_text(name)


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {".written.json"}


def test_a_folder_is_replaced_together_with_all_files_that_were_written_there(tmp_path: Path) -> None:
    write(tmp_path / "out", "a", "sub/b")
    (tmp_path / "out" / ".DS_Store").touch()  # by a file manager that showed it
    write(tmp_path / "out", "c")
    assert names(tmp_path / "out") == {"c"}


def test_an_empty_folder_and_a_link_to_one_are_filled(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for _ in range(2):
        write(tmp_path / "link", "a")
    assert names(tmp_path / "real") == {"a"} and (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("mine", ["own.txt", "sub/own.txt", "a", ".hidden"])
def test_files_of_a_user_are_never_removed(tmp_path: Path, mine: str) -> None:
    write(tmp_path / "out", "a", "sub/b")
    (tmp_path / "out" / mine).write_text("mine")
    with pytest.raises(FileExistsError, match=f"{mine} is in the way.*nothing was written"):
        write(tmp_path / "out", "c")
    assert (tmp_path / "out" / mine).read_text() == "mine" and "c" not in names(tmp_path / "out")


def test_a_link_in_the_folder_and_a_file_in_its_place_stay(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "photos").symlink_to("nowhere")
    with pytest.raises(FileExistsError, match="photos is in the way"):
        write(tmp_path / "out", "a")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="file is a file, expected a folder"):
        write(tmp_path / "file", "a")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    write(tmp_path / "out", "a")
    with pytest.raises(ZeroDivisionError), replacing_folder(tmp_path / "out"):
        _ = 1 / 0
    assert names(tmp_path / "out") == {"a"} and [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("is_folder", [True, False])
def test_a_result_is_published_across_file_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_folder: bool
) -> None:
    """As where `data/state` is a link to a scratch disk."""
    built, target = tmp_path / "scratch/shards", tmp_path / "data/shards"
    built.parent.mkdir()
    target.mkdir(parents=True)
    (target / "old").touch()
    if is_folder:
        write(built, "a")
    else:
        built.write_text("a")
        (target / "old").unlink()
        target.rmdir()
    separate_disks(monkeypatch)
    move_into_place(built, target)
    assert (target / "a" if is_folder else target).read_text() == "a"
    assert not built.exists() and [path.name for path in target.parent.iterdir()] == ["shards"]
    assert not (target / "old").exists()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path.name)])
def test_what_is_no_file_is_named_and_never_waited_for(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "card.json"
    make(path)
    for read in (whole_file, read_card, read_record):
        with pytest.raises(ValueError, match=r"card\.json: (not a regular file|cannot be read)"):
            read(path)
    assert read_record(tmp_path / "none.json") is None


def test_a_file_that_does_not_fit_is_named_and_the_one_before_stays(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    write_text(path, "before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        with pytest.raises(OSError, match=r"File too large: .*card\.json"):
            write_text(path, "x" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_text() == "before" and [p.name for p in tmp_path.iterdir()] == ["card.json"]


def test_an_error_about_the_temporary_file_names_the_file_itself(tmp_path: Path) -> None:
    for inside in ("", "/part"):
        with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / "page") as temporary:
            Path(f"{temporary}{inside}").read_bytes()
        assert caught.value.filename == f"{tmp_path / 'page'}{inside}"
    with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / "page"):
        (tmp_path / "other").read_bytes()
    assert caught.value.filename == str(tmp_path / "other")
