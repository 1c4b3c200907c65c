"""The grid: which jobs exist at a scale, from what inputs, with exactly which parameters.

`params/grid.yaml` is the only list of cells. The Snakefile asks this module; `dvc.yaml` reads the same file through `vars` and
`foreach`. The parameters of a job are the deep merge of two subtrees: `params/<recipe>.yaml: <row>` (the science, one row of a
paper's table) and `params/<scale>.yaml: <numbers>` (sizes and lengths).
"""

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from favae.config.base import Schema
from favae.config.errors import ConfigError, say_once
from favae.config.load import deep_merge, read_yaml, subtree, validate
from favae.runtime import paths
from favae.runtime.hashes import canonical_json

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


@dataclass(frozen=True)
class Stage:
    """What the grid must know of a stage: its parameter schema, and which input roles a cell names.

    `inputs` maps a role in the cell to the stage whose card it is; `collects` lists stages of which every cell is an input.
    `shared` lists parameter files that are read whole, beside recipe and numbers. `schema` names a pydantic class, or a
    function from the parameters to one.
    """

    name: str
    schema: str
    inputs: dict[str, str]
    collects: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()

    def load_schema(self) -> Any:
        """The schema for `validate`, imported late: planning must not wait for schemas of other stages."""
        module, name = self.schema.split(":")
        return getattr(importlib.import_module(module), name)


STAGES = {
    stage.name: stage
    for stage in (
        Stage("prepare_dataset", "favae.config.dataset:DatasetConfig", {}),
        Stage(
            "train_autoencoder",
            "favae.config.training_kinds:training_config",
            {"dataset": "prepare_dataset"},
        ),
        Stage(
            "compute_reference_statistics",
            "favae.config.evaluation:ReferenceConfig",
            {"dataset": "prepare_dataset"},
        ),
        Stage(
            "evaluate_reconstruction",
            "favae.config.evaluation:EvaluationConfig",
            {
                "model": "train_autoencoder",
                "dataset": "prepare_dataset",
                "reference": "compute_reference_statistics",
            },
        ),
        Stage(
            "tokenize_images",
            "favae.config.cat:TokenizeConfig",
            {"model": "train_autoencoder", "dataset": "prepare_dataset"},
        ),
        Stage("train_cat", "favae.config.cat:CatConfig", {"tokens": "tokenize_images"}),
        Stage(
            "generate_images",
            "favae.config.cat:GenerateConfig",
            {
                "cat": "train_cat",
                "model": "train_autoencoder",
                "dataset": "prepare_dataset",
                "reference": "compute_reference_statistics",
            },
        ),
        Stage(
            "make_tables",
            "favae.config.reporting:TablesConfig",
            {},
            collects=("evaluate_reconstruction", "generate_images"),
            shared=("published",),
        ),
        Stage(
            "make_figures",
            "favae.config.reporting:FiguresConfig",
            {},
            collects=("train_autoencoder", "evaluate_reconstruction", "train_cat", "generate_images"),
        ),
    )
}


@dataclass(frozen=True, eq=False)
class Job:
    """One node of the DAG: a cell of a stage at a scale."""

    scale: str
    stage: Stage
    cell: str
    roles: dict[str, str]  # input role -> cell of the stage that makes it
    sources: tuple[tuple[Path, str | None], ...]  # (file, key) of each parameter subtree; key None = whole file
    version: int
    inputs: dict[str, Path]  # name -> card

    @property
    def name(self) -> str:
        """`stage/cell`, as in messages and paths."""
        return f"{self.stage.name}/{self.cell}"

    @property
    def where(self) -> str:
        """The files and keys its parameters come from, for error messages."""
        return " + ".join(f"{path}: {key}" if key else str(path) for path, key in self.sources)

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """The merged parameters as read, before validation. A file read whole stands under its own name."""
        trees = [subtree(path, key) if key else {path.stem: read_yaml(path)} for path, key in self.sources]
        return deep_merge(trees)

    @cached_property
    def config(self) -> Schema:
        """The validated parameters. Raises ConfigError."""
        own = {k: v for k, v in self.parameters.items() if k not in self.stage.shared}
        return validate(self.stage.load_schema(), own, self.where, self.sources)

    @cached_property
    def identity(self) -> str:
        """Canonical JSON of everything but the inputs that decides the result: Snakemake tracks this one string."""
        return canonical_json({"parameters": self.parameters, "version": self.version})

    @property
    def card(self) -> Path:
        """Path of the card this job writes."""
        return paths.card(self.scale, self.stage.name, self.cell)


