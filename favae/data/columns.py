"""The index of a prepared split as columns: arrays on disk that all processes of a node memory-map and share.

As lists of strings, the index of 1.28 million images takes 389 MB and 4 s in every process. The columns are derived from
`index.csv` and `captions.csv` and named by the hashes of both. They can be deleted at any time.
"""

import contextlib
import csv
import logging
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import overload

import numpy as np
from filelock import FileLock

from favae.config.dataset import Split
from favae.data.records import SPLITS
from favae.runtime import paths
from favae.runtime.files import replacing
from favae.runtime.hash_memory import sha256_of
from favae.runtime.hashes import sha256_text

log = logging.getLogger(__name__)
_VERSION = 1  # of the arrays; raise it when what is derived changes
_NO_LABEL = -(2**63)
_CHECKSUM = "crc32.txt"
_TYPES = {
    "ids": np.uint8,  # all names, concatenated, UTF-8
    "id_ends": np.int64,  # where each ends
    "labels": np.int64,
    "shard_rows": np.int64,  # images of each shard
    "captions": np.uint8,
    "caption_ends": np.int64,
    "last_captions": np.int64,  # for each image, the number of captions up to and including its own
}

Columns = dict[str, np.ndarray]


class Texts(Sequence[str]):
    """Strings that are concatenated in an array of UTF-8 bytes; each is decoded on access."""

    def __init__(self, text: np.ndarray, ends: np.ndarray) -> None:
        self._text = text
        self._ends = ends

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, number: int) -> str: ...
    @overload
    def __getitem__(self, number: slice) -> list[str]: ...
    def __getitem__(self, number: int | slice) -> str | list[str]:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        number = range(len(self))[number]
        start = self._ends[number - 1] if number else 0
        return self._text[start : self._ends[number]].tobytes().decode()


class Labels(Sequence[int | None]):
    """Class indices, None for an image without one."""

    def __init__(self, values: np.ndarray) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    @overload
    def __getitem__(self, number: int) -> int | None: ...
    @overload
    def __getitem__(self, number: slice) -> list[int | None]: ...
    def __getitem__(self, number: int | slice) -> int | list[int | None] | None:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        value = int(self._values[number])
        return None if value == _NO_LABEL else value


def columns_of(folder: Path, split: Split) -> Columns:
    """The columns of a split, memory-mapped from `data/state` if it exists and is writable, otherwise in memory.

    Raises:
        ValueError: a table is missing, its rows are not in order, or the split has no images.
    """
    tables = folder / paths.INDEX, folder / paths.CAPTIONS
    for table in tables:
        if not table.is_file():
            raise ValueError(f"{table} is missing: this is not a prepared data set, or its preparation did not finish")
    kept = paths.columns(_key(folder, split))
    if (found := _load(kept)) is not None:
        return found
    if not paths.STATE.is_dir():
        return _derive(folder, split)
    try:
        kept.parent.mkdir(exist_ok=True)
        with FileLock(kept.with_suffix(".lock")):  # one process per node derives them, the others wait
            if (found := _load(kept)) is None:
                _keep(kept, _derive(folder, split))
                found = _load(kept)
    except OSError as error:  # no space, or a file system that is read-only
        log.debug("%s: the index is not kept as columns: %s", folder, error)
        found = None
    return _derive(folder, split) if found is None else found


def _key(folder: Path, split: Split) -> str:
    return sha256_text(
        " ".join([str(_VERSION), split, *(sha256_of(folder / t) for t in (paths.INDEX, paths.CAPTIONS))])
    )


def unused_columns(prepared: Iterable[Path]) -> list[Path]:
    """Columns in `data/state` that belong to none of the `prepared` folders, with their locks."""
    known = set()
    for folder in prepared:
        with contextlib.suppress(FileNotFoundError):
            known |= {_key(folder, split) for split in SPLITS}
    parent = paths.columns("any").parent
    return [path for path in parent.iterdir() if path.stem not in known] if parent.is_dir() else []


