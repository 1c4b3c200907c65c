"""What is reproduced: each row of each published table, with its state and what it would still cost at the paper's size.

Everything follows from the parameters (`params/published.yaml`, `grid.yaml`, `tables.yaml`), the published results in `reports/`, and
the estimates of `favae plan`; nothing is typed by hand.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from favae.config.load import read_yaml, validate
from favae.config.reporting import Published, PublishedTable, TablesConfig
from favae.jobs.estimates import RATES, UnknownSize, estimate
from favae.jobs.grid import Grid, Job, load_grid
from favae.jobs.resources import known_sizes
from favae.results.bundle import Bundle
from favae.runtime import paths

PAGE = paths.COVERAGE
State = Literal["at the paper's size", "small", "planned only", "no training here"]
_STATES: tuple[State, ...] = get_args(State)
_HEAD = """# What is reproduced

Written by `favae coverage` from the parameters and the results published in this folder; no line is typed by hand.

- **At the paper's size**: measured with the data, sizes and lengths of the paper, as far as its sources give them.
- **Small**: measured with other data, smaller networks or shorter trainings. Its table says which.
- **Planned only**: the parameters are there and valid, nothing was run.
- **No training here**: numbers that the paper cites from others, or rows that no source describes.

"Still to run" is what the rows would cost at the paper's size: an estimate in hours of an NVIDIA H100 80GB at {rate:g} TFLOP/s
for autoencoders in fp32, as measured (`favae plan`), each training counted once a table. "?": a data set does not declare its
size. "–": nothing is left, or nothing is planned."""


@dataclass(frozen=True)
class Place:
    """A row of one of our tables that stands beside a published row."""

    grid: Grid
    table: str
    size: str
    cells: tuple[str, ...]

    @property
    def measured(self) -> bool:
        """Whether results are published: at the paper's size of all its cells, otherwise of at least one seed."""
        bundle = Bundle.of(self.grid.scale)
        files = [paths.result_dir(self.grid.scale, *cell.split("/")) / paths.METRICS for cell in self.cells]
        enough = all if self.size == "paper" else any
        return bool(files) and enough(bundle.locate(file).is_file() for file in files)

    @property
    def link(self) -> str:
        """To the published table."""
        path = f"{self.grid.scale}/tables/{self.table}.md"
        return f"[{path}]({path})"


def render() -> str:
    """Text of `reports/README.md`. Raises ConfigError for parameters that are not valid."""
    published = validate(Published, read_yaml(paths.PUBLISHED), str(paths.PUBLISHED))
    places = _places()
    parts = [_HEAD.format(rate=RATES["autoencoder", "fp32"] / 1e12)]
    for paper, citation in published.papers.items():
        tables = {name: table for name, table in published.tables.items() if table.paper == paper}
        parts += [f"## {citation}", _overview(tables, places)]
        parts += [f"### {table.title}\n\n{_rows(name, table, places)}" for name, table in tables.items()]
    return "\n\n".join(parts) + "\n"


def current(page: Path = PAGE) -> bool:
    """Whether the page is what `render` gives."""
    return page.is_file() and page.read_text(encoding="utf-8") == render()


def _places() -> dict[str, list[Place]]:
    """Places by `<published table>/<row>`, those at the paper's size first."""
    found: dict[str, list[Place]] = {}
    for scale in load_grid(None).scales:
        grid = load_grid(scale)
        config = grid.job("make_tables", "all").config
        assert isinstance(config, TablesConfig)
        for table in config.tables if config.size != "released" else ():
            for row in table.rows:
                if row.published:
                    found.setdefault(row.published, []).append(Place(grid, table.id, config.size, row.measured_by))
    return {reference: sorted(rows, key=lambda place: place.size != "paper") for reference, rows in found.items()}


def state_of(places: Sequence[Place]) -> State:
    """The best state of a published row, from the rows of ours beside it."""
    measured = [place for place in places if place.measured]
    if measured:
        return "at the paper's size" if any(place.size == "paper" for place in measured) else "small"
    return "planned only" if any(place.cells for place in places) else "no training here"


def _overview(tables: dict[str, PublishedTable], places: dict[str, list[Place]]) -> str:
    lines = [_line("table", "rows", *_STATES, "still to run (GPU-hours)"), _line(*["---"] * 7)]
    for name, table in tables.items():
        rows = [places.get(f"{name}/{row}", []) for row in table.rows]
        counts = [sum(state_of(row) == state for row in rows) for state in _STATES]
        cost = cost_to_run(place for row in rows if state_of(row) != "at the paper's size" for place in row)
        lines.append(_line(table.title, len(rows), *counts, cost))
    return "\n".join(lines)


def _rows(name: str, table: PublishedTable, places: dict[str, list[Place]]) -> str:
    lines = [_line("row", "state", "where", "still to run (GPU-hours)"), _line(*["---"] * 4)]
    for key, row in table.rows.items():
        own = places.get(f"{name}/{key}", [])
        state = state_of(own)
        links = dict.fromkeys(place.link for place in own if place.measured)
        scales = dict.fromkeys(f"scale `{place.grid.scale}`" for place in own if place.cells)
        done = state == "at the paper's size"
        lines.append(_line(row.label, state, ", ".join(links or scales) or "–", "–" if done else cost_to_run(own)))
    return "\n".join(lines)


def cost_to_run(places: Iterable[Place]) -> str:
    """GPU-hours of everything that rows at the paper's size need, each job once."""
    jobs: dict[tuple[str, str], tuple[Grid, Job]] = {}
    for place in places:
        if place.size == "paper" and not place.measured:
            for job in _needed(place):
                jobs[place.grid.scale, job.name] = (place.grid, job)
    if not jobs:
        return "–"
    hours, unknown = 0.0, False
    for grid, job in jobs.values():
        try:
            hours += estimate(grid, job, known_sizes(grid)).gpu_hours
        except UnknownSize:
            unknown = True
    return f"{hours:,.1f}{' + ?' if unknown else ''}" if hours or not unknown else "?"


def _needed(place: Place) -> Iterator[Job]:
    """The cells of a row, and all jobs whose results they read."""
    by_card = {job.card: job for job in place.grid}
    ahead = [place.grid.job(*cell.split("/")) for cell in place.cells]
    seen: set[str] = set()
    while ahead:
        job = ahead.pop()
        if job.name not in seen:
            seen.add(job.name)
            yield job
            ahead += [by_card[card] for card in job.inputs.values()]


def _line(*cells: object) -> str:
    return f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |"
