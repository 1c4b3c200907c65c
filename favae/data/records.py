"""Records, one per image, and rules that select records by hash instead of random numbers."""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from favae.config.dataset import Split
from favae.data.pair import Pair
from favae.data.walk import shown

SPLITS: tuple[Split, ...] = ("train", "val", "test")

Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image to prepare.

    Attributes:
        id: unique name within the data set.
        path: file to read.
        source: the file's name in the index, relative to the data set's root, equal on every machine.
        split: train, val or test.
        captions: captions for a text-to-image model; empty if the data set has none.
        label: class index, or None.
        box: (left, top, right, bottom) in source pixels, right and bottom exclusive, or None for the whole image.
        item: position in a file that holds many images (MNIST), or None.
        pair: the image with the condition from which it is generated, or None.
    """

    id: str
    path: Path
    source: str
    split: Split
    captions: tuple[str, ...] = ()
    label: int | None = None
    box: Box | None = None
    item: int | None = None
    pair: Pair | None = None


def name_hash(name: str) -> int:
    """First 64 bits of the SHA-256 of `name`: it gives an arbitrary but fixed order, the same on every machine."""
    return int.from_bytes(hashlib.sha256(name.encode(errors="surrogateescape")).digest()[:8], "big")


def carve_validation(records: Sequence[ImageRecord], count: int) -> list[ImageRecord]:
    """Move `count` training records, those with the smallest name hash, to `val`.

    Raises:
        ValueError: if no training image would remain.
    """
    train = [r for r in records if r.split == "train"]
    if count and count >= len(train):
        raise ValueError(f"val_from_train is {count} but there are {len(train)} training images; give a smaller number")
    chosen = {r.id for r in _smallest(train, count)}
    return [replace(r, split="val") if r.split == "train" and r.id in chosen else r for r in records]


def apply_limit(records: Sequence[ImageRecord], limit: Mapping[Split, int] | None) -> list[ImageRecord]:
    """Keep at most `limit[split]` records of each split in `limit`, those with the smallest name hash, in their order."""
    kept: set[str] = set()
    for split in SPLITS:
        part = [r for r in records if r.split == split]
        kept.update(r.id for r in _smallest(part, (limit or {}).get(split, len(part))))
    return [r for r in records if r.id in kept]


def check_counts(records: Sequence[ImageRecord], expected: Mapping[Split, int] | None) -> None:
    """Compare the number of records in each split with the published one.

    Raises:
        ValueError: the numbers differ; the message has the split, the number found and the number expected.
    """
    counts = count_splits(records)
    wrong = [f"{s}: found {counts[s]:,}, expected {n:,}" for s, n in (expected or {}).items() if counts[s] != n]
    if wrong:
        raise ValueError(
            "the raw data are not the published ones: " + "; ".join(wrong) + ". Complete the download, or correct "
            "expected_counts"
        )


def check_unique(records: Iterable[ImageRecord]) -> None:
    """Raise ValueError if two records have the same id."""
    seen: dict[str, str] = {}
    for record in records:
        if record.id in seen:
            raise ValueError(
                f"two images have the id {record.id!r}: {seen[record.id]} and {record.source}; rename or remove one"
            )
        seen[record.id] = record.source


def check_names(records: Iterable[ImageRecord]) -> None:
    """Raise ValueError for a file name that cannot be written into a table: not UTF-8, or with a control character such
    as a line end."""
    for record in records:
        try:
            record.source.encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError(
                f"{shown(record.path)}: the name is not UTF-8 ({os.fsencode(record.path.name)!r}); rename it "
                "(convmv renames whole folders)"
            ) from None
        if control := re.search(r"[\x00-\x1f\x7f]", record.source):
            raise ValueError(
                f"{shown(record.path)}: the name has the control character {control[0]!r}, expected a name on one line; "
                "rename it"
            )


def count_splits(records: Iterable[ImageRecord]) -> dict[Split, int]:
    """Number of records in each of train, val, test."""
    counts: dict[Split, int] = dict.fromkeys(SPLITS, 0)
    for record in records:
        counts[record.split] += 1
    return counts


def _smallest(records: Sequence[ImageRecord], count: int) -> list[ImageRecord]:
    return sorted(records, key=lambda r: (name_hash(r.id), r.id))[:count]
