"""Tracing each number of the tables to its origin, and checking every step on the way."""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from favae.config.errors import ConfigError, closest
from favae.config.reporting import TablesConfig
from favae.jobs.grid import Grid, Job, load_grid
from favae.runtime import paths
from favae.sync.evidence import Evidence, gather


@dataclass(frozen=True)
class Number:
    """A measured value of a table: the row's position (from 1) and label, and the result and metric that it comes from."""

    table: str
    position: int
    label: str
    metric: str
    cell: str  # <stage>/<cell>
    key: str  # its name in the result's metrics.json
    value: float

    @property
    def name(self) -> str:
        """Name of the number in messages."""
        return f"{self.table}/{self.label}/{self.metric}"

    def is_called(self, row: str) -> bool:
        """Whether `row` identifies its row: by position, by label, or by the cell that was measured."""
        return row in (str(self.position), self.label, self.cell, self.cell.partition("/")[2])


@dataclass(frozen=True)
class Audit:
    """All numbers of a scale's tables, the evidence for each result, and all problems found."""

    numbers: list[Number]
    evidence: dict[str, Evidence]
    problems: list[str]

    def chain(self, number: Number) -> list[Evidence]:
        """The evidence for the result that contains a number, and for everything it was made from, nearest first."""
        cards = {item.job.card: name for name, item in self.evidence.items()}
        names, waiting = [], [number.cell]
        while waiting:
            name = waiting.pop(0)
            if name not in names:
                names.append(name)
                waiting += [cards[card] for card in self.evidence[name].job.inputs.values()]
        return [self.evidence[name] for name in names]


def audit(scale: str | None) -> Audit:
    """Trace every number through table file, result file, card, run record and MLflow run, back to the prepared images.

    Raises:
        Unreachable: MLflow does not answer.
        ConfigError: the parameters are invalid, or the scale has no tables.
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
        held = f" (affects {behind[name]} numbers)" if behind[name] else ""
        result.problems.extend(f"{name}: {problem}{held}" for problem in item.problems)
    return result


def find(result: Audit, target: str) -> list[Number]:
    """Numbers with the name TABLE/ROW/METRIC. A row is given by its position, its label, or the cell it shows.

    Raises:
        ConfigError: no number has this name; gives the closest names.
    """
    table, _, rest = target.partition("/")
    row, _, metric = rest.rpartition("/")
    found = [n for n in result.numbers if n.table == table and n.metric == metric and n.is_called(row)]
    if not found:
        near = [n for n in result.numbers if n.table == table] or result.numbers
        names = dict.fromkeys(f"{n.table}/{n.cell.partition('/')[2]}/{n.metric}" for n in near)
        raise ConfigError(f"no measured number is named {target!r} (TABLE/ROW/METRIC); {closest(target, names)}")
    return found


def describe(result: Audit, number: Number) -> Iterator[str]:
    """Lines about one number: its value, then the facts and problems of each result that it was made from."""
    yield f"{number.table}/{number.cell.partition('/')[2]}/{number.metric} = {number.value!r}  ({number.label})"
    for item in result.chain(number):
        yield f"  {item.job.name}: {'; '.join(item.problems) or 'ok'}"
        yield from (f"    {line}" for line in item.lines())


def _tables_job(grid: Grid) -> Job:
    cells = grid.cells("make_tables")
    if not cells:
        raise ConfigError(f"{paths.GRID}: the scale {grid.scale!r} has no make_tables, so there is no table to audit")
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
    """Differences between the files in `reports/` and the tables rendered again from the results."""
    from favae.stages.make_tables import render

    folder = paths.report_dir(tables.scale, "tables")
    expected = render(tables)
    files = folder.iterdir() if folder.is_dir() else ()
    there = {path.name for path in files if not path.name.startswith(".")}  # Snakemake leaves a hidden one
    for name in sorted(there - set(expected)):
        yield f"{folder / name}: no such table in params/tables.yaml; remove the file"
    for name, text in expected.items():
        file = folder / name
        if name not in there:
            yield f"{file}: missing"
        elif file.read_text() != text:
            yield from _different_numbers(file, text) if file.suffix == ".csv" else _different_line(file, text)


def _different_numbers(file: Path, expected: str) -> Iterator[str]:
    ours, theirs = (list(csv.DictReader(io.StringIO(text))) for text in (expected, file.read_text()))
    if len(ours) != len(theirs):
        yield f"{file}: {len(theirs)} lines, according to the results {len(ours)}"
    for mine, found in zip(ours, theirs, strict=False):
        for field, value in mine.items():
            if found.get(field) != value:
                where = f"{file}: {mine['row']}/{mine['metric']}"
                yield f"{where}: {field} is {found.get(field)!r}, according to the results {value!r}"


def _different_line(file: Path, expected: str) -> Iterator[str]:
    ours, theirs = expected.splitlines(), file.read_text().splitlines()
    pairs = enumerate(zip(ours, theirs, strict=False), 1)
    line = next((number for number, (mine, found) in pairs if mine != found), min(len(ours), len(theirs)) + 1)
    yield f"{file}: line {line} does not agree with the results"


def _disagreements(result: Audit) -> Iterator[str]:
    """Numbers that differ between MLflow and the result's file."""
    for number in result.numbers:
        run = result.evidence[number.cell].run
        if run is not None and run.metrics.get(f"result/{number.key}") != number.value:
            shown = run.metrics.get(f"result/{number.key}")
            yield f"{number.name}: {number.value!r} in the result, {shown!r} in its MLflow run {run.run_id}"
