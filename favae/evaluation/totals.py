"""Accumulated statistics of an evaluation, independent of networks and devices."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd
from torch import Tensor

from favae.evaluation.frechet import FeatureStatistics
from favae.evaluation.image_metrics import CodebookCounts
from favae.evaluation.spectrum import RadialSpectrum


@dataclass
class FrechetTotals:
    """Feature statistics of real images and of the images compared with them, by feature network; `n` is the number of
    the latter. `real_rows` and `compared_rows` are batches of the features themselves, kept for kernel distances only."""

    n: int = 0
    real: dict[str, FeatureStatistics] = field(default_factory=dict)
    compared: dict[str, FeatureStatistics] = field(default_factory=dict)
    real_rows: dict[str, list[Tensor]] = field(default_factory=dict)
    compared_rows: dict[str, list[Tensor]] = field(default_factory=dict)


@dataclass
class ReconstructionTotals:
    """Accumulated statistics of reconstructions. Constant memory, except for one row of numbers per image."""

    rows: list[pd.DataFrame] = field(default_factory=list)
    spectrum: RadialSpectrum | None = None
    codes: CodebookCounts | None = None
    image: list[int] | None = None  # [C, H, W]

    @property
    def n(self) -> int:
        """Number of images."""
        return sum(len(rows) for rows in self.rows)

    def check_batch(self, original_BCHW: Tensor, other_BCHW: Tensor) -> None:
        """Raise ValueError unless both are [B,C,H,W] with the size of all previous images."""
        if original_BCHW.shape != other_BCHW.shape or original_BCHW.ndim != 4:
            raise ValueError(
                f"expected two [B,C,H,W] batches of one shape, got originals {tuple(original_BCHW.shape)} "
                f"and reconstructions {tuple(other_BCHW.shape)}"
            )
        image = list(original_BCHW.shape[1:])
        if self.image not in (None, image):
            raise ValueError(
                f"images of {image} [C,H,W] after images of {self.image}: all images of a split must have the same shape"
            )
        self.image = image

    def next_ids(self, batch: int) -> list[str]:
        """Ids for images without one: their numbers in the order of addition."""
        return [f"{self.n + i:08d}" for i in range(batch)]

    def add_rows(self, ids: Sequence[str], values: dict[str, Tensor]) -> None:
        """Add one row per image; every tensor is [B]."""
        columns = {name: value_B.double().cpu().numpy() for name, value_B in values.items()}
        self.rows.append(pd.DataFrame({"id": [str(i) for i in ids], **columns}))

    def per_image(self) -> pd.DataFrame:
        """The table of images, ordered by id. Raises ValueError if an image was counted twice."""
        if not self.rows:
            return pd.DataFrame({"id": pd.Series(dtype=str)})
        table = pd.concat(self.rows, ignore_index=True)
        twice = table["id"][table["id"].duplicated()]
        if len(twice):
            raise ValueError(
                f"{len(twice)} images were evaluated twice, {twice.iloc[0]!r} among them: "
                "add every image of the split once"
            )
        return table.sort_values("id", ignore_index=True)
