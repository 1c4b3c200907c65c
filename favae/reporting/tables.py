"""Entries of a table: what a paper reports, what was measured, and their difference if they are comparable."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from favae.config.reporting import Published, TableConfig, TableRowConfig
from favae.evaluation.protocol import MetricResult, describe
from favae.reporting.intervals import Interval, mean_over_images, mean_over_seeds
from favae.reporting.results import Results
from favae.results.trainings import Training

NOT_RUN = "not run"
NOT_REPORTED = "not reported"
NOT_COMPARABLE = "not comparable"
_NUMBERS = ("reported", "reproduced", "spread", "difference", "seeds_low", "seeds_high", "images_low", "images_high")
_NOT_RUN = MetricResult(value=None, n=0, protocol={}, note=NOT_RUN)


@dataclass(frozen=True)
class Entry:
    """One metric of one row. A value is None where there is none; `note` is a caveat, or the reason why nothing was
    measured."""

    row: str
    metric: str
    reported: float | None
    reported_source: str | None  # <published table>/<row>; with `reported` None the paper's value is in no source
    values: tuple[float, ...]  # of each run; empty where one was not measured
    comparable: bool
    n: int | None  # images per run
    runs: tuple[str, ...]
    note: str | None
    protocol: dict[str, Any]
    per_image: pd.Series | None = field(default=None, compare=False)  # of the test images, mean over runs
    printed: tuple[float, float] | None = None  # ends of the interval over images, where `per_image` is not here
    trainings: tuple[Training | None, ...] = ()  # of each run; None where it is not known here

    @property
    def reproduced(self) -> float | None:
        """Mean over runs."""
        return statistics.fmean(self.values) if self.values else None

    @property
    def spread(self) -> float | None:
        """Sample standard deviation over runs, where there are several."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def interval(self) -> Interval | None:
        """Interval of the mean over seeds, where there are several runs."""
        return mean_over_seeds(self.values) if len(self.values) > 1 else None

    @cached_property
    def over_images(self) -> tuple[float, float] | None:
        """Ends of the interval of the mean over test images: what other images may give of the same models."""
        if self.per_image is None:
            return self.printed
        interval = mean_over_images(self.per_image)
        return interval.low, interval.high

    @property
    def difference(self) -> float | None:
        """Reproduced minus reported, in the metric's unit; None if one is missing or they are not comparable."""
        if self.reported is None or self.reproduced is None or not self.comparable:
            return None
        return self.reproduced - self.reported


def table_entries(table: TableConfig, published: Published, results: Results) -> list[Entry]:
    """Entries row by row, in the order of the specification.

    Raises:
        ValueError: an unknown metric, or a guidance scale at which a cell was not sampled.
    """
    return [_entry(table, row, metric, published, results) for row in table.rows for metric in table.columns]


def _entry(table: TableConfig, row: TableRowConfig, metric: str, published: Published, results: Results) -> Entry:
    describe(metric)  # raises ValueError for unknown names
    reported = None
    if row.published is not None and metric in table.published_columns:
        reported = published.find(row.published)[1].values.get(table.published_columns[metric])
    measured = [_measured(cell, row, metric, results) for cell in row.measured_by]
    values = [m["value"] for m in measured if m["value"] is not None]
    first = next((m for m in measured if m["value"] is None), measured[0]) if measured else _NOT_RUN
    return Entry(
        row=row.label,
        metric=metric,
        reported=reported,
        reported_source=row.published,
        values=tuple(values) if len(values) == len(measured) else (),
        comparable=table.comparable,
        n=first["n"] or None,
        runs=tuple(results.run(cell) for cell in row.measured_by),
        note=first["note"],
        protocol=first["protocol"],
        per_image=per_image(row, metric, results) if values else None,
        printed=_printed(results.rows_printed(f"{table.id}.csv"), row.label, metric) if values else None,
        trainings=tuple(results.training(cell) for cell in row.measured_by),
    )


def per_image(row: TableRowConfig, metric: str, results: Results) -> pd.Series | None:
    """Values of a row by test image, mean over its runs; None where a run has none, or other images."""
    if row.guidance is not None:  # of generated images, which have no original
        return None
    columns = [results.per_image(cell, metric) for cell in row.measured_by]
    found = [column for column in columns if column is not None]
    if len(found) < len(columns) or not found or any(not c.index.equals(found[0].index) for c in found):
        return None
    values = pd.concat(found, axis=1).mean(axis=1)
    return values if np.isfinite(values).all() else None


def _printed(lines: list[dict[str, str]], row: str, metric: str) -> tuple[float, float] | None:
    line = next((line for line in lines if (line["row"], line["metric"]) == (row, metric)), None)
    ends = [line.get(name) for name in ("images_low", "images_high")] if line else []
    return (float(ends[0]), float(ends[1])) if len(ends) == 2 and ends[0] and ends[1] else None


def _measured(cell: str, row: TableRowConfig, metric: str, results: Results) -> MetricResult:
    metrics = results.metrics(cell)
    key = row.key(metric)
    if key in metrics:
        return metrics[key]
    if not any(name.endswith(key.removeprefix(metric)) for name in metrics):
        there = ", ".join(metrics)
        raise ValueError(f"row {row.label!r}: {cell} was not sampled at guidance {row.guidance:g}; it has {there}")
    note = "not measured: the evaluation's parameters do not ask for it"
    return MetricResult(value=None, n=0, protocol={}, note=note)


def tidy(entries: list[Entry]) -> pd.DataFrame:
    """One line an entry, at full precision: the content of `<table>.csv`.

    `seeds_low` and `seeds_high` are the ends of the 95 % interval of the mean over seeds (Student's t), `images_low` and `images_high`
    those over test images (bootstrap). `checkpoint` is the step that was measured, `steps` the length of the training.
    """
    return pd.DataFrame(
        {
            "row": entry.row,
            "metric": entry.metric,
            "reported": entry.reported,
            "reported_source": entry.reported_source,
            "reproduced": entry.reproduced,
            "spread": entry.spread,
            "runs": len(entry.runs),
            "difference": entry.difference,
            "comparable": "yes" if entry.comparable else "no",
            "n": entry.n,
            "run": ", ".join(entry.runs) or None,
            "note": entry.note,
            "seeds_low": entry.interval.low if entry.interval else None,
            "seeds_high": entry.interval.high if entry.interval else None,
            "images_low": entry.over_images[0] if entry.over_images else None,
            "images_high": entry.over_images[1] if entry.over_images else None,
            "checkpoint": _each(entry, lambda training: training.step),
            "steps": _each(entry, lambda training: training.steps),
            "selection": _each(entry, lambda training: training.selection),
            "gan_start": _each(entry, lambda training: training.gan_start if training.gan else "none"),
        }
        for entry in entries
    ).astype(dict.fromkeys(_NUMBERS, float) | {"n": "Int64"})


def _each(entry: Entry, value: Callable[[Training], Any]) -> str | None:
    """A fact of the trainings of a row: once if it is the same for all."""
    known = ["unknown" if t is None or value(t) is None else str(value(t)) for t in entry.trainings]
    return ", ".join(known if len(set(known)) > 1 else known[:1]) or None
