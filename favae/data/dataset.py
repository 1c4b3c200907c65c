"""Reading prepared data: shards behind one split, and one exact pass over it for evaluation."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from favae.config.dataset import Split
from favae.data.columns import Labels, Texts, columns_of
from favae.data.reading import ShardReader, open_shard
from favae.data.records import SPLITS
from favae.data.shards import shard_name
from favae.runtime import paths

_CANDIDATES = 16  # images per part that `example_rows` considers


class PreparedSplit:
    """One split of a prepared data set. Legend: B images, C channels, H W pixels.

    Rows are numbered 0..len-1 in the order of `index.csv`. Pixels stay on disk until asked for, and so do names, labels
    and captions, in arrays that all processes of a node share.

    Attributes:
        ids: the images' names.
        labels: class indices, None for images without one.
        planes: bytes per pixel by what they hold; only `image`, except in a paired data set.

    Raises:
        ValueError: files missing, cut short, or not matching the index; or a split that has no images.
    """

    def __init__(self, folder: Path, split: Split) -> None:
        if split not in SPLITS:
            raise ValueError(f"unknown split {split!r}, expected one of {SPLITS}")
        self.folder = Path(folder)
        self.split = split
        columns = columns_of(self.folder, split)
        self.ids: Sequence[str] = Texts(columns["ids"], columns["id_ends"])
        self.labels: Sequence[int | None] = Labels(columns["labels"])
        self._texts = Texts(columns["captions"], columns["caption_ends"])
        self._last_captions = columns["last_captions"]
        shards = enumerate(columns["shard_rows"].tolist())
        self._reader = ShardReader([open_shard(self.folder / shard_name(split, n), rows) for n, rows in shards])
        self.planes = _planes(self.folder, self._reader.image_shape[2])

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of every image."""
        height, width, _ = self._reader.image_shape
        return self.planes["image"], height, width

    def images(self, rows: Sequence[int] | np.ndarray | torch.Tensor) -> torch.Tensor:
        """Images as stored: uint8 [B,C,H,W] in the order of `rows`.

        Raises:
            IndexError: for a row outside 0..len-1.
        """
        return self.stored(rows)[:, : self.planes["image"]]

    def stored(self, rows: Sequence[int] | np.ndarray | torch.Tensor) -> torch.Tensor:
        """All planes: the images, and in a paired data set also their conditions. Otherwise like `images`."""
        rows = np.asarray(rows, dtype=np.int64)
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"rows {rows.min()}..{rows.max()} of a split of {len(self)} images")
        order = np.argsort(rows, kind="stable")  # as they lie on disk
        x_BHWC = self._reader.read(rows[order])
        x_BCHW = np.empty((len(rows), x_BHWC.shape[3], *x_BHWC.shape[1:3]), dtype=np.uint8)
        x_BCHW[order] = x_BHWC.transpose(0, 3, 1, 2)
        return torch.from_numpy(x_BCHW)

    def captions(self, row: int) -> list[str]:
        """The captions of one image, as published; empty where the data set has none.

        Raises:
            IndexError: for a row outside 0..len-1.
        """
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of a split of {len(self)} images")
        first = int(self._last_captions[row - 1]) if row else 0
        return self._texts[first : int(self._last_captions[row])]


def _planes(folder: Path, stored: int) -> dict[str, int]:
    """Bytes per pixel by what they hold. Raises ValueError if there are not `stored` of them."""
    path = folder / paths.PLANES
    if not path.is_file():
        return {"image": stored}
    planes = {str(name): int(count) for name, count in json.loads(path.read_text(encoding="utf-8")).items()}
    if sum(planes.values()) != stored:
        raise ValueError(
            f"{path} names {sum(planes.values())} bytes per pixel, the shards have {stored}; prepare again"
        )
    return planes


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
