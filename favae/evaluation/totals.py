"""What an evaluation has accumulated: merged over ranks, independent of networks and devices."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

import pandas as pd
import torch.distributed as dist
from torch import Tensor

from favae.evaluation.frechet import FeatureStatistics
from favae.evaluation.image_metrics import CodebookCounts
from favae.evaluation.spectrum import RadialSpectrum


@dataclass
class FrechetTotals:
    """Feature statistics of real images and of those compared with them, by feature network; `n` counts the latter."""

    n: int = 0
    real: dict[str, FeatureStatistics] = field(default_factory=dict)
    compared: dict[str, FeatureStatistics] = field(default_factory=dict)

    def merge(self, other: Self) -> None:
        """Add another rank's statistics."""
        self.n += other.n
        for mine, theirs in ((self.real, other.real), (self.compared, other.compared)):
            for network, statistics in theirs.items():
                mine[network].merge(statistics)


@dataclass
class ReconstructionTotals:
    """Constant in the number of images, but for one row of numbers an image."""

    rows: list[pd.DataFrame] = field(default_factory=list)
    spectrum: RadialSpectrum | None = None
    codes: CodebookCounts | None = None
    image: list[int] | None = None  # [C, H, W]

    @property
    def n(self) -> int:
        """Images seen."""
        return sum(len(rows) for rows in self.rows)

    def check_batch(self, original_BCHW: Tensor, other_BCHW: Tensor) -> None:
        """Raise ValueError unless both are [B,C,H,W] of the size of all images before."""
        if original_BCHW.shape != other_BCHW.shape or original_BCHW.ndim != 4:
            raise ValueError(
                f"expected two [B,C,H,W] batches of one shape, got originals {tuple(original_BCHW.shape)} "
                f"and reconstructions {tuple(other_BCHW.shape)}"
            )
        image = list(original_BCHW.shape[1:])
        if self.image not in (None, image):
            raise ValueError(f"images of {image} [C,H,W] after images of {self.image}: a split has one size")
        self.image = image

    def next_ids(self, batch: int) -> list[str]:
        """Ids for images that have none: their number in the order they come."""
        return [f"{self.n + i:08d}" for i in range(batch)]

    def add_rows(self, ids: Sequence[str], values: dict[str, Tensor]) -> None:
        """Add one row an image; every tensor is [B]."""
        columns = {name: value_B.double().cpu().numpy() for name, value_B in values.items()}
        self.rows.append(pd.DataFrame({"id": [str(i) for i in ids], **columns}))

    def merge(self, other: Self) -> None:
        """Add another rank's totals. Raises ValueError for images of another size."""
        if None not in (self.image, other.image) and self.image != other.image:
            raise ValueError(f"cannot merge evaluations of {self.image} and {other.image} [C,H,W] images")
        self.image = self.image or other.image
        self.rows += other.rows
        self.spectrum = _merged(self.spectrum, other.spectrum)
        self.codes = _merged(self.codes, other.codes)

    def per_image(self) -> pd.DataFrame:
        """The table of images, ordered by id. Raises ValueError where an image was counted twice."""
        if not self.rows:
            return pd.DataFrame({"id": pd.Series(dtype=str)})
        table = pd.concat(self.rows, ignore_index=True)
        twice = table["id"][table["id"].duplicated()]
        if len(twice):
            raise ValueError(
                f"{len(twice)} images were evaluated twice, {twice.iloc[0]!r} among them: "
                "give every rank its own part of the split, without padding, and pass the images' ids"
            )
        return table.sort_values("id", ignore_index=True)


T = TypeVar("T", RadialSpectrum, CodebookCounts)
Totals = TypeVar("Totals", ReconstructionTotals, FrechetTotals)


def _merged(mine: T | None, theirs: T | None) -> T | None:
    if mine is None or theirs is None:
        return mine or theirs
    mine.merge(theirs)
    return mine


def gather(totals: Totals) -> Totals:
    """Totals of all ranks, merged, on every rank; without torch.distributed, `totals` as they are."""
    if not (dist.is_available() and dist.is_initialized()):
        return totals
    everyone: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, totals)
    merged: Totals = everyone[0]
    for part in everyone[1:]:
        merged.merge(part)
    return merged
