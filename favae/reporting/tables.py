"""Entries of a table: what a paper reports, what was measured, and their difference where the two may be compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from favae.config.reporting import Published, TableRow, TableSpec
from favae.evaluation.protocol import MetricResult, describe
from favae.reporting.results import Evaluation

NOT_RUN = "not run"
NOT_REPORTED = "not reported"
NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True)
class Entry:
    """One metric of one row. A value is None where there is none; `note` says why nothing was measured, or a caveat."""

    row: str
    metric: str
    reported: float | None
    reported_source: str | None  # <published table>/<row>; with `reported` None the paper's value is in no source
    reproduced: float | None
    comparable: bool
    n: int | None
    run: str | None
    note: str | None
    protocol: dict[str, Any]

    @property
    def difference(self) -> float | None:
        """Reproduced minus reported, in the metric's unit; None where one is missing or they cannot be compared."""
        if self.reported is None or self.reproduced is None or not self.comparable:
            return None
        return self.reproduced - self.reported


def table_entries(table: TableSpec, published: Published, evaluations: Mapping[str, Evaluation]) -> list[Entry]:
    """Entries row by row, in the order of the specification. `evaluations` by `<stage>/<cell>`.

    Raises:
        ValueError: a metric that does not exist, or a guidance scale at which a cell was not sampled.
    """
    return [_entry(table, row, metric, published, evaluations) for row in table.rows for metric in table.columns]


def _entry(
    table: TableSpec, row: TableRow, metric: str, published: Published, evaluations: Mapping[str, Evaluation]
) -> Entry:
    describe(metric)  # refuses unknown names
    reported = None
    if row.published is not None and metric in table.published_columns:
        reported = published.find(row.published)[1].values.get(table.published_columns[metric])
    evaluation = None if row.cell is None else evaluations[row.cell]
    result = _measured(row, metric, evaluation)
    return Entry(
        row=row.label,
        metric=metric,
        reported=reported,
        reported_source=row.published,
        reproduced=result["value"],
        comparable=table.comparable == "yes",
        n=result["n"] or None,
        run=None if evaluation is None else evaluation.run,
        note=result["note"],
        protocol=result["protocol"],
    )


def _measured(row: TableRow, metric: str, evaluation: Evaluation | None) -> MetricResult:
    if evaluation is None:
        return MetricResult(value=None, n=0, protocol={}, note=NOT_RUN)
    key = row.key(metric)
    if key in evaluation.metrics:
        return evaluation.metrics[key]
    suffix = key.removeprefix(metric)
    if not any(name.endswith(suffix) for name in evaluation.metrics):
        there = ", ".join(evaluation.metrics)
        raise ValueError(f"row {row.label!r}: {row.cell} has nothing at guidance {row.guidance:g}; it has {there}")
    note = "not measured: the evaluation's parameters do not ask for it"
    return MetricResult(value=None, n=0, protocol={}, note=note)


def tidy(entries: list[Entry]) -> pd.DataFrame:
    """One line an entry, at full precision: the content of `<table>.csv`."""
    return pd.DataFrame(
        {
            "row": entry.row,
            "metric": entry.metric,
            "reported": entry.reported,
            "reported_source": entry.reported_source,
            "reproduced": entry.reproduced,
            "difference": entry.difference,
            "comparable": "yes" if entry.comparable else "no",
            "n": entry.n,
            "run": entry.run,
            "note": entry.note,
        }
        for entry in entries
    ).astype({"reported": float, "reproduced": float, "difference": float, "n": "Int64"})
