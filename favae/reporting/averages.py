"""Curves of several trainings of one recipe as one curve: the mean, with the interval of the mean as a band around it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from favae.config.reporting import FigureConfig
from favae.reporting.intervals import LEVEL, mean_over_seeds


def mean_of(tables: Sequence[pd.DataFrame], by: str) -> pd.DataFrame:
    """Mean of each column at each value of the column `by`, over those tables that measured it there.

    A single table is returned as it is.
    """
    if len(tables) == 1:
        return tables[0]
    numbers = [table.select_dtypes("number") for table in tables]
    words = tables[0].drop(columns=[name for name in numbers[0] if name != by]).drop_duplicates(by)
    mean = pd.concat(numbers).groupby(by, sort=True).mean().reset_index()
    return mean.merge(words, on=by, how="left")


def band_of(tables: Sequence[pd.DataFrame], by: str, column: str) -> pd.DataFrame:
    """Interval of the mean (Student's t) at each value of `by` that at least two tables measured: `by`, `low`, `high`."""
    rows = []
    known = pd.concat([table[[by, column]].dropna() for table in tables if column in table])
    for place, values in known.groupby(by, sort=True)[column]:
        if len(values) > 1:
            interval = mean_over_seeds(np.asarray(values))
            rows.append((place, interval.low, interval.high))
    return pd.DataFrame(rows, columns=[by, "low", "high"], dtype=float)


def draw_band(axes: Axes, tables: Sequence[pd.DataFrame], by: str, column: str, colour: Any) -> None:
    """Shade the interval of the mean; a single table has none."""
    if len(tables) > 1:
        band = band_of(tables, by, column)
        axes.fill_between(band[by], band["low"], band["high"], color=colour, alpha=0.18, lw=0)


def about_bands(config: FigureConfig) -> str:
    """What the bands of a figure are, or that it has none: a figure shows noise only where seeds are."""
    counts = sorted({len(series.runs) for series in config.series})
    if counts == [1]:
        return "One training per curve: the noise over seeds is not known."
    number = " or ".join(str(count) for count in counts if count > 1)
    alone = " Curves without a band are one training." if counts[0] == 1 else ""
    return f"Mean of {number} trainings; band: {100 * LEVEL:.0f} % interval of the mean (Student's t).{alone}"
