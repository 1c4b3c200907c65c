"""Random reads of images from shards: only the requested bytes, in the order on disk, several reads at a time.

A memory map reads ahead at every page fault: with random access, 6 to 12 bytes were read per byte used.
"""

import mmap
import os
import resource
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

_THREADS = 8  # reads in flight; disks and network file systems answer several at once
_PIECE = 4 << 20  # bytes of one read of consecutive images
_NOWAIT = getattr(os, "RWF_NOWAIT", 0)  # Linux
_MOST_FILES = 256  # held open; opening a file again costs a round trip on a network file system


@dataclass(frozen=True)
class Shard:
    """A `.npy` file of uint8 [rows,H,W,C], in C order, whose first image begins at the byte `start`."""

    path: Path
    start: int
    shape: tuple[int, int, int, int]


def open_shard(path: Path, rows: int) -> Shard:
    """Check a shard's header and size. Raises ValueError where it is missing, damaged, or not of `rows` images."""
    if not path.is_file():
        raise ValueError(f"{path} is missing; fetch it again (dvc pull) or prepare the data set again")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} is damaged or cut short ({error}); fetch it or prepare the data set again") from error
    if array.dtype != np.uint8 or array.ndim != 4 or len(array) != rows or not array.flags.c_contiguous:
        raise ValueError(f"{path} holds {array.dtype} {array.shape}, expected uint8 [{rows},H,W,C] as in index.csv")
    return Shard(path, array.offset, array.shape)


class _OpenFile:
    """A file descriptor that is closed with its last reference."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        if hasattr(os, "posix_fadvise"):  # Linux; no read-ahead, because a batch is random
            os.posix_fadvise(self.descriptor, 0, 0, os.POSIX_FADV_RANDOM)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


def _map_without_read_ahead(path: Path) -> np.ndarray:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if hasattr(mmap, "MADV_RANDOM"):
        array._mmap.madvise(mmap.MADV_RANDOM)
    return array


class ShardReader:
    """Reads rows of consecutive shards. Files are opened on first use. Threads may read concurrently.

    Raises:
        ValueError: two shards hold images of different shapes.
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._shards = shards
        self.image_shape = shards[0].shape[1:]  # H, W, C
        for shard in shards:
            if shard.shape[1:] != self.image_shape:
                first = f"{shards[0].path.name} images of {list(self.image_shape)}"
                raise ValueError(f"{shard.path} holds images of {list(shard.shape[1:])}, but {first}; prepare again")
        self._image_bytes = int(np.prod(self.image_shape))
        self._starts = np.cumsum([0, *(shard.shape[0] for shard in shards)])
        self._first_bytes = np.array([shard.start for shard in shards])
        self._file = lru_cache(maxsize=_files_to_keep())(_OpenFile)
        self._map = lru_cache(maxsize=_files_to_keep())(_map_without_read_ahead)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Images uint8 [B,H,W,C] of `rows`, int64 [B] in ascending order.

        Raises:
            ValueError: a shard has become shorter since it was opened.
            OSError: naming the file that cannot be read.
        """
        x_BHWC = np.empty((len(rows), *self.image_shape), dtype=np.uint8)
        if not len(rows):
            return x_BHWC
        if self._image_bytes < mmap.PAGESIZE:
            return self._read_small(rows, x_BHWC)
        target = x_BHWC.data.cast("B")
        waiting = [piece for piece in self._pieces(rows) if not _read_cached(target, piece)]
        if len(waiting) > 1:
            list(_threads().map(lambda piece: _read(target, piece), waiting))
        elif waiting:
            _read(target, waiting[0])
        return x_BHWC

    def _read_small(self, rows: np.ndarray, x_BHWC: np.ndarray) -> np.ndarray:
        """Images smaller than a page: a memory map without read-ahead reads the same pages, without one call per image."""
        shards = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(shards):
            chosen = np.flatnonzero(shards == number)
            x_BHWC[chosen] = self._map(self._shards[number].path)[rows[chosen] - self._starts[number]]
        return x_BHWC

    def _pieces(self, rows: np.ndarray) -> Iterator["_Piece"]:
        """Split `rows` into reads of consecutive images of one shard."""
        shards = np.searchsorted(self._starts, rows, side="right") - 1
        offsets = self._first_bytes[shards] + (rows - self._starts[shards]) * self._image_bytes
        breaks = (np.flatnonzero((np.diff(rows) != 1) | (np.diff(shards) != 0)) + 1).tolist()
        most = max(1, _PIECE // self._image_bytes)
        numbers, places = shards.tolist(), offsets.tolist()
        for first, last in zip([0, *breaks], [*breaks, len(rows)], strict=True):
            file = self._file(self._shards[numbers[first]].path)
            for start in range(first, last, most):
                stop = min(start + most, last)
                yield file, start * self._image_bytes, stop * self._image_bytes, places[start]


_Piece = tuple[_OpenFile, int, int, int]  # file; first byte and last + 1 of the target; place in the file


def _read_cached(target: memoryview, piece: _Piece) -> bool:
    """Read a piece if the page cache has it, so that no disk access is needed."""
    file, first, last, offset = piece
    if not _NOWAIT:
        return False
    try:
        return os.preadv(file.descriptor, (target[first:last],), offset, _NOWAIT) == last - first
    except OSError:  # not in memory, or the file system cannot tell
        return False


def _read(target: memoryview, piece: _Piece) -> None:
    file, first, last, offset = piece
    while first < last:
        try:
            count = os.preadv(file.descriptor, (target[first:last],), offset)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(file.path)) from error
        if not count:
            raise ValueError(f"{file.path} is damaged or cut short; fetch it or prepare the data set again")
        first, offset = first + count, offset + count


def _files_to_keep() -> int:
    """A quarter of the descriptors that this process may have, at most `_MOST_FILES`."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_FILES if soft == resource.RLIM_INFINITY else max(1, min(_MOST_FILES, soft // 4))


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="shards")
