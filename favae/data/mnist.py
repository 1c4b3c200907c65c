"""MNIST's idx files."""

import functools
import hashlib
import math
import struct
from pathlib import Path

import numpy as np

from favae.data.forms import find, hint
from favae.data.texts import file_bytes, unzipped
from favae.data.walk import shown

# MD5 of the unzipped files, as published with the data set.
OFFICIAL_MD5 = {
    "train-images": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels": "a25bea736e30d166cdddb491f175f624",
    "t10k-images": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels": "27ae3e4e09519cfbb04c329615203637",
}
_MOST_BYTES = 4 << 30  # of one unzipped file
_LONGEST_SIDE = 4096
_DOWNLOAD = "put MNIST's four idx files there"


def find_idx(folder: Path, name: str) -> Path:
    """The file of `name` ("train-images") in `folder` or below it: with the published name, or with that of Kaggle or
    torchvision.

    Raises:
        ValueError: there is none; the message lists what is in the folder instead.
    """
    kind = "idx3" if name.endswith("images") else "idx1"
    spellings = [f"{name}{point}{kind}{end}" for point in "-." for end in ("-ubyte", "")]
    found = find(folder, [f"{s}{gz}" for s in spellings for gz in ("", ".gz")], Path.is_file)
    if found is None:
        raise ValueError(
            f"neither {spellings[0]} nor {spellings[0]}.gz is in {shown(folder)}; {_DOWNLOAD}{hint(folder)}"
        )
    return found


def check_md5(path: Path, name: str) -> None:
    """Compare the unzipped file with the published MD5 of `name` ("train-images").

    Raises:
        ValueError: the sums differ; the message has the file and both sums.
    """
    expected = OFFICIAL_MD5[name]
    found = hashlib.md5(_content(path), usedforsecurity=False).hexdigest()
    if found != expected:
        raise ValueError(
            f"{shown(path)} has MD5 {found} (unzipped), expected {expected}: it is damaged or not MNIST; download it "
            "again, or set checksums: unchecked for another data set in this format"
        )


@functools.lru_cache(maxsize=2)
def read_images(path: Path) -> np.ndarray:
    """All images of an idx3 file: uint8 [n,H,W], read-only. Raises ValueError for a damaged or different file."""
    return _read_idx(path, 3)


def read_labels(path: Path) -> np.ndarray:
    """All labels of an idx1 file: uint8 [n]. Raises ValueError for a damaged or different file."""
    return _read_idx(path, 1)


def _read_idx(path: Path, dimensions: int) -> np.ndarray:
    data = _content(path)
    start = 4 * (dimensions + 1)
    if len(data) < start:
        raise _damaged(path, dimensions, f"found {len(data)} bytes, expected a header of {start}")
    magic, *shape = struct.unpack(f">{dimensions + 1}I", data[:start])
    if magic != 0x0800 + dimensions:
        raise _damaged(path, dimensions, f"found the magic number {magic:#010x}, expected {0x0800 + dimensions:#010x}")
    sizes = " x ".join(f"{n:,}" for n in shape)
    if min(shape) < 1 or max(shape[1:], default=1) > _LONGEST_SIDE:
        raise _damaged(path, dimensions, f"found {sizes} in its header, expected sides of 1 to {_LONGEST_SIDE}")
    if len(data) != start + math.prod(shape):
        raise _damaged(path, dimensions, f"found {len(data) - start:,} bytes of data, expected {sizes}")
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape)


def _damaged(path: Path, dimensions: int, what: str) -> ValueError:
    return ValueError(f"{shown(path)} is not a complete idx{dimensions} file of bytes: {what}; download it again")


def _content(path: Path) -> bytes:
    return unzipped(file_bytes(path, _DOWNLOAD), path, _MOST_BYTES)
