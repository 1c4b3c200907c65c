"""Frechet distance between the feature distributions of two sets of images (Heusel et al., NeurIPS 2017)."""

import contextlib
import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from favae.runtime.torchvision import ensure_torchvision


class FeatureStatistics:
    """Number, mean and scatter matrix of feature vectors, accumulated in float64 in constant memory.

    Batches and splits are combined by the pairwise update of Chan et al. (1979), which loses no precision by
    cancellation, unlike sums of squares. `source` identifies network and weights, so that statistics of different
    features are never compared.
    """

    def __init__(self, source: str, dimension: int):
        self.source = source
        self.n = 0
        self.mean_D: NDArray[np.float64] = np.zeros(dimension)
        self.scatter_DD: NDArray[np.float64] = np.zeros((dimension, dimension))

    @property
    def dimension(self) -> int:
        """Length of a feature vector."""
        return len(self.mean_D)

    @property
    def covariance_DD(self) -> NDArray[np.float64]:
        """Unbiased sample covariance, as `numpy.cov`. Raises ValueError for fewer than two images."""
        if self.n < 2:
            raise ValueError(f"a covariance needs at least 2 images, got {self.n}")
        return self.scatter_DD / (self.n - 1)

    def update(self, features_BD: Tensor) -> None:
        """Add a batch of feature vectors. Raises ValueError for a wrong dimension, NaN or infinity."""
        batch_BD = features_BD.detach().to("cpu", torch.float64).numpy()
        if batch_BD.ndim != 2 or batch_BD.shape[1] != self.dimension:
            raise ValueError(f"expected [B, {self.dimension}] features of {self.source}, got {batch_BD.shape}")
        if not np.isfinite(batch_BD).all():
            raise ValueError(f"features of {self.source} have NaN or infinity, because the images do")
        mean_D = batch_BD.mean(0)
        centred_BD = batch_BD - mean_D
        self._add(len(batch_BD), mean_D, centred_BD.T @ centred_BD)

    def merge(self, other: Self) -> None:
        """Add the statistics of other images. Raises ValueError if they come from another network."""
        self.check_comparable(other)
        self._add(other.n, other.mean_D, other.scatter_DD)

    def check_comparable(self, other: "FeatureStatistics") -> None:
        """Raise ValueError unless both are statistics of the same features."""
        if (self.source, self.dimension) != (other.source, other.dimension):
            raise ValueError(
                f"statistics of {self.source} ({self.dimension} features) and {other.source} ({other.dimension} "
                "features) cannot be combined: compute both with the same network"
            )

    def _add(self, n: int, mean_D: NDArray[np.float64], scatter_DD: NDArray[np.float64]) -> None:
        if n == 0:
            return
        total = self.n + n
        shift_D = mean_D - self.mean_D
        self.scatter_DD = self.scatter_DD + scatter_DD + np.outer(shift_D, shift_D) * (self.n * n / total)
        self.mean_D = self.mean_D + shift_D * (n / total)
        self.n = total

    def save(self, path: Path) -> None:
        """Write an `.npz` without pickled objects; equal statistics give equal bytes."""
        with path.open("wb") as stream:
            np.savez(stream, source=self.source, n=self.n, mean=self.mean_D, scatter=self.scatter_DD)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file of `save`. Raises ValueError for any other file."""
        with np.load(path, allow_pickle=False) as stored:
            if set(stored.files) != {"source", "n", "mean", "scatter"}:
                raise ValueError(f"{path}: not feature statistics (it contains {', '.join(stored.files)})")
            statistics = cls(str(stored["source"]), len(stored["mean"]))
            statistics._add(int(stored["n"]), stored["mean"], stored["scatter"])
        return statistics


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """|mean_a - mean_b|^2 + Tr(C_a + C_b - 2 sqrt(C_a C_b)), computed by pytorch-fid's function.

    Equal sets give zero up to rounding, which may be about -1e-3 if covariances are singular.

    Raises:
        ValueError: different networks, fewer than two images, or no real square root within rounding.
    """
    a.check_comparable(b)
    ensure_torchvision()
    from pytorch_fid.fid_score import calculate_frechet_distance

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        # SciPy's warnings about sqrtm(disp=...) and about singular covariances; for the latter see
        # `sample_size_warning`.
        warnings.simplefilter("ignore")
        return float(calculate_frechet_distance(a.mean_D, a.covariance_DD, b.mean_D, b.covariance_DD))


def sample_size_warning(a: FeatureStatistics, b: FeatureStatistics) -> str | None:
    """A warning if a set has no more images than features, because its covariance is then singular; else None."""
    n = min(a.n, b.n)
    if n > a.dimension:
        return None
    return (
        f"{n} images for {a.dimension} features: the covariance is singular and the distance strongly biased; "
        "compare it only with values of the same number of images"
    )


def save_reference(folder: Path, images: str, statistics: Mapping[str, FeatureStatistics]) -> None:
    """Write `<images>-<network>.npz` for each network; `images` is a split or `all`."""
    for network, features in statistics.items():
        features.save(folder / f"{images}-{network}.npz")


def load_reference(folder: Path, images: str) -> dict[str, FeatureStatistics]:
    """Statistics of a split or of `all` by network, except networks whose weights were missing.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: a file that does not contain feature statistics.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"reference statistics {folder} are missing; fetch them (dvc pull) or compute them again"
        )
    files = sorted(folder.glob(f"{images}-*.npz"))
    return {file.stem.removeprefix(f"{images}-"): FeatureStatistics.load(file) for file in files}
