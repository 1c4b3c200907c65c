"""Resources that Snakemake requests for a job, from its estimate."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from favae.config.dataset import DatasetConfig
from favae.config.training import TrainingConfig
from favae.jobs.estimates import Estimate, Sizes, declared_sizes, estimate
from favae.jobs.grid import Grid, Job, load_grid

_BASE_MB = 1500  # Python, torch, and the Snakemake process that runs the job
_PREPARE_THREADS = 8  # for decoding and resizing; Snakemake reduces it on a smaller machine
_LIGHT = {"make_tables", "make_figures"}
_HOST_MB = 16_000  # networks that need more train on a GPU, whose memory holds their activations
_SHORT, _LONG = 60, 24 * 60  # minutes; a training that is stopped by the limit resumes from its checkpoint
_SLOT = 4 * 60  # of the shortest training
_NOMINAL = {"train": 10_000, "val": 1_000, "test": 1_000}  # assumed for a data set that does not declare its size


@dataclass(frozen=True)
class Resources:
    """Threads, memory (host, MB), wall time (minutes) and GPUs of one job."""

    threads: int
    mem_mb: int
    runtime: int
    gpu: int
    resumes: bool = False

    def grown(self, attempt: int) -> "Resources":
        """Resources of attempt number `attempt`: memory and time grow, for jobs that ran out of either.

        Time grows up to a day. That of a training stays the same: at its limit it is requeued, and resumes.
        """
        runtime = self.runtime if self.resumes else min(self.runtime * attempt, max(self.runtime, _LONG))
        return replace(self, mem_mb=self.mem_mb * attempt, runtime=runtime)


@cache
def resources_of(job: Job) -> Resources:
    """Resources of a job: threads and ranks from its parameters, memory and twice the time of its estimate (trainings 4 to 24
    hours, others 1 to 24)."""
    if job.stage.name in _LIGHT:
        return Resources(1, _BASE_MB, 15, 0)
    if job.stage.name == "prepare_dataset":
        # Cutting a few photographs takes little time, and requesting all cores would delay all other jobs.
        tiles = isinstance(job.config, DatasetConfig) and job.config.layout.kind == "tiles"
        return Resources(1 if tiles else _PREPARE_THREADS, 4 * _BASE_MB, 8 * 60, 0)
    expected = _expected(job)
    training: TrainingConfig | None = getattr(job.config, "training", None)
    ranks, threads = (training.ranks, training.threads) if training else (1, 1)
    memory = _BASE_MB + ranks * _host_megabytes(expected)
    return Resources(
        threads * ranks, memory, _minutes(expected, ranks, resumes=job.stage.resumes), ranks, job.stage.resumes
    )


@cache
def _expected(job: Job) -> Estimate:
    grid = load_grid(job.scale)
    return estimate(grid, job, {**dict.fromkeys(grid.cells("prepare_dataset"), _NOMINAL), **known_sizes(grid)})


@cache
def hours_ahead(job: Job) -> float:
    """Estimated GPU hours of the longest chain of jobs that begins with `job`.

    The job with the most is started first: if the longest chain began last, it would run alone at the end.
    """
    after = (hours_ahead(reader) for reader in _readers(load_grid(job.scale)).get(job.card, ()))
    return _expected(job).gpu_hours + max(after, default=0.0)


@cache
def _readers(grid: Grid) -> Mapping[Path, list[Job]]:
    """The jobs that read each card."""
    readers: dict[Path, list[Job]] = {}
    for job in grid:
        for card in job.inputs.values():
            readers.setdefault(card, []).append(job)
    return readers


@cache
def known_sizes(grid: Grid) -> Mapping[str, Sizes]:
    """Splits of each data set of the grid whose size its parameters declare."""
    sizes = {}
    for cell in grid.cells("prepare_dataset"):
        config = grid.job("prepare_dataset", cell).config
        assert isinstance(config, DatasetConfig)
        if declared := declared_sizes(config):
            sizes[cell] = declared
    return sizes


def _host_megabytes(expected: Estimate) -> int:
    return min(round(expected.gpu_bytes / 1e6), _HOST_MB)


def _minutes(expected: Estimate, ranks: int, *, resumes: bool) -> int:
    least = _SLOT if resumes else _SHORT
    return min(max(round(2 * 60 * expected.gpu_hours / ranks), least), _LONG)
