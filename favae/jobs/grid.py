"""The grid: all jobs of a scale, with their inputs and parameters.

`params/grid.yaml` states groups of jobs, which `favae.jobs.groups` expands into cells. Snakemake and DVC run the same list. The
parameters of a job are the deep merge of two blocks: `params/<recipe>.yaml: <row>` (the science, one row of a paper's table)
and `params/<scale>.yaml: <numbers>` (sizes and lengths).
"""

import copy
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from favae.config.base import Schema
from favae.config.errors import BadKey, ConfigError, closest, say_once
from favae.config.hostile import refuse_hostile
from favae.config.load import at, deep_merge, read_yaml, subtree, validate
from favae.jobs.groups import Cell, Cells, expand
from favae.jobs.report_rows import expand_figures, expand_tables, names_of_rows
from favae.jobs.stages import STAGES, Stage
from favae.runtime import paths
from favae.runtime.hashes import canonical_json


@dataclass(frozen=True, eq=False)
class Job:
    """One node of the DAG: a cell of a stage at a scale."""

    scale: str
    stage: Stage
    cell: str
    roles: dict[str, str]  # input role -> cell of the stage that makes it
    sources: tuple[tuple[Path, str | None], ...]  # (file, key) of each parameter block; key None = whole file
    inputs: dict[str, Path]  # name -> card
    cells: Cells = field(repr=False)  # all cells of the scale, for the rows of tables and figures

    @property
    def name(self) -> str:
        """`stage/cell`, as in messages and paths."""
        return f"{self.stage.name}/{self.cell}"

    @property
    def where(self) -> str:
        """The files and keys of its parameter blocks, for error messages."""
        return " + ".join(f"{path}: {key}" if key else str(path) for path, key in self.sources)

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """The merged parameters as read, before validation. A file that is read as a whole is stored under its own name."""
        trees = [subtree(path, key) if key else {path.stem: read_yaml(path)} for path, key in self.sources]
        merged = deep_merge(trees)
        for name, expand_rows in (("tables", expand_tables), ("figures", expand_figures)):
            if self.stage.collects and isinstance(merged.get(name), list):
                try:
                    merged[name] = expand_rows(merged[name], self.cells)
                except BadKey as error:
                    raise ConfigError(at((name, *error.keys), str(error), self.where, self.sources)) from None
        return merged

    @cached_property
    def config(self) -> Schema:
        """The validated parameters. Raises ConfigError."""
        own = {k: v for k, v in self.parameters.items() if k not in self.stage.shared}
        return validate(self.stage.load_config(), own, self.where, self.sources)

    @cached_property
    def identity(self) -> str:
        """Canonical JSON of the parameters, with the version in content keys: the string that Snakemake compares."""
        return canonical_json({"parameters": self.parameters, "version": self.stage.version})

    def with_parameters(self, parameters: dict[str, Any]) -> "Job":
        """The same job under other parameters, such as those that its card records."""
        other = replace(self)
        other.__dict__["parameters"] = parameters
        return other

    @property
    def card(self) -> Path:
        """Path of the card this job writes."""
        return paths.card(self.scale, self.stage.name, self.cell)