class Grid:
    """All jobs of one scale, in an order in which inputs come before what needs them."""

    def __init__(self, scale: str | None = None) -> None:
        tree = read_yaml(paths.GRID)
        self.scales = [name for name in tree if name != "active"]
        self.scale = scale or self._active(tree)
        if self.scale not in self.scales:
            raise ConfigError(f"{paths.GRID}: no scale {self.scale!r}; there are: {', '.join(self.scales)}")
        self._cells = tree[self.scale]
        self._versions = read_yaml(paths.VERSIONS)
        self.jobs = {(job.stage.name, job.cell): job for job in self._read()}

    @staticmethod
    def _active(tree: dict[str, Any]) -> str:
        """Name of the scale that plain `snakemake` and `dvc repro` work on."""
        active = tree.get("active")
        if not isinstance(active, dict) or "name" not in active:
            raise ConfigError(f"{paths.GRID}: active: expected an alias of a scale, as in `active: *demo`")
        return active["name"]

    def __iter__(self) -> Iterator[Job]:
        return iter(self.jobs.values())

    def cells(self, stage: str) -> list[str]:
        """Names of the cells of a stage, in file order."""
        return [cell for name, cell in self.jobs if name == stage]

    def job(self, stage: str, cell: str) -> Job:
        """The job of one cell. Raises ConfigError listing what there is."""
        if stage not in STAGES:
            raise ConfigError(f"no stage {stage!r}; there are: {', '.join(STAGES)}")
        try:
            return self.jobs[stage, cell]
        except KeyError:
            there = ", ".join(self.cells(stage)) or "none"
            raise ConfigError(f"{paths.GRID}: {self.scale}.{stage}: no cell {cell!r}; there are: {there}") from None

    def _read(self) -> Iterator[Job]:
        unknown = set(self._cells) - set(STAGES) - {"name"}
        if unknown:
            raise ConfigError(
                f"{paths.GRID}: {self.scale}: unknown stage {sorted(unknown)[0]!r}; known: {', '.join(STAGES)}"
            )
        if self._cells.get("name") != self.scale:
            raise ConfigError(f"{paths.GRID}: {self.scale}.name: expected {self.scale!r}")
        for stage in STAGES.values():
            for cell, entry in (self._cells.get(stage.name) or {}).items():
                yield self._read_cell(stage, cell, entry)

    def _read_cell(self, stage: Stage, cell: str, entry: dict[str, Any]) -> Job:
        where = f"{paths.GRID}: {self.scale}.{stage.name}.{cell}"
        if not _NAME.fullmatch(cell):
            raise ConfigError(f"{where}: a cell's name is made of a-z, 0-9, '-' and '_'")
        expected = {"recipe", "row", "numbers", *stage.inputs}
        if set(entry) != expected:
            raise ConfigError(f"{where}: expected the keys {sorted(expected)}, found {sorted(entry)}")
        inputs: dict[str, Path] = {}
        for role, source in stage.inputs.items():
            if entry[role] not in (self._cells.get(source) or {}):
                there = ", ".join(self._cells.get(source) or {}) or "none"
                raise ConfigError(f"{where}: {role}: no cell {entry[role]!r} in {source}; there are: {there}")
            inputs[role] = paths.card(self.scale, source, entry[role])
        for source in stage.collects:
            for other in self._cells.get(source) or {}:
                inputs[f"{source}/{other}"] = paths.card(self.scale, source, other)
        if stage.name not in self._versions:
            raise ConfigError(f"{paths.VERSIONS}: no version for the stage {stage.name!r}")
        sources: list[tuple[Path, str | None]] = [
            (paths.params_file(entry["recipe"]), entry["row"]),
            (paths.params_file(self.scale), entry["numbers"]),
            *((paths.params_file(name), None) for name in stage.shared),
        ]
        roles = {role: entry[role] for role in stage.inputs}
        return Job(self.scale, stage, cell, roles, tuple(sources), int(self._versions[stage.name]), inputs)

    def check(self) -> None:
        """Validate every job, build every network and loss, compare what must agree between jobs.

        Raises ConfigError with all problems of the first of these that has any, one per line.
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
        """What is valid by itself but does not fit together: references, and rows of tables and figures without a cell."""
        for job in self:
            if job.stage.collects:
                yield from ((job.name, f"{job.where}: {problem}") for problem in self._dangling(job))
            if "reference" in job.roles:
                yield from ((job.name, f"{job.where}: {problem}") for problem in self._unfit_reference(job))

    def _unfit_reference(self, job: Job) -> Iterator[str]:
        """Where the real images behind an evaluation's reference statistics are not those it compares with."""
        from favae.config.cat import GenerateConfig
        from favae.config.evaluation import EvaluationConfig, ReferenceConfig

        cell = job.roles["reference"]
        other, config = self.job("compute_reference_statistics", cell), job.config
        assert isinstance(other.config, ReferenceConfig)
        if other.roles["dataset"] != job.roles["dataset"]:
            yield f"reference {cell!r} is of data set {other.roles['dataset']!r}, not {job.roles['dataset']!r}"
        protocol = config.protocol if isinstance(config, GenerateConfig) else config
        assert isinstance(protocol, EvaluationConfig)
        if "frechet" not in protocol.metrics:
            return
        also_all = isinstance(config, GenerateConfig) and config.against == "split_and_all"
        wanted = {protocol.split, "all"} if also_all else {protocol.split}
        if lacking := sorted(wanted - set(other.config.images)):
            yield f"reference {cell!r} has no statistics of {lacking[0]!r}; add it to images in {other.where}"
        if lacking := sorted(set(protocol.feature_networks) - set(other.config.feature_networks)):
            yield f"reference {cell!r} has no {lacking[0]} features; add it to feature_networks in {other.where}"
        if isinstance(config, EvaluationConfig) and other.config.n != config.n:
            yield f"n is {config.n}, but reference {cell!r} is of n = {other.config.n} images: give both the same"

    @staticmethod
    def _dangling(job: Job) -> Iterator[str]:
        from favae.config.reporting import FiguresConfig, Published, TablesConfig

        if isinstance(job.config, TablesConfig):
            published = validate(Published, job.parameters[paths.PUBLISHED.stem], str(paths.PUBLISHED))
            yield from job.config.disagreements(published, job.inputs)
        elif isinstance(job.config, FiguresConfig):
            yield from job.config.disagreements(job.inputs)


@lru_cache(maxsize=8)
def load_grid(scale: str | None = None) -> Grid:
    """The grid of a scale (default: the active one), read once a process."""
    return Grid(scale)
