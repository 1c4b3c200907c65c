"""Compare the results of a scale in `data/` with the published ones: every number, then every claim."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from favae.config.errors import ConfigError
from favae.config.load import validate
from favae.config.reporting import Published, TableConfig, TableRowConfig, TablesConfig
from favae.evaluation.protocol import MetricResult
from favae.jobs.grid import Grid, Job, load_grid
from favae.reporting.claims import Verdict, judge
from favae.reporting.intervals import LEVEL, difference_over_seeds, mean_over_images
from favae.reporting.results import Results
from favae.reporting.tables import table_entries
from favae.results.bundle import Bundle
from favae.results.cards import read_card
from favae.results.diff import first_difference
from favae.results.status import State, state_of
from favae.runtime import paths

Word = Literal["equal", "within", "not decided", "outside", "not comparable"]
MOST_APART = 0.1  # relative difference from which on a number that has no interval is not decided
ROUNDING = (
    1e-6  # relative difference up to which two numbers differ only by the order of their sums, as on another machine
)
_WORKERS = ("ranks", "threads")  # of a training: they divide its work and do not change its result


@dataclass(frozen=True)
class Line:
    """One number of a table on both sides; `why` names the criterion."""

    name: str
    ours: float | None
    theirs: float | None
    word: Word
    why: str
    over_seeds: bool = False  # whether an interval over seeds decided it

    @property
    def apart(self) -> float | None:
        """The difference relative to the published number; infinite where that is 0; None where a side has no number."""
        if self.ours is None or self.theirs is None:
            return None
        difference = abs(self.ours - self.theirs)
        if difference == 0:
            return 0.0
        relative = difference / abs(self.theirs) if self.theirs else math.inf
        return math.inf if math.isnan(relative) else relative

    @property
    def judged(self) -> "Line":
        """The same; but not decided, if it has no interval and is too far apart from the published number to be called close."""
        if self.word != "not comparable" or self.apart is None or self.apart <= MOST_APART:
            return self
        return replace(self, word="not decided", why=f"{self.why}; more than {MOST_APART:.0%} apart")


@dataclass(frozen=True)
class ClaimLine:
    """One claim on both sides."""

    ours: Verdict
    theirs: Verdict

    @property
    def reversed(self) -> bool:
        """Whether the claim holds on one side and does not hold on the other."""
        return {self.ours.word, self.theirs.word} == {"Holds", "Does not hold"}


@dataclass(frozen=True)
class ScaleComparison:
    """All numbers and claims of a scale."""

    scale: str
    numbers: list[Line]
    claims: list[ClaimLine]

    @property
    def counts(self) -> Counter[Word]:
        """Numbers by their verdict."""
        return Counter(line.word for line in self.numbers)

    @property
    def reproduced(self) -> bool:
        """Whether something is comparable, no number is outside or not decided, and no claim is reversed."""
        return self._comparable > 0 and not self.counts["not decided"] and not self.differs

    @property
    def _comparable(self) -> int:
        return self.counts["equal"] + self.counts["within"]

    @property
    def differs(self) -> bool:
        """Whether a number is outside or a claim is reversed."""
        return self.counts["outside"] > 0 or any(claim.reversed for claim in self.claims)

    def lines(self) -> Iterator[str]:
        """One line per number, then one per claim."""
        for line in self.numbers:
            yield f"{line.word:14} {line.name}: {_shown(line.ours)}, published {_shown(line.theirs)} ({line.why})"
        for claim in self.claims:
            same = "same verdict" if claim.ours.word == claim.theirs.word else f"published: {claim.theirs.word.lower()}"
            yield f"claim          {claim.ours.claim}: {claim.ours.word.lower()} ({same}); {claim.ours.details}"

    def closing(self) -> list[str]:
        """Three lines: numbers, claims, conclusion."""
        counts, same = self.counts, sum(c.ours.word == c.theirs.word for c in self.claims)
        turned = sum(claim.reversed for claim in self.claims)
        return [
            f"{len(self.numbers)} numbers: {counts['equal']} equal to the bit, {counts['within']} within the spread or rounding, "
            f"{counts['not decided']} not decided, {counts['outside']} outside, {counts['not comparable']} not comparable",
            f"{len(self.claims)} claims: {same} with the verdict of the published results, {turned} reversed",
            f"{self.scale}: {self._conclusion()}",
        ]

    def _conclusion(self) -> str:
        """The verdict. Of numbers that no interval decides, it says how many there are and how far they are apart."""
        if self.differs:
            return f"not reproduced{self._by_chance()}"
        if self.counts["not decided"]:
            return f"not decided: {self._among('not decided')}"
        if not self._comparable:
            return f"nothing can be compared: {self._among('not comparable')}"
        if self.counts["not comparable"]:
            return f"reproduced, as far as it can be compared; not comparable: {self._among('not comparable')}"
        return "reproduced"

    def _by_chance(self) -> str:
        """How many numbers would be outside if both sides were alike: each has an interval of its own."""
        compared = sum(line.over_seeds for line in self.numbers)
        if not self.counts["outside"]:
            return ""
        expected = (1 - LEVEL) * compared
        outside = f"{self.counts['outside']} of {compared} numbers over seeds are outside"
        return f": {outside}; at {LEVEL:.0%}, {expected:.2g} would be by chance"

    def _among(self, word: Word) -> str:
        """How many numbers have this verdict, and the one of them that differs most."""
        lines = [line for line in self.numbers if line.word == word]
        counted = f"{len(lines)} of {len(self.numbers)} numbers"
        measured = [(line.apart, line) for line in lines if line.apart is not None]
        if not measured:
            return f"{counted}, none of which was measured on both sides"
        apart, line = max(measured, key=lambda pair: pair[0])
        values = f"{line.name} is {_shown(line.ours)}, published {_shown(line.theirs)}: {line.why}"
        return f"{counted}; the largest relative difference among them is {100 * apart:.3g}% ({values})"


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"


def compare(scale: str | None) -> ScaleComparison:
    """Compare `data/<scale>` with `reports/<scale>`, row by row of today's tables; rows that are not published are left out.

    Raises:
        ConfigError: the scale has no tables, or one side has no results.
    """
    grid = load_grid(scale)
    bundle = Bundle.of(grid.scale)
    if not bundle.exists:
        raise ConfigError(
            f"{bundle.root}: no published results to compare with; `favae publish {grid.scale}` makes them"
        )
    if not grid.cells("make_tables"):
        raise ConfigError(f"{paths.GRID}: the scale {grid.scale!r} has no make_tables: there is no table to compare")
    there = bundle.part_of(grid)
    jobs = [part.job("make_tables", "all") for part in (grid, there)]
    sides = Results.of(jobs[0]), Results.of(jobs[1], bundle.locate)
    numbers: list[Line] = []
    claims: list[ClaimLine] = []
    compared = [row for table in cast(TablesConfig, jobs[0].config).tables for row in table.rows if _is_in(there, row)]
    _refuse_corrupt(grid, compared)
    published = validate(Published, jobs[0].parameters[paths.PUBLISHED.stem], str(paths.PUBLISHED))
    try:
        for tables in zip(*(cast(TablesConfig, job.config).tables for job in jobs), strict=True):
            for row in tables[0].rows:
                if _is_in(there, row):
                    numbers += _row(tables[0], row, sides, _other_parameters(grid, row, bundle))
            pairs = zip(tables, sides, strict=True)
            ours, theirs = (judge(table, table_entries(table, published, side)) for table, side in pairs)
            claims += [ClaimLine(mine, other) for mine, other in zip(ours, theirs, strict=True)]
    except FileNotFoundError as error:
        raise ConfigError(f"{error.filename}: missing; make it with `snakemake --config scale={grid.scale}`") from error
    return ScaleComparison(grid.scale, numbers, claims)


def _is_in(published: Grid, row: TableRowConfig) -> bool:
    """Whether all cells of a row are published: it was not added since."""
    return all(tuple(cell.split("/", 1)) in published.jobs for cell in row.measured_by)


def _refuse_corrupt(grid: Grid, rows: list[TableRowConfig]) -> None:
    """Raise ConfigError if a file behind these rows is not what its card says: a number in it is that of no result."""
    measured = {cell: grid.job(*cell.split("/", 1)) for row in rows for cell in row.measured_by}
    bad = []
    for job in {job.name: job for origin in measured.values() for job in _chain(grid, origin)}.values():
        state, reason = state_of(job)
        incomplete = state is State.MISSING and job.name in measured and job.card.exists()
        if state is State.CORRUPT or incomplete:
            bad.append(f"  {job.name} is {state.value}: {reason}")
    if bad:
        why = f"{paths.DATA / grid.scale} is not compared, because of results that are not what their cards say"
        remedy = (
            f"`favae adopt` removes these cards, then `snakemake --config scale={grid.scale}` makes the results again"
        )
        raise ConfigError("\n".join([f"{why}:", *bad, remedy]))


def _row(table: TableConfig, row: TableRowConfig, sides: tuple[Results, Results], other: str | None) -> Iterator[Line]:
    if not row.measured_by:
        return
    for metric in table.columns:
        ours, theirs = ([side.metrics(cell).get(row.key(metric)) for cell in row.measured_by] for side in sides)
        values = [_values(measured) for measured in (ours, theirs)]
        if not any(values):
            continue  # measured on neither side
        word, why = ("not comparable", other) if other else _judge(row, metric, ours, theirs, sides)
        means = [sum(v) / len(v) if v else None for v in values]
        over_seeds = len(row.measured_by) > 1 and word in ("within", "outside")
        yield Line(f"{table.id}/{row.label}/{metric}", means[0], means[1], cast(Word, word), why, over_seeds).judged


def _values(measured: list[MetricResult | None]) -> list[float]:
    """The values of all seeds, or none where one is missing."""
    values = [m["value"] for m in measured if m is not None and m["value"] is not None]
    return values if len(values) == len(measured) else []


def _judge(
    row: TableRowConfig,
    metric: str,
    ours: list[MetricResult | None],
    theirs: list[MetricResult | None],
    sides: tuple[Results, Results],
) -> tuple[Word, str]:
    mine, published = _values(ours), _values(theirs)
    if not mine or not published:
        return "not comparable", "not measured here" if not mine else "not measured in the published results"
    if difference := first_difference(_conditions(ours), _conditions(theirs)):
        return (
            "not comparable",
            f"the protocol is another: {difference[0]} {difference[1]!r}, published {difference[2]!r}",
        )
    if mine == published:
        return "equal", "every value"
    if len(mine) > 1:
        interval = difference_over_seeds(mine, published)
        return ("within" if interval.contains(0) else "outside"), f"difference over {len(mine)} seeds {_ends(interval)}"
    if math.isclose(mine[0], published[0], rel_tol=ROUNDING):
        return "within", f"one seed; equal to rounding, as the relative difference is below {ROUNDING:g}"
    images = sides[1].per_image(row.measured_by[0], metric)
    if images is None:
        return "not comparable", "one seed, and no published values per image"
    interval = mean_over_images(images)
    within = interval.contains(mine[0])
    more = "" if within else "; the spread over seeds, which is not known, may be wider"
    return ("within" if within else "not decided"), f"one seed; published mean over images {_ends(interval)}{more}"


def _ends(interval: Any) -> str:
    return f"{interval.low:.4g} to {interval.high:.4g}, {interval.level:.0%}"


def _conditions(measured: list[MetricResult | None]) -> dict[str, Any]:
    """Number of images and protocol of each value of a row."""
    return {str(i): {"n": m["n"], "protocol": m["protocol"]} for i, m in enumerate(measured) if m is not None}


def _other_parameters(grid: Grid, row: TableRowConfig, bundle: Bundle) -> str | None:
    """How the parameters of a row differ from the published ones; None if they are the same."""
    for cell in row.measured_by:
        for job in _chain(grid, grid.job(*cell.split("/", 1))):
            own, published = (read_card(path).parameters for path in (job.card, bundle.locate(job.card)))
            if difference := first_difference(_science(own), _science(published)):
                return f"{job.name}: {difference[0]} is {difference[1]!r}, published {difference[2]!r}"
    return None


def _chain(grid: Grid, job: Job) -> Iterator[Job]:
    """A job and all jobs upstream of it."""
    yield job
    for role, cell in job.roles.items():
        yield from _chain(grid, grid.job(job.stage.inputs[role], cell))


def _science(parameters: dict[str, Any]) -> dict[str, Any]:
    training = parameters.get("training")
    if not isinstance(training, dict):
        return parameters
    return parameters | {"training": {k: v for k, v in training.items() if k not in _WORKERS}}