class Grid:
    """All jobs of one scale, ordered so that inputs come before the jobs that read them."""

    def __init__(self, scale: str | None = None) -> None:
        tree = read_yaml(paths.GRID)
        self.active = str(tree.get("active"))
        self.scales = [name for name in tree if name != "active"]
        self.scale = scale or self.active
        if self.scale not in self.scales:
            key = "" if scale else "active: "
            raise ConfigError(f"{paths.GRID}: {key}no scale {self.scale!r}; {closest(self.scale, self.scales)}")
        self.groups: dict[str, Any] = tree[self.scale]
        self.cells_by_stage = expand(self.scale, self.groups)
        self.jobs = {(job.stage.name, job.cell): job for job in self._read()}

    def __iter__(self) -> Iterator[Job]:
        return iter(self.jobs.values())

    def cells(self, stage: str) -> list[str]:
        """Names of the cells of a stage, in file order."""
        return list(self.cells_by_stage.get(stage, ()))

    def job(self, stage: str, cell: str) -> Job:
        """The job of one cell. Raises ConfigError with the closest names."""
        if stage not in STAGES:
            raise ConfigError(f"no stage {stage!r}; {closest(stage, STAGES)}")
        try:
            return self.jobs[stage, cell]
        except KeyError:
            near = closest(cell, self.cells(stage))
            raise ConfigError(f"{paths.GRID}: {self.scale}.{stage}: no cell {cell!r}; {near}") from None

    def _read(self) -> Iterator[Job]:
        for stage in STAGES.values():
            for name, cell in self.cells_by_stage[stage.name].items():
                yield self._job(stage, name, cell)

    def _job(self, stage: Stage, name: str, cell: Cell) -> Job:
        inputs = {role: paths.card(self.scale, stage.inputs[role], other) for role, other in cell.roles.items()}
        for source in stage.collects:
            for other in self.cells_by_stage[source]:
                inputs[f"{source}/{other}"] = paths.card(self.scale, source, other)
        sources: list[tuple[Path, str | None]] = [
            (paths.params_file(cell.recipe), cell.row),
            (paths.params_file(self.scale), cell.numbers),
            *((paths.params_file(shared), None) for shared in stage.shared),
        ]
        return Job(self.scale, stage, name, cell.roles, tuple(sources), inputs, self.cells_by_stage)

    def part(self, names: Collection[str]) -> "Grid":
        """The same grid without the jobs that are not among `names` (`<stage>/<cell>`)."""
        other = copy.copy(self)
        other.cells_by_stage = {
            stage: {cell: found for cell, found in cells.items() if f"{stage}/{cell}" in names}
            for stage, cells in self.cells_by_stage.items()
        }
        kept = [job for job in self if job.name in names]
        cards = {job.card for job in kept}
        inputs = [{name: path for name, path in job.inputs.items() if path in cards} for job in kept]
        other.jobs = {
            (job.stage.name, job.cell): replace(job, inputs=found, cells=other.cells_by_stage)
            for job, found in zip(kept, inputs, strict=True)
        }
        return other

    def check(self) -> None:
        """Validate every job, build every network and loss, then compare what must agree between jobs.

        Raises ConfigError with all problems of the first of these three checks that fails, one per line.
        """
        from favae.jobs.buildable import unbuildable

        for problems in (self._invalid(), unbuildable(self), self._disagreements()):
            if lines := say_once(problems):
                raise ConfigError("\n".join(lines))

    def _invalid(self) -> Iterator[tuple[str, str]]:
        for job in self:
            try:
                job.config  # noqa: B018  (validation is the point)
            except ConfigError as error:
                yield from ((job.name, line) for line in str(error).splitlines())

    def _disagreements(self) -> Iterator[tuple[str, str]]:
        """Contradictions between jobs that are valid by themselves: references, and rows of tables and figures."""
        from favae.jobs.terms import stated

        for recipe in {cell.recipe for cell in self.cells_by_stage["prepare_dataset"].values()}:
            stated(recipe)
        for recipe in {cell.recipe for cells in self.cells_by_stage.values() for cell in cells.values()}:
            names_of_rows(recipe)
        for job in self:
            yield from ((job.name, line) for line in _unknown_photographs(job))
            if job.stage.collects:
                yield from ((job.name, f"{_place(job, problem)}: {problem}") for problem in self._dangling(job))
            if "reference" in job.roles:
                yield from ((job.name, line) for line in self._unfit_reference(job))

    def _unfit_reference(self, job: Job) -> Iterator[str]:
        """Contradictions between an evaluation and its reference statistics."""
        from favae.config.cat import GenerateConfig
        from favae.config.evaluation import EvaluationConfig, GeneratorEvaluationConfig, ReferenceConfig

        cell = job.roles["reference"]
        other, config = self.job("compute_reference_statistics", cell), job.config
        assert isinstance(other.config, ReferenceConfig)
        if other.roles["dataset"] != job.roles["dataset"]:
            yield f"{paths.GRID}: reference {cell!r} is of data set {other.roles['dataset']!r}, not {job.roles['dataset']!r}"
        protocol = config.protocol if isinstance(config, GenerateConfig) else config
        assert isinstance(protocol, EvaluationConfig)
        if "frechet" not in protocol.metrics:
            return
        also_all = isinstance(config, GenerateConfig) and config.against == "split_and_all"
        wanted = {protocol.split, "all"} if also_all else {protocol.split}
        if isinstance(config, GeneratorEvaluationConfig) and "real" in config.sets:
            wanted |= {"train"}
        if lacking := sorted(wanted - set(other.config.images)):
            yield at(("images",), f"{other.name} lacks {lacking[0]!r}; add it", other.where, other.sources)
        if lacking := sorted(set(protocol.feature_networks) - set(other.config.feature_networks)):
            yield at(("feature_networks",), f"{other.name} lacks {lacking[0]!r}; add it", other.where, other.sources)
        drawn = isinstance(config, GeneratorEvaluationConfig) and other.config.n == "all"
        if isinstance(config, EvaluationConfig) and other.config.n != config.n and not drawn:
            text = f"is {config.n}, but the reference {cell!r} has n = {other.config.n}; both must be equal"
            yield at(("n",), text, job.where, job.sources)

    def _dangling(self, job: Job) -> Iterator[str]:
        from favae.config.reporting import FiguresConfig, Published, TablesConfig
        from favae.jobs.drawable import lacking
        from favae.jobs.facts import gather, metric_request

        if isinstance(job.config, TablesConfig):
            for table in job.config.tables:
                for found in gather(metric_request(metric) for metric in table.columns):
                    if found.problem:
                        yield f"table {table.id!r}: {found.problem[1]}"
            published = validate(Published, job.parameters[paths.PUBLISHED.stem], str(paths.PUBLISHED))
            yield from job.config.disagreements(published, job.inputs)
        elif isinstance(job.config, FiguresConfig):
            yield from job.config.disagreements(job.inputs)
        yield from lacking(self, job)


