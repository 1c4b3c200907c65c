"""Tracing each number of the tables to its origin, and checking every step on the way."""

import csv
import io
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import cast

from favae.config.errors import ConfigError, closest
from favae.config.reporting import TablesConfig
from favae.jobs.grid import Grid, Job, load_grid
from favae.reporting.pages import COSTS
from favae.reporting.results import Results
from favae.results.bundle import Bundle
from favae.results.cost import cost_of
from favae.results.git import how_to_get_commits
from favae.runtime import paths
from favae.sync.bundle_evidence import gather_bundle
from favae.sync.derived import derived_problems
from favae.sync.disclosure import is_same_page, pages
from favae.sync.evidence import SHORT, Evidence, gather


@dataclass(frozen=True)
class TableNumber:
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

    where: Path  # data/<scale>, or reports/<scale>
    numbers: list[TableNumber]
    evidence: dict[str, Evidence]
    problems: list[str]
    unpublished: int = 0  # cells that the grid has and the bundle has not
    undecided: list[str] = field(default_factory=list)  # what only commits that are not here could show

    @property
    def summary(self) -> str:
        """How much was traced, in one line."""
        absent = sum(len(item.not_shipped) for item in self.evidence.values())
        counts = f"{len(self.numbers)} numbers, {len(self.evidence)} results, {len(self.problems)} problems"
        parts = [f"{counts}{self._not_decided}"]
        parts += [f"{absent} outputs are not shipped and known by their hash only"] if absent else []
        parts += [f"{self.unpublished} cells of the grid are not published"] if self.unpublished else []
        return "; ".join(parts)

    @property
    def _not_decided(self) -> str:
        """How much is not decided, and which commits would decide it; empty if everything is decided."""
        if not self.undecided:
            return ""
        items = [item for item in self.evidence.values() if item.remarks.undecided and item.record]
        missing = sorted({(item.record.git_commit or "")[:SHORT] for item in items if item.record})
        which = f"the commit {missing[0]} is" if len(missing) == 1 else f"the commits {', '.join(missing)} are"
        return f", {len(self.undecided)} not decided: {which} not here ({how_to_get_commits()})"

    def lines(self) -> Iterator[str]:
        """All problems, then what is not decided, then what an auditor should know and is no problem."""
        yield from self.problems
        yield from self.undecided
        yield from self._information()

    def _information(self) -> Iterator[str]:
        absent = sum(item.remarks.commit_is_absent for item in self.evidence.values())
        if absent:
            yield f"the commits of {absent} results are not here, so nothing shows that they exist ({how_to_get_commits()})"
        versions = Counter(library for item in self.evidence.values() for library in item.remarks.libraries)
        if versions:
            each = "; ".join(f"{library} in {count} results" for library, count in sorted(versions.items()))
            yield f"made with other versions of libraries than here: {each}"

    def chain(self, number: TableNumber) -> list[Evidence]:
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
    """Walk every number of `data/<scale>`: table file, result file, card, run record, MLflow run, and so for all it was made from.

    Raises:
        Unreachable: MLflow does not answer.
        ConfigError: the parameters are invalid, or the scale has no tables.
    """
    grid = load_grid(scale)
    tables = _tables_job(grid)
    result = Audit(paths.DATA / grid.scale, [], gather(grid), [])
    _trace(result, tables, Results.of(tables), paths.report_dir(grid.scale, "tables"))
    result.problems.extend(_disagreements(result))
    _add_evidence(result)
    return result


def audit_bundle(scale: str | None, bundle: Bundle | None = None) -> Audit:
    """Walk every number of published results (default: those of `reports/<scale>`), from the files there alone.

    Tables are rendered again with the parameters of their card. It asks git, if it is there, and nothing else, and changes nothing.

    Raises:
        ConfigError: the parameters are not valid, or the scale has no tables.
    """
    whole = load_grid(scale)
    bundle = bundle or Bundle.of(whole.scale)
    grid = bundle.part_of(whole)
    tables = _tables_job(grid)
    evidence = gather_bundle(grid, bundle)
    result = Audit(bundle.root, [], evidence, list(bundle.problems()), len(whole.jobs) - len(grid.jobs))
    if (card := result.evidence[tables.name].card) is not None:
        tables = tables.with_parameters(card.parameters)
    folder = bundle.root / "tables"
    _trace(result, tables, Results.of(tables, bundle.locate, folder), folder, costs=True)
    _add_evidence(result)
    result.problems.extend(_strangers(whole, bundle))
    result.problems.extend(_page_problems(grid, bundle))
    result.problems.extend(derived_problems(grid, bundle, evidence))
    return result


def audits(scale: str | None) -> list[Audit]:
    """Of the results in `data/` and of the published ones.

    Raises:
        Unreachable: there are results in `data/`, and MLflow cannot be asked.
        ConfigError: there are neither, the parameters are not valid, or the scale has no tables.
    """
    grid = load_grid(scale)
    bundle = Bundle.of(grid.scale)
    own = any(job.card.exists() for job in grid)
    if not own and not bundle.exists:
        made = f"`snakemake --config scale={grid.scale}` makes results"
        raise ConfigError(f"neither {paths.DATA / grid.scale} nor {bundle.results} has a result to audit; {made}")
    return [*([audit(scale)] if own else []), *([audit_bundle(scale)] if bundle.exists else [])]


