"""Atomic writing: a file is either complete or absent."""

import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from favae.runtime.hashes import sha256_file

_OF_SYSTEMS = (".DS_Store", "Thumbs.db", "desktop.ini")  # which file managers leave in folders that they show
_WRITTEN = ".written.json"  # in a folder of `replacing_folder`: hash of each file that was written there
_LONG = 200  # bytes of a name from which on more of them may exceed the 255 of a file system


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(path: Path) -> None:
    """Flush a file, or every file of a folder, to disk.

    A rename after it never exposes a half-written file, even after a power cut.
    """
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            _sync(file)


def move_into_place(built: Path, destination: Path) -> None:
    """Flush and rename a finished file or folder onto `destination`, replacing an existing one.

    If they are on different file systems (`data/state` may be a link to a scratch disk), it is copied beside `destination` first.
    """
    sync_tree(built)
    if destination.is_dir():
        shutil.rmtree(destination)
    try:
        built.replace(destination)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with replacing(destination) as beside:
            _copy(built, beside)
        _remove(built)
    _sync(destination.parent)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, for a file or a folder. It is renamed to `path` on success, removed on an error.

    An OSError about the temporary path names `path` instead.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.name if len(os.fsencode(path.name)) < _LONG else hashlib.sha256(os.fsencode(path.name)).hexdigest()
    temporary = path.with_name(f".{name}.{os.getpid()}.tmp")
    try:
        yield temporary
        move_into_place(temporary, path)
    except OSError as error:
        if not str(error.filename).startswith(str(temporary)):
            raise
        raise OSError(error.errno, error.strerror, str(error.filename).replace(str(temporary), str(path), 1)) from error
    finally:
        _remove(temporary)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """`replacing` for a folder that a user chose: what was not written here is never removed, nor what was changed since.

    Raises:
        FileExistsError: `path` is a file, or a folder with other files than those that were written here; the message names one.
    """
    path = Path(os.path.realpath(path))  # a link to a folder stays
    if path.exists() and (other := _not_written_here(path)):
        raise FileExistsError(f"{other}; give another folder with --out, or move it (nothing was written)")
    with replacing(path) as temporary:
        temporary.mkdir()
        yield temporary
        write_text(temporary / _WRITTEN, json.dumps(_hashes(temporary), indent=0, sort_keys=True) + "\n")


def _not_written_here(folder: Path) -> str:
    """What `replacing_folder` did not write, in words; empty if there is nothing."""
    if not folder.is_dir():
        return f"{folder} is a file, expected a folder"
    known, found = read_memory(folder / _WRITTEN), _hashes(folder)
    for name, digest in found.items():
        if name not in known:
            return f"{folder / name} is in the way: there is no record that this command wrote it"
        if known[name] != digest:
            return f"{folder / name} is in the way: it was changed after this command wrote it"
    return ""


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if not p.is_dir() and p.name not in (_WRITTEN, *_OF_SYSTEMS))
    return {
        path.relative_to(folder).as_posix(): sha256_file(path) if path.is_file() else "not a file" for path in files
    }


@contextmanager
def saying_what_to_do(path: Path) -> Iterator[None]:
    """Let an OSError during the writing of a training's state name the file and say what to do (a full disk, mostly)."""
    try:
        yield
    except OSError as error:
        raise OSError(
            f"{path} cannot be written ({error.strerror}); what was saved before stays: make room and start again"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a small text file atomically, as UTF-8. Raises OSError, always with the name of a file: a write alone tells none."""
    try:
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def whole_file(path: Path) -> bytes:
    """All bytes of a regular file.

    Raises:
        FileNotFoundError: there is none.
        ValueError: something else is there (a folder, or a pipe, which would be waited for), or it cannot be read; the
            message names it.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError(f"{path}: not a regular file; move it away")
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error


def read_memory(path: Path) -> dict[str, Any]:
    """A JSON object that only saves time, such as remembered hashes; empty where it is missing or damaged."""
    try:
        known = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) else {}
