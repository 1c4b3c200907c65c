"""Digest of the raw data of a preparation: names and sizes of the files, without decoding them."""

import csv
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from favae.config.dataset import DatasetConfig
from favae.data.layouts import RawFiles, list_records
from favae.data.pair import joined_hash
from favae.data.records import ImageRecord
from favae.data.shipped import SHIPPED_IMAGES
from favae.data.walk import shown, walk_all
from favae.runtime import paths
from favae.runtime.hash_memory import sha256_of

RAW_TABLE = "raw.csv"
_COLUMNS = ("name", "bytes", "sha256")
_MOST_HASHED = 1 << 30
_MOST_STAMPED = 250_000


class RawFile(NamedTuple):
    """A file in the listing. `bytes` is empty if the file is missing, `sha256` if its content was not read for the listing."""

    name: str
    bytes: str
    sha256: str


def raw_files(config: DatasetConfig, raw_root: Path, records: Iterable[ImageRecord], raw: RawFiles) -> list[RawFile]:
    """The image files of `records` and their lists and captions, sorted by name.

    Names are relative to the data set's root, or to `raw_root` for lists outside it, and equal on every machine.
    """
    shipped = {image.source: image.sha256 for image in SHIPPED_IMAGES.values()}
    files: dict[str, RawFile] = {}
    root = raw_root / getattr(config.layout, "root", "")
    for record in records:
        name = record.source.partition("#")[0] if record.item is not None else record.source
        if name not in files:
            files[name] = RawFile(name, _size(record.path), shipped.get(name, "") if record.box else "")
        if record.pair:
            others = record.pair.files()[1:]
            files |= {n: RawFile(n, _size(path), "") for path in others if (n := _relative(path, root))}
    for path, (size, sha256) in raw.texts.read.items():
        name = _relative(path, root, raw_root)
        files[name] = RawFile(name, str(size), sha256)
    return [files[name] for name in sorted(files)]


def digest(files: Sequence[RawFile]) -> dict[str, Any]:
    """`files` that exist, their `bytes` and the `sha256` of their listing, one line `name, bytes, sha256` per file."""
    lines = "".join(", ".join(file) + "\n" for file in files)
    return {
        "files": sum(bool(file.bytes) for file in files),
        "bytes": sum(int(file.bytes or 0) for file in files),
        "sha256": hashlib.sha256(lines.encode()).hexdigest(),
    }


def raw_changes(config: DatasetConfig, prepared: Path, raw_root: Path | None = None) -> list[str]:
    """One line per raw file that was added, removed or changed since `prepared` was made; empty if the raw data are not
    on this machine.

    Names and sizes are compared, and contents of lists and captions. The content of an image is compared if its size is
    the same but it was written after `prepared`, unless such images are together larger than 1 GiB.

    Raises:
        ValueError: the raw data no longer match the layout, or a table of `prepared` is damaged.
    """
    raw_root = paths.raw_root() if raw_root is None else raw_root
    if not is_there(config, raw_root) or not (prepared / RAW_TABLE).is_file():
        return []
    raw = RawFiles()
    records = list_records(config, raw_root, raw)
    now = {file.name: file for file in raw_files(config, raw_root, records, raw)}
    before = {file.name: file for row in _table(prepared / RAW_TABLE, _COLUMNS) for file in [RawFile(*row)]}
    changed = {name for name in now if before.get(name, now[name]) != now[name]}
    changed |= _rewritten([record for record in records if record.source in before.keys() - changed], prepared)
    lines = [f"added: {shown(name)}" for name in now if name not in before]
    lines += [f"removed: {shown(name)}" for name in before if name not in now]
    return lines + [f"changed: {shown(name)}" for name in now if name in changed]


def _rewritten(records: Iterable[ImageRecord], prepared: Path) -> set[str]:
    """Names of images of the same size with other content than in the index of `prepared`."""
    made = (prepared / RAW_TABLE).stat().st_mtime_ns
    touched: dict[str, Sequence[Path]] = {}
    size = 0
    for record in records:
        if record.item is not None or record.box is not None:
            continue
        files = record.pair.files() if record.pair else (record.path,)
        try:
            found = [path.stat() for path in files]
        except OSError:
            continue
        if any(max(status.st_mtime_ns, status.st_ctime_ns) > made for status in found):
            touched[record.source], size = files, size + sum(status.st_size for status in found)
    if not touched or size > _MOST_HASHED:
        return set()
    before = dict(_table(prepared / paths.INDEX, ("source", "sha256")))
    return {
        name
        for name, files in touched.items()
        if name in before and joined_hash([*map(sha256_of, files)]) != before[name]
    }


def _table(path: Path, columns: Sequence[str]) -> Iterator[list[str]]:
    """These columns of each row of a CSV file. Raises ValueError naming the file where it has no such columns, or is damaged."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file, restval=""):
                yield [row[name] for name in columns]
    except (csv.Error, UnicodeDecodeError, KeyError) as error:
        raise ValueError(f"{path} is damaged ({type(error).__name__}: {error}); prepare the data set again") from error


def stamp(config: DatasetConfig, raw_root: Path) -> str:
    """Hash of names, sizes and times of everything below the data set's folders, without reading a file.

    As long as it is the same, `raw_changes` need not be computed again. Only folders are looked at after the first
    250,000 files.
    """
    found = hashlib.sha256(f"{raw_root.absolute()}\n{config.model_dump_json()}\n".encode(errors="surrogateescape"))
    lists = getattr(config.layout, "lists", None)
    outside = [raw_root / lists.train, raw_root / lists.test] if lists else []
    left = _MOST_STAMPED
    inside = chain.from_iterable(walk_all(raw_root / root) for root in config.roots)
    for path, is_folder in chain(((path, False) for path in outside), inside):
        left -= not is_folder
        if is_folder or left >= 0:
            try:
                status = path.stat()
            except OSError:
                continue
            times = f"{status.st_mtime_ns} {status.st_ctime_ns} {0 if is_folder else status.st_size}"
            found.update(f"{path} {times}\n".encode(errors="surrogateescape"))
    return found.hexdigest()


def is_there(config: DatasetConfig, raw_root: Path) -> bool:
    """Whether the folders of the data set are on this machine; always for the shipped photographs."""
    return all((raw_root / root).is_dir() for root in config.roots)


def write_raw_files(path: Path, files: Iterable[RawFile]) -> None:
    """Write the listing as a CSV table."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(files)


def _size(path: Path) -> str:
    try:
        return str(path.stat().st_size)
    except OSError:
        return ""


def _relative(path: Path, *roots: Path) -> str:
    for root in roots:
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    return path.name
