"""MNIST's idx files."""

import functools
import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np

# MD5 of the unzipped files, as published with the data set.
OFFICIAL_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


def find_file(folder: Path, name: str) -> Path:
    """`name` or `name`.gz in `folder`; ValueError when neither is there."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise ValueError(f"neither {name} nor {name}.gz is in {folder}; put MNIST's four idx files there")


def check_md5(path: Path) -> None:
    """Compare the unzipped file with the published MD5.

    Raises:
        ValueError: naming file, found and expected sum.
    """
    expected = OFFICIAL_MD5[path.name.removesuffix(".gz")]
    found = hashlib.md5(_unzipped(path), usedforsecurity=False).hexdigest()
    if found != expected:
        raise ValueError(
            f"{path} has MD5 {found} (unzipped), expected {expected}: it is damaged or not MNIST; download it again, "
            "or set checksums: unchecked for another data set in this format"
        )


@functools.lru_cache(maxsize=2)
def read_images(path: Path) -> np.ndarray:
    """All pictures of an idx3 file: uint8 [n,H,W], read-only."""
    return _read_idx(path, 3)


def read_labels(path: Path) -> np.ndarray:
    """All labels of an idx1 file: uint8 [n]."""
    return _read_idx(path, 1)


def _read_idx(path: Path, dimensions: int) -> np.ndarray:
    data = _unzipped(path)
    header = 4 * (dimensions + 1)
    magic, *shape = struct.unpack(f">{dimensions + 1}i", data[:header]) if len(data) >= header else (0,)
    if magic != 0x0800 + dimensions or len(data) != header + int(np.prod(shape)):
        raise ValueError(f"{path} is not a complete idx{dimensions} file of bytes; download it again")
    return np.frombuffer(data, dtype=np.uint8, offset=header).reshape(shape)


def _unzipped(path: Path) -> bytes:
    data = path.read_bytes()
    try:
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except (OSError, EOFError) as error:
        raise ValueError(f"{path} is not a complete gzip file ({error}); download it again") from error