def _load(folder: Path) -> Columns | None:
    """The stored columns, or None if they are missing or damaged."""
    try:
        found = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _TYPES}
        checksum = (folder / _CHECKSUM).read_text(encoding="utf-8")
    except (OSError, ValueError, EOFError):
        return None
    return found if checksum == _checksum(found) else None


def _keep(folder: Path, columns: Columns) -> None:
    with replacing(folder) as temporary:
        temporary.mkdir()
        for name, values in columns.items():
            np.save(temporary / f"{name}.npy", values)
        (temporary / _CHECKSUM).write_text(_checksum(columns), encoding="utf-8")


def _checksum(columns: Columns) -> str:
    value = 0
    for name in _TYPES:
        value = zlib.crc32(np.ascontiguousarray(columns[name]).data, value) if len(columns[name]) else value
        value = zlib.crc32(f"{columns[name].dtype}{columns[name].shape}".encode(), value)
    return f"{value:08x}\n"


def _derive(folder: Path, split: Split) -> Columns:
    """Read both tables once, in parallel: captions are in the order of the images."""
    ids, captions = bytearray(), bytearray()
    numbers = {name: array("q") for name, kind in _TYPES.items() if kind is np.int64}
    listed = _Captions(folder / paths.CAPTIONS)
    for of, shard, row, name, label in _rows(folder / paths.INDEX, ("split", "shard", "row", "id", "label")):
        texts = listed.of(name) if listed.left else ()
        if of != split:
            continue
        try:
            _count(numbers["shard_rows"], int(shard), int(row))
            numbers["labels"].append(int(label) if label else _NO_LABEL)
        except ValueError as error:
            raise ValueError(f"{folder / paths.INDEX}: {name}: {error}; prepare again") from None
        ids += name.encode()
        numbers["id_ends"].append(len(ids))
        for text in texts:
            captions += text.encode()
            numbers["caption_ends"].append(len(captions))
        numbers["last_captions"].append(len(numbers["caption_ends"]))
    listed.check_end()
    if not numbers["id_ends"]:
        raise ValueError(f"{folder} has no {split} images; choose another split or prepare with one")
    texts_of = {"ids": ids, "captions": captions}
    return {name: np.frombuffer(texts_of.get(name) or numbers.get(name) or b"", kind) for name, kind in _TYPES.items()}


def _count(shard_rows: "array[int]", shard: int, row: int) -> None:
    if row == 0 and shard == len(shard_rows):
        shard_rows.append(0)
    if shard != len(shard_rows) - 1 or row != shard_rows[shard]:
        raise ValueError(f"row {row} of shard {shard} is not in order")
    shard_rows[shard] += 1


class _Captions:
    """The rows of `captions.csv`, grouped by image."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows = _rows(path, ("id", "caption"))
        self._next = next(self._rows, None)

    @property
    def left(self) -> bool:
        """Whether rows are left."""
        return self._next is not None

    def of(self, name: str) -> list[str]:
        """The captions of the next image."""
        texts = []
        while self._next is not None and self._next[0] == name:
            texts.append(self._next[1])
            self._next = next(self._rows, None)
        return texts

    def check_end(self) -> None:
        """Raise ValueError if rows are left: their image is not in the index, or at another position."""
        if self._next is not None:
            raise ValueError(
                f"{self._path}: captions of {self._next[0]!r} are not in the order of {paths.INDEX}; prepare again"
            )


def _rows(path: Path, wanted: tuple[str, ...]) -> Iterator[Sequence[str]]:
    """The columns `wanted` of a CSV file. Raises ValueError naming the file and what is wrong with it."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            head = next(reader, [])
            if missing := [name for name in wanted if name not in head]:
                raise ValueError(f"{path}: no column {missing[0]!r}; fetch it again (dvc pull) or prepare again")
            choose = itemgetter(*map(head.index, wanted))
            for row in reader:
                if len(row) != len(head):
                    raise ValueError(
                        f"{path}:{reader.line_num}: {len(row)} fields, expected {len(head)}; prepare again"
                    )
                yield choose(row)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged ({error}); fetch it (dvc pull) or prepare again") from error
