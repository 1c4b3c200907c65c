"""Shards: `.npy` files of uint8 [n,H,W,C], written row by row without knowing how many rows there will be."""

from pathlib import Path
from typing import BinaryIO

import numpy as np

from favae.config.dataset import Split


def shard_name(split: Split, shard: int) -> str:
    """File name of a split's shard, such as `train-00000.npy`."""
    return f"{split}-{shard:05d}.npy"


class ShardWriter:
    """Writes one split's images into shards of `rows` images each. Use as a context manager.

    NumPy pads a `.npy` header so that the first axis can grow in place: the header is written again, with the true
    number of rows, when a shard is closed.
    """

    def __init__(self, folder: Path, split: Split, rows: int, image_shape: tuple[int, int, int]) -> None:
        self._folder = folder
        self._split = split
        self._rows = rows
        self._image_shape = image_shape
        self._file: BinaryIO | None = None
        self._shard = 0
        self._row = 0

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
