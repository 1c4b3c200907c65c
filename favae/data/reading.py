"""Random reads of images from shards: only the bytes asked for, in the order of the disk, several at a time.

A memory map reads ahead of every page it misses: at random, that was 6 to 12 bytes read for each byte used.
"""

import os
import resource
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

_THREADS = 8  # reads in flight; disks and network file systems answer several at once
_PIECE = 4 << 20  # bytes of one read of consecutive images
_WORTH_A_THREAD = 256 << 10  # bytes; less than this is read sooner than handed over
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
    """A descriptor that is closed when nobody reads from it any more."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        if hasattr(os, "posix_fadvise"):  # Linux; no read-ahead: neighbours in a shard are no neighbours in a batch
            os.posix_fadvise(self.descriptor, 0, 0, os.POSIX_FADV_RANDOM)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


class ShardReader:
    """Reads rows of shards that follow each other. Files are opened when first needed; threads may read together.

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
        self._file = lru_cache(maxsize=_files_to_keep())(_OpenFile)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Images uint8 [B,H,W,C] of `rows`, int64 [B] in ascending order.

        Raises:
            ValueError: a shard has become shorter since it was opened.
            OSError: naming the file that cannot be read.
        """
        x_BHWC = np.empty((len(rows), *self.image_shape), dtype=np.uint8)
        pieces = self._pieces(rows)
        if len(pieces) < 2 or x_BHWC.nbytes < _WORTH_A_THREAD:
            for piece in pieces:
                self._read_piece(rows, x_BHWC, *piece)
        else:
            list(_threads().map(lambda piece: self._read_piece(rows, x_BHWC, *piece), pieces))
        return x_BHWC

    def _pieces(self, rows: np.ndarray) -> list[tuple[int, int, int]]:
        """(shard, first, last + 1) of the parts of `rows` that are one read: consecutive images of one shard."""
        if not len(rows):
            return []
        shards = np.searchsorted(self._starts, rows, side="right") - 1
        breaks = np.flatnonzero((np.diff(rows) != 1) | (np.diff(shards) != 0)) + 1
        most = max(1, _PIECE // self._image_bytes)
        pieces = []
        for first, last in zip([0, *breaks.tolist()], [*breaks.tolist(), len(rows)], strict=True):
            pieces += [(int(shards[first]), start, min(start + most, last)) for start in range(first, last, most)]
        return pieces

    def _read_piece(self, rows: np.ndarray, x_BHWC: np.ndarray, number: int, first: int, last: int) -> None:
        shard = self._shards[number]
        offset = shard.start + (int(rows[first]) - int(self._starts[number])) * self._image_bytes
        target = x_BHWC[first:last].data.cast("B")
        try:
            file = self._file(shard.path)
            while len(target):
                count = os.preadv(file.descriptor, [target], offset)
                if not count:
                    raise ValueError(f"{shard.path} is damaged or cut short; fetch it or prepare the data set again")
                target, offset = target[count:], offset + count
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(shard.path)) from error


def _files_to_keep() -> int:
    """A quarter of the descriptors that this process may have, at most `_MOST_FILES`."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_FILES if soft == resource.RLIM_INFINITY else max(1, min(_MOST_FILES, soft // 4))


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="shards")
