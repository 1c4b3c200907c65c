"""Intervals of means and of their differences: over seeds from Student's t, over images from the bootstrap.

Which of the two it is stands in its name. Over seeds: what another training of the same recipe may give. Over images: what the same
models may give on other test images; it says nothing of the training.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Over = Literal["seeds", "images"]
LEVEL = 0.95
RESAMPLES = 2_000
MOST_SEEDS = 1_000
_AT_ONCE = 4_000_000  # drawn indices that are held in memory


@dataclass(frozen=True)
class Interval:
    """An estimate and the ends of its two-sided interval, in the unit of the metric."""

    estimate: float
    low: float
    high: float
    over: Over
    level: float = LEVEL

    def contains(self, value: float) -> bool:
        """Whether a value, such as a difference of 0, is within the interval, ends included."""
        return self.low <= value <= self.high


def mean_over_seeds(values: ArrayLike, level: float = LEVEL) -> Interval:
    """Student's t interval of a mean. Raises ValueError for fewer than two values."""
    sample = _sample(values)
    return _t_interval(float(sample.mean()), sample.std(ddof=1) / math.sqrt(len(sample)), len(sample) - 1, level)


def difference_over_seeds(ours: ArrayLike, theirs: ArrayLike, level: float = LEVEL) -> Interval:
    """Welch's t interval of mean(ours) - mean(theirs), spreads not assumed equal. Raises ValueError for fewer than two values."""
    return contrast_over_seeds([(1.0, ours), (-1.0, theirs)], level)


def contrast_over_seeds(terms: Sequence[tuple[float, ArrayLike]], level: float = LEVEL) -> Interval:
    """Welch's t interval of the sum of weight * mean(values), spreads not assumed equal.

    Raises:
        ValueError: fewer than two values of a term.
    """
    parts = [(weight, _sample(values)) for weight, values in terms]
    squares = [weight**2 * sample.var(ddof=1) / len(sample) for weight, sample in parts]
    freedom = _freedom(squares, [len(sample) for _, sample in parts])
    estimate = sum(weight * float(sample.mean()) for weight, sample in parts)
    return _t_interval(estimate, math.sqrt(sum(squares)), freedom, level)


def seeds_to_decide(ours: ArrayLike, theirs: ArrayLike, level: float = LEVEL) -> int | None:
    """Seeds per row with which Welch's interval of the same difference and spreads would exclude 0; None if more than `MOST_SEEDS`.

    Raises:
        ValueError: fewer than two values of a row.
    """
    parts = [_sample(values) for values in (ours, theirs)]
    gain, (first, second) = abs(parts[0].mean() - parts[1].mean()), (sample.var(ddof=1) for sample in parts)
    freedom = _freedom([first, second], [2, 2])  # of two seeds per row; grows by as much with each more
    counts = np.arange(2, MOST_SEEDS + 1)
    half = stats.t.ppf(0.5 + level / 2, freedom * (counts - 1)) * math.sqrt(first + second) / np.sqrt(counts)
    enough = np.flatnonzero(gain > half)
    return int(counts[enough[0]]) if len(enough) else None


def mean_over_images(values: ArrayLike, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Percentile bootstrap interval of a mean over images: [n] values, drawn n at a time with replacement.

    Raises:
        ValueError: fewer than two values, or one that is not finite.
    """
    sample = _sample(values)
    random = np.random.default_rng(seed)
    rows = max(1, _AT_ONCE // len(sample))
    sizes = [min(rows, resamples - done) for done in range(0, resamples, rows)]
    means = np.concatenate(
        [sample[random.integers(0, len(sample), (size, len(sample)))].mean(axis=1) for size in sizes]
    )
    low, high = np.quantile(means, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(float(sample.mean()), float(low), float(high), "images", level)


def difference_over_images(
    ours: ArrayLike, theirs: ArrayLike, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Percentile bootstrap interval of mean(ours - theirs), both [n] of the same images in the same order.

    Raises:
        ValueError: other numbers of images, fewer than two, or a value that is not finite.
    """
    first, second = _sample(ours), _sample(theirs)
    if len(first) != len(second):
        raise ValueError(f"{len(first)} images cannot be paired with {len(second)}")
    return mean_over_images(first - second, level, resamples, seed)


def _sample(values: ArrayLike) -> NDArray[np.float64]:
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or len(sample) < 2 or not np.isfinite(sample).all():
        raise ValueError(f"expected at least two finite values in one row, got an array of shape {sample.shape}")
    return sample


def _freedom(squares: Sequence[float], sizes: Sequence[int]) -> float:
    """Degrees of freedom of a sum of means with these squared errors, by Welch and Satterthwaite.

    Without any spread the interval is a point, whatever they are.
    """
    below = sum(square**2 / (size - 1) for square, size in zip(squares, sizes, strict=True))
    return sum(squares) ** 2 / below if below else 1.0


def _t_interval(estimate: float, error: float, freedom: float, level: float) -> Interval:
    half = float(stats.t.ppf(0.5 + level / 2, freedom)) * error
    return Interval(estimate, estimate - half, estimate + half, "seeds", level)
