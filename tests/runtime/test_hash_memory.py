"""A remembered hash is believed only for a file that nobody touched since; a damaged memory is no memory."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from favae.results.cards import describe
from favae.runtime import hash_memory, paths
from favae.runtime.hash_memory import links_only, sha256_of
from favae.runtime.hashes import sha256_file

SIZE = 200_000


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files whose bytes were read, in order."""
    read: list[Path] = []

    def count(path: Path) -> str:
        read.append(path)
        return sha256_file(path)

    monkeypatch.setattr(hash_memory, "sha256_file", count)
    return read


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A large file in a project, hashed and remembered."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hash_memory, "_SETTLED", -(10**18))  # files of a test are younger than two seconds
    paths.STATE.mkdir(parents=True)
    path = Path("data/large.bin")
    path.write_bytes(os.urandom(SIZE))
    sha256_of(path)
    return path


def forget() -> None:
    """As in a new process."""
    hash_memory._memory.cache_clear()


def flip(path: Path) -> None:
    """Change one byte in place."""
    with path.open("r+b") as opened:
        first = opened.read(1)
        opened.seek(0)
        opened.write(bytes([first[0] ^ 1]))


def test_a_file_that_nobody_touched_is_hashed_once(file: Path, hashed: list[Path]) -> None:
    expected = sha256_file(file)
    for _ in range(2):
        assert sha256_of(file) == expected == sha256_of(file.absolute())
        forget()
    assert not hashed
    assert sha256_of(file, again=True) == expected and hashed == [file]


def _restore_time(path: Path) -> None:
    stamp = path.stat()
    flip(path)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


def _replace(path: Path) -> None:
    content, stamp = path.read_bytes(), path.stat()
    path.unlink()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


@pytest.mark.parametrize("change", [flip, _restore_time, _replace])
def test_a_changed_byte_is_seen_whatever_the_time_says(file: Path, change: Callable[[Path], None]) -> None:
    before, size = describe(file), file.stat().st_size
    time.sleep(0.02)  # longer than the kernel's clock takes for a tick
    change(file)
    assert file.stat().st_size == size and describe(file) != before
    assert describe(file).sha256 == sha256_file(file)


def test_touched_moved_and_copied_files_are_hashed_again(file: Path, hashed: list[Path]) -> None:
    expected = sha256_file(file)
    time.sleep(0.02)
    file.touch()
    assert sha256_of(file) == expected and hashed == [file]
    shutil.copytree("data", "copy/data")
    os.chdir("copy")
    assert paths.hash_memory().is_file()  # the memory was copied too, but the file is another
    assert sha256_of(file) == expected and hashed == [file, file]


def test_links_made_and_removed_by_the_project_itself_do_not_count(file: Path, hashed: list[Path]) -> None:
    time.sleep(0.02)
    before = file.stat().st_ctime_ns
    with links_only([file, Path("data/not-there")]):
        os.link(file, "data/link")
    forget()
    assert file.stat().st_ctime_ns != before and sha256_of(file) and not hashed
    with links_only([file]):
        flip(file)
    assert sha256_of(file) == sha256_file(file) and hashed == [file]


def test_a_file_that_was_just_written_may_change_again_so_it_is_not_remembered(
    file: Path, hashed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hash_memory, "_SETTLED", 2_000_000_000)
    flip(file)
    sha256_of(file)
    sha256_of(file)
    assert hashed == [file, file]


def test_small_files_are_always_hashed(file: Path, hashed: list[Path]) -> None:
    small = Path("data/small.bin")
    small.write_bytes(b"x" * 1000)
    assert sha256_of(small) == sha256_of(small) and hashed == [small, small]


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[: len(b) // 2],
        lambda b: b.replace(b"large", b"lArge"),
        lambda b: b[:60] + bytes([b[60] ^ 1]) + b[61:],
        lambda _: os.urandom(5000),
        lambda _: b"\n\nffffffff\n00000000 1 2 3\n",
    ],
)
def test_a_damaged_memory_is_ignored(file: Path, hashed: list[Path], damage: Callable[[bytes], bytes]) -> None:
    memory = paths.hash_memory()
    memory.write_bytes(damage(memory.read_bytes()))
    forget()
    assert sha256_of(file) == sha256_file(file) and hashed == [file]
    forget()
    assert sha256_of(file) == sha256_file(file) and hashed == [file]  # a line after damaged ones counts


def test_bytes_that_rot_are_found_by_hashing_again_and_stay_found(file: Path) -> None:
    before = sha256_of(file)
    stamp = hash_memory._stamp(file)
    hash_memory._memory(paths.hash_memory().absolute()).add(file, stamp, "0" * 64)
    assert sha256_of(file) == "0" * 64
    assert sha256_of(file, again=True) == before == sha256_of(file)
    forget()
    assert sha256_of(file) == before


def test_without_a_place_for_it_nothing_is_remembered_or_made(file: Path, hashed: list[Path]) -> None:
    shutil.rmtree(paths.STATE)
    forget()
    expected = sha256_file(file)
    assert sha256_of(file) == expected and not paths.STATE.exists()
    forget()
    assert sha256_of(file) == expected and len(hashed) == 2


def test_lines_out_of_date_are_dropped(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hash_memory, "_SLACK", 5)
    for n in range(20):
        os.utime(file, ns=(0, n))
        sha256_of(file)
    forget()
    sha256_of(file)
    assert len(paths.hash_memory().read_bytes().split(b"\n")) == 1
    assert [p.name for p in paths.STATE.iterdir()] == [paths.hash_memory().name]


def test_names_with_blanks_are_kept_and_names_with_line_ends_are_not(file: Path, hashed: list[Path]) -> None:
    for name, times in (("a b  c.bin", 1), ("a\nb.bin", 2)):
        other = Path("data") / name
        shutil.copy(file, other)
        hashed.clear()
        for _ in range(2):
            sha256_of(other)
            forget()
        assert len(hashed) == times
