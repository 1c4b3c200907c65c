"""Where the results on a page come from: `data/<scale>`, or what is published in `reports/<scale>`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

from favae.config.errors import ConfigError
from favae.config.load import validate
from favae.config.reporting import FigureConfig, FiguresConfig, Published, TablesConfig
from favae.jobs.grid import Grid, Job, load_grid
from favae.reporting.results import Results
from favae.results.bundle import Bundle
from favae.results.cards import Card, read_card
from favae.results.run_record import RunRecord, read_record
from favae.runtime import paths


@dataclass(frozen=True)
class Source:
    """Finished results of one scale, with the parameters that their cards record.

    `locate` says where a file of `data/<scale>` lies; `kind` is `own` or `published`.
    """

    grid: Grid
    root: Path
    locate: Callable[[Path], Path]
    kind: str

    @classmethod
    def of(cls, scale: str | None, *, published: bool = False) -> "Source":
        """Own results if there are tables of them, otherwise (or if asked for) the published ones. Raises ConfigError."""
        grid = load_grid(scale)
        bundle = Bundle.of(grid.scale)
        if not published and paths.card(grid.scale, "make_tables", "all").exists():
            return cls(grid, paths.DATA / grid.scale, lambda path: path, "own")
        if bundle.exists:
            return cls(grid, bundle.root, bundle.locate, "published")
        raise ConfigError(
            f"neither {paths.DATA / grid.scale} nor {bundle.root} has tables to show; "
            f"make them with `snakemake --config scale={grid.scale}`"
        )

    @property
    def scale(self) -> str:
        """Name of the scale."""
        return self.grid.scale

    @cached_property
    def tables(self) -> TablesConfig:
        """The tables as they were made."""
        return cast(TablesConfig, self._job("make_tables").config)

    @cached_property
    def published_numbers(self) -> Published:
        """The papers' numbers as they were when the tables were made."""
        return validate(Published, self._job("make_tables").parameters[paths.PUBLISHED.stem], str(paths.PUBLISHED))

    @cached_property
    def figures(self) -> tuple[FigureConfig, ...]:
        """The figures as they were drawn; none where they are not part of the results."""
        try:
            return tuple(cast(FiguresConfig, self._job("make_figures").config).figures)
        except (ConfigError, FileNotFoundError):
            return ()

    @cached_property
    def labels(self) -> dict[str, str]:
        """Labels of trainings in the figures, by `<stage>/<cell>`."""
        series = [one for figure in self.figures for one in figure.series]
        several = {cell: f"{one.label} ({cell.partition('/')[2]})" for one in series if one.cells for cell in one.cells}
        return several | {one.cell: one.label for one in series if one.cell}

    @cached_property
    def results(self) -> Results:
        """Result files of every evaluation."""
        printed = self.locate(paths.report_dir(self.scale, "tables"))
        return Results.of(self.grid.job("make_tables", "all"), self.locate, printed)

    def results_of(self, figure: FigureConfig) -> Results:
        """Result files of what a figure shows."""
        shown = {run for series in figure.series for run in series.runs}
        folders = {run: self.locate(paths.card(self.scale, *run.split("/"))).parent for run in shown}
        return Results(self.scale, folders, self.locate)

    def _job(self, stage: str) -> Job:
        job = self.grid.job(stage, "all")
        return job.with_parameters(read_card(self.locate(job.card)).parameters)

    def file(self, path: Path) -> Path | None:
        """Where a file of `data/<scale>` is; None if it is not there."""
        found = self.locate(path)
        return found if found.exists() else None

    @cached_property
    def _cards(self) -> dict[str, Card | None]:
        return {}

    def card(self, name: str) -> Card | None:
        """Card of the result `<stage>/<cell>`, read once; None if it is not there."""
        if name not in self._cards:
            stage, _, cell = name.partition("/")
            found = self.file(paths.card(self.scale, stage, cell))
            self._cards[name] = read_card(found) if found else None
        return self._cards[name]

    def record(self, name: str) -> RunRecord | None:
        """Run record of a result; None where there is none."""
        stage, _, cell = name.partition("/")
        return read_record(self.locate(paths.run_record(self.scale, stage, cell)))

    def chain(self, name: str) -> Iterator[str]:
        """The result and everything that it was made from, nearest first, by the inputs in their cards."""
        waiting, seen = [name], set[str]()
        while waiting:
            current = waiting.pop(0)
            if current in seen:
                continue
            seen.add(current)
            card = self.card(current)
            if card is not None:
                yield current
                waiting += ["/".join(Path(path).parts[-3:-1]) for path in card.inputs]

    def dataset_of(self, name: str) -> str | None:
        """Data set that an evaluation or a generation read, by its cell; None if its card has none."""
        stage, _, cell = name.partition("/")
        job = self.grid.jobs.get((stage, cell))
        card = self.card(name)
        found = card.summary.get("dataset") if card else None
        return str(found) if found else (job.roles.get("dataset") if job else None)
