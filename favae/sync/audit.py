"""Where each number of the tables comes from, and whether all of it still holds."""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

from favae.config.errors import ConfigError
from favae.config.reporting import TablesConfig
from favae.jobs.grid import Grid, Job, load_grid
from favae.runtime import paths
from favae.sync.evidence import Evidence, gather


@dataclass(frozen=True)
class Number:
    """A measured value of a table: the row's position (from 1) and label, and the result and metric that give it."""

    table: str
    position: int
    label: str
    metric: str
    cell: str  # <stage>/<cell>
    key: str  # its name in the result's metrics.json
    value: float

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"{self.table}/{self.label}/{self.metric}"

    def is_called(self, row: str) -> bool:
        """Whether `row` is its row: by position, by label, or by the cell that was measured."""
        return row in (str(self.position), self.label, self.cell, self.cell.partition("/")[2])


@dataclass(frozen=True)
class Audit:
    """All numbers of a scale's tables, what stands behind them, and everything that is wrong."""

    numbers: list[Number]
    evidence: dict[str, Evidence]
    problems: list[str]

    def chain(self, number: Number) -> list[Evidence]:
        """The result that holds a number and everything it was made from, nearest first."""
        names, waiting = [], [number.cell]
        while waiting:
            name = waiting.pop(0)
            if name not in names:
                names.append(name)
                waiting += [self._by_card[card] for card in self.evidence[name].job.inputs.values()]
        return [self.evidence[name] for name in names]

    @cached_property
    def _by_card(self) -> dict[Path, str]:
        return {item.job.card: name for name, item in self.evidence.items()}


def audit(scale: str | None) -> Audit:
    """Walk every number: table file, result file, card, run record, MLflow run, and the same for all it was made from.

    Raises:
        Unreachable: MLflow cannot be asked.
        ConfigError: the parameters are not valid, or the scale has no tables.
    """
    grid = load_grid(scale)
    tables = _tables_job(grid)
    result = Audit([], gather(grid), [])
    try:
        result.numbers.extend(_numbers(grid, tables))
        result.problems.extend(_differences(tables))
    except (FileNotFoundError, ValueError) as error:
        result.problems.append(f"the tables cannot be traced: {error}")
    result.problems.extend(_disagreements(result))
    behind = Counter(item.job.name for number in result.numbers for item in result.chain(number))
    for name, item in result.evidence.items():
        held = f" (behind {behind[name]} numbers)" if behind[name] else ""
        result.problems.extend(f"{name}: {problem}{held}" for problem in item.problems)
    return result


def find(result: Audit, target: str) -> list[Number]:
    """Numbers called TABLE/ROW/METRIC. A row is its position, its label, or the cell it shows.

    Raises:
        ConfigError: none is called so; lists what there is.
    """
    table, _, rest = target.partition("/")
    row, _, metric = rest.rpartition("/")
    found = [n for n in result.numbers if n.table == table and n.metric == metric and n.is_called(row)]
    if not found:
        near = [n for n in result.numbers if n.table == table] or result.numbers
        there = ", ".join(dict.fromkeys(f"{n.table}/{n.cell.partition('/')[2]}/{n.metric}" for n in near)) or "none"
        raise ConfigError(f"no measured number is called {target!r} (TABLE/ROW/METRIC); there are: {there}")
    return found


def describe(result: Audit, number: Number) -> Iterator[str]:
    """One chain, a line a fact: the number, then each result it was made from."""
    yield f"{number.table}/{number.cell.partition('/')[2]}/{number.metric} = {number.value!r}  ({number.label})"
    for item in result.chain(number):
        yield f"  {item.job.name}: {'; '.join(item.problems) or 'holds'}"
        yield from (f"    {line}" for line in item.lines())


def _tables_job(grid: Grid) -> Job:
    cells = grid.cells("make_tables")
    if not cells:
        raise ConfigError(f"{paths.GRID}: the scale {grid.scale!r} has no make_tables: there is no table to audit")
    return grid.job("make_tables", cells[0])


def _numbers(grid: Grid, tables: Job) -> Iterator[Number]:
    from favae.reporting.results import Results

    results = Results.of(tables)
    for table in cast(TablesConfig, tables.config).tables:
        for position, row in enumerate(table.rows, 1):
            for cell in row.measured_by:  # a mean is traced through each of its values
                metrics = results.metrics(cell)
                for metric in table.columns:
                    measured = metrics.get(row.key(metric))
                    if measured is not None and measured["value"] is not None:
                        value = measured["value"]
                        yield Number(table.id, position, row.label, metric, cell, row.key(metric), value)


def _differences(tables: Job) -> Iterator[str]:
    """Where a file of `reports/` is not what the results and the published numbers give."""
    from favae.stages.make_tables import render

    folder = paths.report_dir(tables.scale, "tables")
    expected = render(tables)
    files = folder.iterdir() if folder.is_dir() else ()
    there = {path.name for path in files if not path.name.startswith(".")}  # Snakemake leaves a hidden one
    for name in sorted(there - set(expected)):
        yield f"{folder / name}: no table of the parameters"
    for name, text in expected.items():
        file = folder / name
        if name not in there:
            yield f"{file}: missing"
        elif file.read_text() != text:
            yield from _different_numbers(file, text) if file.suffix == ".csv" else _different_line(file, text)


def _different_numbers(file: Path, expected: str) -> Iterator[str]:
    ours, theirs = (list(csv.DictReader(io.StringIO(text))) for text in (expected, file.read_text()))
    if len(ours) != len(theirs):
        yield f"{file}: {len(theirs)} lines, the results give {len(ours)}"
    for mine, found in zip(ours, theirs, strict=False):
        for field, value in mine.items():
            if found.get(field) != value:
                where = f"{file}: {mine['row']}/{mine['metric']}"
                yield f"{where}: {field} is {found.get(field)!r}, the results give {value!r}"


def _different_line(file: Path, expected: str) -> Iterator[str]:
    ours, theirs = expected.splitlines(), file.read_text().splitlines()
    pairs = enumerate(zip(ours, theirs, strict=False), 1)
    line = next((number for number, (mine, found) in pairs if mine != found), min(len(ours), len(theirs)) + 1)
    yield f"{file}: line {line} is not what the results give"


def _disagreements(result: Audit) -> Iterator[str]:
    """Numbers that MLflow shows otherwise than the result's file."""
    for number in result.numbers:
        run = result.evidence[number.cell].run
        if run is not None and run.metrics.get(f"result/{number.key}") != number.value:
            shown = run.metrics.get(f"result/{number.key}")
            yield f"{number.name}: {number.value!r} in the result, {shown!r} in its MLflow run {run.run_id}"
