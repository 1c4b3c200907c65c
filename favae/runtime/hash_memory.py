"""SHA-256 of large files, remembered between commands by size, times and inode of the file.

`data/state/hashes.txt` has one line per file and hash: a checksum of the line, then size, mtime, ctime, inode, hash and path.
Lines are only appended, in one write each, so that commands which run at the same time, or are killed, spoil none; a
damaged line is ignored. The memory can be deleted at any time, and where it cannot be written, nothing is remembered.

The kernel sets ctime at every write and nothing can set it back: a file that was changed and got its old time again is
hashed again.
"""

import os
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from favae.runtime import paths
from favae.runtime.files import replacing
from favae.runtime.hashes import sha256_file

_LEAST = 128 << 10  # bytes; hashing a smaller file is faster than looking it up
_SETTLED = 2_000_000_000  # ns; a file written less than this ago may change again without a new time
_SLACK = 1000  # outdated lines after which the file is rewritten


class _Stamp(NamedTuple):
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


def sha256_of(path: Path, *, again: bool = False) -> str:
    """SHA-256 of a file; that of a large, untouched file is remembered. With `again`, it is always computed from the bytes."""
    before = _stamp(path)
    if before.size < _LEAST:
        return sha256_file(path)
    memory = _memory(paths.hash_memory().absolute())
    known = memory.get(path, before)
    if known is not None and not again:
        return known
    started = time.time_ns()
    digest = sha256_file(path)
    settled = started - max(before.mtime_ns, before.ctime_ns) > _SETTLED
    if digest != known and settled and _stamp(path) == before:
        memory.add(path, before, digest)
    return digest


@contextmanager
def links_only(files: Iterable[Path]) -> Iterator[None]:
    """Keep what is remembered of `files` while the body adds or removes hard links to them, which sets a new ctime."""
    memory = _memory(paths.hash_memory().absolute())
    known = [(path, stamp) for path in files if path.is_file() and memory.get(path, stamp := _stamp(path))]
    yield
    for path, before in known:
        digest = memory.get(path, before)
        now = _stamp(path)
        if digest is not None and now._replace(ctime_ns=before.ctime_ns) == before:
            memory.add(path, now, digest)


def _stamp(path: Path) -> _Stamp:
    found = path.stat()
    return _Stamp(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


class _Memory:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._hashes: dict[str, tuple[_Stamp, str]] = {}
        lines = self._read()
        if lines > 2 * len(self._hashes) + _SLACK:
            self._compact()

    def get(self, path: Path, stamp: _Stamp) -> str | None:
        found = self._hashes.get(_name(path))
        return found[1] if found is not None and found[0] == stamp else None

    def add(self, path: Path, stamp: _Stamp, digest: str) -> None:
        name = _name(path)
        if "\n" in name:
            return
        self._hashes[name] = (stamp, digest)
        try:
            descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError:  # no folder for state yet, or read-only
            return
        try:
            # The first newline ends a line that was cut short.
            os.write(descriptor, b"\n" + _line(name, stamp, digest))
        except OSError:
            pass  # disk full: not remembered
        finally:
            os.close(descriptor)

    def _read(self) -> int:
        try:
            lines = self._file.read_bytes().split(b"\n")
        except OSError:
            return 0
        count = 0
        for line in filter(None, lines):
            count += 1
            checksum, _, rest = line.partition(b" ")
            if checksum != _checksum(rest):
                continue
            *numbers, digest, name = rest.split(b" ", 5)
            self._hashes[os.fsdecode(name)] = (_Stamp(*map(int, numbers)), digest.decode())
        return count

    def _compact(self) -> None:
        """Keep the last line of each file. A line that another process appends meanwhile is lost: that file is hashed again."""
        try:
            with replacing(self._file) as temporary:
                temporary.write_bytes(b"\n".join(_line(name, *entry) for name, entry in self._hashes.items()))
        except OSError:
            pass


def _name(path: Path) -> str:
    return os.path.relpath(path) if path.is_absolute() else os.path.normpath(path)


def _line(name: str, stamp: _Stamp, digest: str) -> bytes:
    rest = f"{' '.join(map(str, stamp))} {digest} ".encode() + os.fsencode(name)
    return _checksum(rest) + b" " + rest


def _checksum(rest: bytes) -> bytes:
    return f"{zlib.crc32(rest):08x}".encode()


@lru_cache(maxsize=8)
def _memory(file: Path) -> _Memory:
    return _Memory(file)
