"""Reading prepared data: the memory-mapped shards of one split, and one exact pass over it for evaluation."""

import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from favae.config.dataset import Split
from favae.data.records import SPLITS
from favae.data.shards import shard_name
from favae.runtime import paths

_CANDIDATES = 16  # images per part that `example_rows` considers


class PreparedSplit:
    """One split of a prepared data set. Legend: B images, C channels, H W pixels.

    Rows are numbered 0..len-1 in the order of `index.csv`. Pixels are read from disk on demand.

    Attributes:
        ids: names of the images.
        labels: class indices, or None if the data set has no classes.
        sources: the raw files of the images, as in the index.

    Raises:
        ValueError: files missing, cut short, or not matching the index; or a split that has no images.
    """

    def __init__(self, folder: Path, split: Split) -> None:
        if split not in SPLITS:
            raise ValueError(f"unknown split {split!r}, expected one of {SPLITS}")
        self.folder = Path(folder)
        self.split = split
        self.ids: list[str] = []
        self.sources: list[str] = []
        self.labels: list[int | None] = []
        positions = []
        for row in _read_csv(self.folder / paths.INDEX):
            if row["split"] == split:
                self.ids.append(row["id"])
                self.sources.append(row["source"])
                self.labels.append(int(row["label"]) if row["label"] else None)
                positions.append((int(row["shard"]), int(row["row"])))
        if not positions:
            raise ValueError(f"{self.folder} has no {split} images; choose another split or prepare with one")
        self._shards = _open_shards(self.folder, split, positions)
        self._starts = np.cumsum([0, *(len(s) for s in self._shards)])
        self._captions = _read_captions(self.folder / paths.CAPTIONS, set(self.ids))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of every image."""
        height, width, channels = self._shards[0].shape[1:]
        return channels, height, width

    def images(self, rows: Sequence[int] | np.ndarray | torch.Tensor) -> torch.Tensor:
        """Images as stored: uint8 [B,C,H,W] in the order of `rows`.

        Raises:
            IndexError: for a row outside 0..len-1.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"rows {rows.min()}..{rows.max()} of a split of {len(self)} images")
        channels, height, width = self.image_shape
        x_BCHW = np.empty((len(rows), channels, height, width), dtype=np.uint8)
        shards = np.searchsorted(self._starts, rows, side="right") - 1
        for shard in np.unique(shards):
            chosen = np.flatnonzero(shards == shard)
            x_BHWC = self._shards[shard][rows[chosen] - self._starts[shard]]
            x_BCHW[chosen] = x_BHWC.transpose(0, 3, 1, 2)
        return torch.from_numpy(x_BCHW)

    def captions(self, row: int) -> list[str]:
        """The captions of one image, as published; empty if the data set has none."""
        return self._captions.get(self.ids[row], [])


def has_split(folder: Path, split: Split) -> bool:
    """Whether a prepared data set has images in a split."""
    return (Path(folder) / shard_name(split, 0)).is_file()


def iterate_batches(
    split: PreparedSplit, batch_size: int, rank: int = 0, world_size: int = 1, count: int | None = None
) -> Iterator[tuple[range, torch.Tensor]]:
    """One pass in which each row occurs once over all ranks, without padding; the last batch may be smaller.

    Each rank gets one contiguous part of the split, or of its first `count` images. Yields (rows, uint8 [B,C,H,W]).
    """
    if batch_size < 1 or not 0 <= rank < world_size:
        raise ValueError(
            f"got batch_size {batch_size}, rank {rank} of {world_size}; expected batch_size > 0, 0 <= rank < world_size"
        )
    total = len(split) if count is None else min(count, len(split))
    start, stop = total * rank // world_size, total * (rank + 1) // world_size
    for first in range(start, stop, batch_size):
        rows = range(first, min(first + batch_size, stop))
        yield rows, split.images(rows)


def example_rows(split: PreparedSplit, count: int, wanted: int) -> list[int]:
    """Rows of images for figures, chosen by the originals alone, so that no one can pick flattering examples.

    The first `count` images are divided into `wanted` equal parts; of each, the image with the largest standard
    deviation of pixels is taken.

    In large data sets evenly spaced images would suffice; in small ones, many would be plain sky.
    """
    rows = []
    for part in np.array_split(np.arange(count), min(wanted, count)):
        candidates = part[np.unique(np.linspace(0, len(part) - 1, min(_CANDIDATES, len(part))).astype(int))]
        spread = split.images(candidates).float().flatten(1).std(1)
        rows.append(int(candidates[int(spread.argmax())]))
    return rows


def _read_csv(path: Path) -> Iterator[dict[str, str]]:
    if not path.is_file():
        raise ValueError(f"{path} is missing: this is not a prepared data set, or its preparation did not finish")
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def _open_shards(folder: Path, split: Split, positions: list[tuple[int, int]]) -> list[np.ndarray]:
    expected: dict[int, int] = defaultdict(int)
    for shard, row in positions:
        if row != expected[shard] or shard != len(expected) - 1:
            raise ValueError(f"{folder / paths.INDEX}: rows of {split} shard {shard} are not in order; prepare again")
        expected[shard] += 1
    return [_open_shard(folder / shard_name(split, shard), rows) for shard, rows in expected.items()]


def _open_shard(path: Path, rows: int) -> np.ndarray:
    if not path.is_file():
        raise ValueError(f"{path} is missing; fetch it again (dvc pull) or prepare the data set again")
    try:
        shard = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} is damaged or cut short ({error}); fetch it or prepare the data set again") from error
    if shard.dtype != np.uint8 or shard.ndim != 4 or len(shard) != rows:
        raise ValueError(f"{path} holds {shard.dtype} {shard.shape}, expected uint8 [{rows},H,W,C] as in index.csv")
    return shard


def _read_captions(path: Path, ids: set[str]) -> dict[str, list[str]]:
    captions: dict[str, list[str]] = defaultdict(list)
    for row in _read_csv(path):
        if row["id"] in ids:
            captions[row["id"]].append(row["caption"])
    return dict(captions)
