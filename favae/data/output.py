"""Writing the files of a prepared data set (shards, index, captions), so that a killed preparation can resume."""

import csv
import hashlib
import json
import logging
import os
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np

from favae.config.dataset import DatasetConfig, TilesLayoutConfig
from favae.data.records import SPLITS, ImageRecord
from favae.data.shards import ShardWriter, shard_name
from favae.data.tiles import tile_caption
from favae.runtime import paths
from favae.runtime.files import write_text

log = logging.getLogger(__name__)

INDEX_COLUMNS = ("split", "shard", "row", "id", "source", "sha256", "label", "box")
CAPTION_COLUMNS = ("id", "caption")
_SAVED = "progress.json"
_BLOCK = 1 << 24


class DatasetWriter:
    """Shards, `index.csv` and `captions.csv` in `folder`, and counts of what was written. Use as a context manager.

    `save` records the current length of all files. A later `DatasetWriter` on the same folder that `belongs_to` the same
    listing and parameters truncates the files to these lengths and resumes; the resulting bytes are those of an
    uninterrupted run.

    Attributes:
        done: number of records that were finished in the saved state from which this one resumes; 0 for a new start.
        bad: (number of the record, reason) of the bad images among them.
    """

    def __init__(self, config: DatasetConfig, folder: Path, belongs_to: str) -> None:
        self._tiles = config.layout if isinstance(config.layout, TilesLayoutConfig) else None
        depth = sum(config.planes.values())
        self._shapes = {split: (*config.stored_size(split), depth) for split in SPLITS}
        self._shard_rows = config.shard_rows
        self._folder = folder
        self._belongs_to = belongs_to
        self._stack = ExitStack()
        saved = self._saved()
        self.done: int = saved.get("done", 0)
        self.bad: list[tuple[int, str]] = [(int(n), str(reason)) for n, reason in saved.get("bad", [])]
        self.counts: dict[str, int] = saved.get("counts", dict.fromkeys(SPLITS, 0))
        self._changes: Counter[str] = Counter(saved.get("changes", {}))
        self._flat_tiles: int = saved.get("flat_tiles", 0)
        self._caption_count: int = saved.get("captions", 0)
        self._pixels = saved.get("hashes") or {split: hashlib.sha256() for split in SPLITS}
        self._first_split: dict[str, str] = {}
        self._copied: set[str] = set()
        self._writers = {
            split: self._stack.enter_context(
                ShardWriter(folder, split, config.shard_rows, self._shapes[split], done=self.counts[split])
            )
            for split in SPLITS
        }
        self._index_file, self._index = self._table(paths.INDEX, INDEX_COLUMNS, saved.get("index_bytes"))
        self._captions_file, self._captions = self._table(paths.CAPTIONS, CAPTION_COLUMNS, saved.get("captions_bytes"))
        if self.done:
            self._count_again()
            log.info("resuming an interrupted preparation after %d images", self.done)

    def __enter__(self) -> "DatasetWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, record: ImageRecord, pixels: np.ndarray, sha256: str, changes: tuple[str, ...]) -> None:
        """Write one image, uint8 [H,W,C], unless it is a tile with too little contrast."""
        texts = record.captions
        if self._tiles:
            if pixels.std() < self._tiles.min_std:
                self._flat_tiles += 1
                return
            texts = (tile_caption(record, pixels),)
        shard, row = self._writers[record.split].append(pixels)
        label = "" if record.label is None else record.label
        box = "" if record.box is None else " ".join(map(str, record.box))
        self._index.writerow((record.split, shard, row, record.id, record.source, sha256, label, box))
        self._captions.writerows((record.id, text) for text in texts)
        self._caption_count += len(texts)
        self._changes.update(changes)
        self._pixels[record.split].update(pixels.tobytes())
        self._count_split(sha256, record.split)
        self.counts[record.split] += 1

    def save(self, done: int) -> None:
        """Record that `done` records are finished."""
        for writer in self._writers.values():
            writer.flush()
        sizes = {}
        for name, file in (("index_bytes", self._index_file), ("captions_bytes", self._captions_file)):
            file.flush()
            os.fsync(file.fileno())
            sizes[name] = file.tell()
        saved = {
            "belongs_to": self._belongs_to,
            "done": done,
            "bad": self.bad,
            "counts": self.counts,
            "changes": self._changes,
            "flat_tiles": self._flat_tiles,
            "captions": self._caption_count,
            "pixels": {split: digest.hexdigest() for split, digest in self._pixels.items()},
            **sizes,
        }
        write_text(self._folder / _SAVED, json.dumps(saved))

    def summary(self) -> dict[str, Any]:
        """Counts and hashes of what was written, for the card."""
        return {
            "counts": self.counts,
            "image_shape": list(self._shapes["test"]),
            "pixel_sha256": {split: digest.hexdigest() for split, digest in self._pixels.items()},
            "conversions": dict(sorted(self._changes.items())),
            "flat_tiles": self._flat_tiles,
            "captions": self._caption_count,
            "in_several_splits": len(self._copied),
        }

    def files(self) -> list[Path]:
        """Names of the finished files."""
        return sorted(path for path in self._folder.iterdir() if path.suffix in (".npy", ".csv"))

    def _count_split(self, sha256: str, split: str) -> None:
        if self._first_split.setdefault(sha256, split) != split:
            self._copied.add(sha256)

    def _count_again(self) -> None:
        with (self._folder / paths.INDEX).open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                self._count_split(row["sha256"], row["split"])

    def _table(self, name: str, columns: tuple[str, ...], size: int | None) -> tuple[IO[str], Any]:
        path = self._folder / name
        if size is not None:
            os.truncate(path, size)
        mode = "w" if size is None else "a"
        file = self._stack.enter_context(path.open(mode, newline="", encoding="utf-8"))
        writer = csv.writer(file, lineterminator="\n")
        if size is None:
            writer.writerow(columns)
        return file, writer

    def _saved(self) -> dict[str, Any]:
        """The saved state, if it belongs to this listing and its shards are complete; otherwise empties the folder and
        returns nothing."""
        path = self._folder / _SAVED
        try:
            saved = json.loads(path.read_text(encoding="utf-8"))
            if saved["belongs_to"] == self._belongs_to:
                saved["hashes"] = {split: self._hash_of(split, saved["counts"][split]) for split in SPLITS}
                sizes_fit = all(
                    (self._folder / name).stat().st_size >= saved[key]
                    for name, key in ((paths.INDEX, "index_bytes"), (paths.CAPTIONS, "captions_bytes"))
                )
                if sizes_fit and {s: h.hexdigest() for s, h in saved["hashes"].items()} == saved["pixels"]:
                    self._remove_but({split: saved["counts"][split] for split in SPLITS})
                    return saved
                log.warning(
                    "%s: the files of an interrupted preparation are damaged; starting from the beginning", self._folder
                )
            else:
                log.info(
                    "%s: an interrupted preparation used other raw data or parameters; starting from the beginning",
                    self._folder,
                )
        except FileNotFoundError:
            pass
        except (OSError, ValueError, LookupError, TypeError) as error:
            log.warning(
                "%s: the files of an interrupted preparation cannot be used (%s); starting from the beginning",
                path,
                error,
            )
        self._remove_but(dict.fromkeys(SPLITS, 0))
        path.unlink(missing_ok=True)
        return {}

    def _hash_of(self, split: Any, count: int) -> Any:
        """Hash of the pixels of the first `count` images of a split."""
        found = hashlib.sha256()
        size = int(np.prod(self._shapes[split]))
        for shard, first in enumerate(range(0, count, self._shard_rows)):
            left = min(self._shard_rows, count - first) * size
            with (self._folder / shard_name(split, shard)).open("rb") as file:
                file.seek(ShardWriter.data_start(file))
                while left:
                    block = file.read(min(left, _BLOCK))
                    if not block:
                        raise ValueError(f"{file.name} is cut short")
                    found.update(block)
                    left -= len(block)
        return found

    def _remove_but(self, counts: dict[Any, int]) -> None:
        """Remove shards without any of the first images of each split."""
        kept = {shard_name(split, number) for split, n in counts.items() for number in range(-(-n // self._shard_rows))}
        for path in self._folder.glob("*.npy"):
            if path.name not in kept:
                path.unlink()
