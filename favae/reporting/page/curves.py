"""Learning curves for the page: every column of each training, thinned, with the start of the GAN and the step that is shown."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from favae.reporting.page.source import Source
from favae.results.naming import naming
from favae.runtime import paths

_POINTS = 500  # most points of a curve
_VALUES = 1_500_000  # most values of a page


def curves_of(source: Source, names: Iterable[str]) -> list[dict[str, Any]]:
    """Curves of the trainings `<stage>/<cell>` that are there, each with its label."""
    tables = {name: table for name in names if (table := _table(source, name)) is not None}
    columns = sum(table.shape[1] for table in tables.values())
    points = max(40, min(_POINTS, _VALUES // max(columns, 1)))
    return [_curve(source, name, table, points) for name, table in tables.items()]


def _table(source: Source, name: str) -> pd.DataFrame | None:
    stage, _, cell = name.partition("/")
    path = source.file(paths.curves(source.scale, stage, cell))
    if path is None:
        return None
    with naming(path):
        table = pd.read_csv(path)
        table["step"].astype(int)
        return None if table.empty else table.apply(pd.to_numeric)


def _curve(source: Source, name: str, table: pd.DataFrame, points: int) -> dict[str, Any]:
    card = source.card(name)
    return {
        "name": name,
        "label": source.labels.get(name, name.partition("/")[2]),
        "shown": card.summary.get("best_step") if card else None,
        "gan": gan_start(table),
        "columns": {name: _series(table, name, points) for name in map(str, table) if name != "step"},
    }


def gan_start(table: pd.DataFrame) -> int | None:
    """First step with a loss of the discriminator; None if there is none, or if it is there from the first step."""
    if "train/discriminator" not in table:
        return None
    steps = table.loc[table["train/discriminator"].notna(), "step"]
    return None if steps.empty or steps.iloc[0] <= table["step"].iloc[0] else int(steps.iloc[0])


def _series(table: pd.DataFrame, column: str, points: int) -> list[list[float]]:
    """[steps, values] of one column without gaps; of more than `points` values every k-th, and the last."""
    known = table.loc[table[column].notna(), ["step", column]]
    stride = -(-len(known) // points) or 1
    kept = known.iloc[sorted({*range(0, len(known), stride), len(known) - 1})] if len(known) else known
    return [[int(step) for step in kept["step"]], [float(f"{value:.5g}") for value in kept[column]]]