def _trace(result: Audit, tables: Job, results: Results, folder: Path, *, costs: bool = False) -> None:
    from favae.stages.make_tables import OUTDATED

    card = result.evidence[tables.name].card
    outdated = card.summary.get(OUTDATED, ()) if card else ()
    try:
        result.numbers.extend(_numbers(tables, results))
        result.problems.extend(_differences(tables, results, folder, outdated, costs))
    except (FileNotFoundError, ValueError, LookupError, TypeError) as error:
        result.problems.append(f"the tables cannot be traced: {error}")


def _add_evidence(result: Audit) -> None:
    behind = Counter(item.job.name for number in result.numbers for item in result.chain(number))
    for name, item in result.evidence.items():
        held = f" (affects {behind[name]} numbers)" if behind[name] else ""
        result.problems.extend(f"{name}: {problem}{held}" for problem in item.problems)
        result.undecided.extend(f"{name}: not decided: {what}{held}" for what in item.remarks.undecided)


def _strangers(grid: Grid, bundle: Bundle) -> Iterator[str]:
    """Published cards of cells that the grid does not have."""
    known = {bundle.locate(job.card) for job in grid}
    for card in sorted(bundle.results.glob(f"*/*/{paths.CARD}")):
        if card not in known:
            yield f"{card}: the scale {grid.scale!r} has no such cell"


def _page_problems(grid: Grid, bundle: Bundle) -> Iterator[str]:
    """Published cards of models and checklists that are not what cards, metrics and run records give."""
    try:
        expected = pages(grid, bundle)
    except (FileNotFoundError, ValueError, LookupError, TypeError, AttributeError):
        return  # what cannot be read is named already
    for path, text in expected.items():
        if not path.is_file():
            yield f"{path}: missing"
        elif not is_same_page(_text(path), text):
            yield f"{path}: does not agree with cards, metrics and run records"


def find(result: Audit, target: str) -> list[TableNumber]:
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


def describe(result: Audit, number: TableNumber) -> Iterator[str]:
    """Lines about one number: its value, then the facts and problems of each result that it was made from."""
    yield f"{number.table}/{number.cell.partition('/')[2]}/{number.metric} = {number.value!r}  ({number.label})"
    chain = result.chain(number)
    yield f"  cost: {cost_of(item.record for item in chain).text}, over {len(chain)} results"
    for item in chain:
        yield f"  {item.job.name}: {item.verdict}"
        yield from (f"    {line}" for line in item.lines())


def _tables_job(grid: Grid) -> Job:
    cells = grid.cells("make_tables")
    if not cells:
        raise ConfigError(f"{paths.GRID}: the scale {grid.scale!r} has no make_tables, so there is no table to audit")
    return grid.job("make_tables", cells[0])


def _numbers(tables: Job, results: Results) -> Iterator[TableNumber]:
    for table in cast(TablesConfig, tables.config).tables:
        for position, row in enumerate(table.rows, 1):
            for cell in row.measured_by:  # a mean is traced through each of its values
                metrics = results.metrics(cell)
                for metric in table.columns:
                    measured = metrics.get(row.key(metric))
                    if measured is not None and measured["value"] is not None:
                        value = measured["value"]
                        yield TableNumber(table.id, position, row.label, metric, cell, row.key(metric), value)


def _differences(tables: Job, results: Results, folder: Path, outdated: Collection[str], costs: bool) -> Iterator[str]:
    """Where a file of the tables is not what the results and the published numbers give."""
    from favae.stages.make_tables import render

    expected = render(tables, results, outdated, costs=costs)
    summary = folder / "summary.md"
    if not costs and summary.is_file() and COSTS in _text(summary):  # copied from published results
        expected = render(tables, results, outdated, costs=True)
    files = folder.iterdir() if folder.is_dir() else ()
    there = {path.name for path in files if not path.name.startswith(".")}  # Snakemake leaves a hidden one
    for name in sorted(there - set(expected)):
        yield f"{folder / name}: no such table in params/tables.yaml; remove the file"
    for name, text in expected.items():
        file = folder / name
        if name not in there:
            yield f"{file}: missing"
        elif not file.is_file():
            yield f"{file}: not a file; remove it, and type `favae adopt`, then `snakemake`"
        elif _text(file) != text:
            yield from _different_numbers(file, text) if file.suffix == ".csv" else _different_line(file, text)


def _text(file: Path) -> str:
    """A table as text; a byte that is not UTF-8 is a difference, no error."""
    return file.read_text(encoding="utf-8", errors="backslashreplace")


def _different_numbers(file: Path, expected: str) -> Iterator[str]:
    try:
        ours, theirs = (list(csv.DictReader(io.StringIO(text))) for text in (expected, _text(file)))
    except csv.Error as error:  # a field of 131,073 characters, for example
        yield f"{file}: is no table ({error}); remove it, and type `favae adopt`, then `snakemake`"
        return
    if ours and theirs and ours[0].keys() != theirs[0].keys():
        odd = ", ".join(str(name) for name in ours[0] if name not in theirs[0]) or "none"
        yield f"{file}: has other columns than the results give; missing: {odd}"
        return
    if len(ours) != len(theirs):
        yield f"{file}: {len(theirs)} lines, according to the results {len(ours)}"
    for mine, found in zip(ours, theirs, strict=False):
        for column, value in mine.items():
            if found.get(column) != value:
                where = f"{file}: {mine['row']}/{mine['metric']}"
                yield f"{where}: {column} is {found.get(column)!r}, according to the results {value!r}"


def _different_line(file: Path, expected: str) -> Iterator[str]:
    ours, theirs = expected.splitlines(), _text(file).splitlines()
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
