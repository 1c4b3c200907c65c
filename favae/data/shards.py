"""Shards: `.npy` files of uint8 [n,H,W,C], written row by row, without knowing the number of rows in advance."""

from pathlib import Path
from typing import BinaryIO

import numpy as np

from favae.config.dataset import Split


def shard_name(split: Split, shard: int) -> str:
    """File name of a split's shard, such as `train-00000.npy`."""
    return f"{split}-{shard:05d}.npy"


class ShardWriter:
    """Writes the images of one split after the first `done` into shards of `rows` images each. Use as a context manager.

    NumPy pads a `.npy` header so that the first axis can grow in place: when a shard is closed, the header is rewritten
    with the final number of rows.
    """

    def __init__(self, folder: Path, split: Split, rows: int, image_shape: tuple[int, int, int], done: int = 0) -> None:
        self._folder = folder
        self._split = split
        self._rows = rows
        self._image_shape = image_shape
        self._file: BinaryIO | None = None
        self._shard = max(0, done - 1) // rows
        self._row = done - self._shard * rows
        if 0 < self._row < rows:  # resume an unfinished shard; what was written after `done` is removed
            self._file = (folder / shard_name(split, self._shard)).open("r+b")
            end = self.data_start(self._file) + self._row * int(np.prod(image_shape))
            self._file.truncate(end)
            self._file.seek(end)

    def append(self, pixels: np.ndarray) -> tuple[int, int]:
        """Write one image, uint8 of the writer's image shape; returns its (shard, row)."""
        if pixels.dtype != np.uint8 or pixels.shape != self._image_shape:
            raise ValueError(f"got {pixels.dtype} {pixels.shape}, expected uint8 {self._image_shape}")
        if self._row == self._rows:
            self.close()
            self._shard, self._row = self._shard + 1, 0
        if self._file is None:
            self._file = (self._folder / shard_name(self._split, self._shard)).open("wb")
            self._write_header(0)
        self._file.write(np.ascontiguousarray(pixels).tobytes())
        self._row += 1
        return self._shard, self._row - 1

    @staticmethod
    def data_start(file: BinaryIO) -> int:
        """Byte position of the first image in an open shard; the file is left at this position."""
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        return file.tell()

    def flush(self) -> None:
        """Pass everything written to the operating system, so that it survives the end of this process."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Finish the open shard."""
        if self._file is None:
            return
        self._file.seek(0)
        self._write_header(self._row)
        self._file.close()
        self._file = None

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write_header(self, rows: int) -> None:
        assert self._file is not None
        header = {"descr": "|u1", "fortran_order": False, "shape": (rows, *self._image_shape)}
        np.lib.format.write_array_header_1_0(self._file, header)
