"""Folders that a user chose: only what was written there before is replaced."""

from pathlib import Path

import pytest

from favae.runtime.files import replacing_folder


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