def _unknown_photographs(job: Job) -> Iterator[str]:
    """Names in a layout of tiles that are photographs of no package."""
    from favae.config.dataset import DatasetConfig, TilesLayoutConfig
    from favae.data.shipped import SHIPPED_IMAGES

    if isinstance(job.config, DatasetConfig) and isinstance(job.config.layout, TilesLayoutConfig):
        for name in job.config.layout.images:
            if name not in SHIPPED_IMAGES:
                text = f"no photograph {name!r}; {closest(name, SHIPPED_IMAGES)}"
                yield at(("layout", "images"), text, job.where, job.sources)


def _place(job: Job, problem: str) -> str:
    """File and line of the name that a problem does not find ("no cell 'x'"); if it is nowhere, the blocks of the job."""
    if not (missing := re.search(r"\bno (?:cell|row|metric) '([^']*)'", problem)):
        return job.where
    name = re.compile(rf"(?<![\w-]){re.escape(missing[1])}(?![\w-])")
    for path, key in job.sources:
        inside = key is None
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            inside = inside or line.startswith(f"{key}:")
            if inside and name.search(line):
                return f"{path}:{number}"
    return job.where


@lru_cache(maxsize=8)
def _checked(folder: Path) -> None:
    refuse_hostile(paths.PARAMS)


@lru_cache(maxsize=8)
def _cached(folder: Path, scale: str | None) -> Grid:
    return Grid(scale)


def load_grid(scale: str | None = None) -> Grid:
    """The grid of a scale (default: the active one), cached per process and working directory."""
    _checked(Path.cwd())
    if scale is None:
        tree = read_yaml(paths.GRID)
        if isinstance(active := tree.get("active"), str) and active in tree:
            scale = active  # one grid, by whichever name it is asked for
    return _cached(Path.cwd(), scale)


load_grid.cache_clear = _cached.cache_clear  # type: ignore[attr-defined]  # for a process that edits parameters
