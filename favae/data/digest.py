"""Digest of the raw data of a preparation: names and sizes of the files, without decoding them."""

import csv
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from favae.config.dataset import DatasetConfig
from favae.data.layouts import RawFiles, list_records
from favae.data.records import ImageRecord
from favae.data.shipped import SHIPPED_IMAGES
from favae.runtime import paths

RAW_TABLE = "raw.csv"
_COLUMNS = ("name", "bytes", "sha256")


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


def raw_digest(config: DatasetConfig, raw_root: Path | None = None) -> dict[str, Any] | None:
    """`raw` of the card's summary, computed from the current raw data; None if they are not on this machine.

    Raises:
        ValueError: the raw data no longer match the layout.
    """
    files = _listed_now(config, raw_root)
    return None if files is None else digest(files)


def raw_changes(config: DatasetConfig, prepared: Path, raw_root: Path | None = None) -> list[str]:
    """One line per raw file that was added, removed or changed since `prepared` was made; empty if the raw data are not
    on this machine."""
    files = _listed_now(config, raw_root)
    if files is None or not (prepared / RAW_TABLE).is_file():
        return []
    now = {file.name: file for file in files}
    with (prepared / RAW_TABLE).open(newline="", encoding="utf-8") as table:
        before = {row["name"]: RawFile(row["name"], row["bytes"], row["sha256"]) for row in csv.DictReader(table)}
    lines = [f"added: {name}" for name in now if name not in before]
    lines += [f"removed: {name}" for name in before if name not in now]
    return lines + [f"changed: {name}" for name in now if before.get(name, now[name]) != now[name]]


def write_raw_files(path: Path, files: Iterable[RawFile]) -> None:
    """Write the listing as a CSV table."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(files)


def _listed_now(config: DatasetConfig, raw_root: Path | None) -> list[RawFile] | None:
    raw_root = paths.raw_root() if raw_root is None else raw_root
    root = getattr(config.layout, "root", None)
    if root is not None and not (raw_root / root).is_dir():
        return None
    raw = RawFiles()
    return raw_files(config, raw_root, list_records(config, raw_root, raw), raw)


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
