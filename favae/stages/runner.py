"""Running one job: resolve, validate, lock the cell, work in the state folder, publish whole, card last."""

import importlib
import logging
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from favae.config.training import TrainingConfig
from favae.jobs.grid import Job
from favae.results.cards import Card, State, content_key, input_hashes, read_card, resume_key, state_of, write_card
from favae.results.kept import keep, restore
from favae.results.run_record import RunRecord, environment, now, write_run_record
from favae.runtime import paths
from favae.runtime.files import move_into_place

log = logging.getLogger(__name__)
_SECONDS_TO_DIE = 5.0  # a killed job may take this long to leave its cell


class InputMissing(FileNotFoundError):
    """A job was started before what it needs was made."""


class CellBusy(RuntimeError):
    """Another process works on the same cell."""


@dataclass
class Context:
    """What a stage gets beside its job, and what it fills in."""

    key: str
    state: Path  # resume state of this content key, whatever the number of ranks; kept when a run is interrupted
    build: Path  # artefacts are made here and published whole
    started: datetime
    summary: dict[str, Any] = field(default_factory=dict)  # to the card: deterministic facts only
    metrics: dict[str, float] = field(default_factory=dict)  # to the run record and MLflow
    artifacts: list[str] = field(default_factory=list)  # pictures worth showing, file names in the result folder
    published: list[Path] = field(default_factory=list)  # outputs outside the result folder (curves, reports)
    device: str = "cpu"
    gpu_seconds: float = 0.0
    gpu_bytes: int | None = None
    resumed: int = 0


def run_job(job: Job) -> Card:
    """Make the result of `job`, or go on making it. Raises ConfigError, InputMissing, CellBusy and the stage's errors."""
    job.config  # noqa: B018  (validate before anything is touched)
    missing = [path for path in job.inputs.values() if not path.exists()]
    if missing:
        raise InputMissing(
            f"{job.name}: input {missing[0]} is missing; run `snakemake {job.card}` to make all it needs"
        )
    with _locked(job):
        hashes = input_hashes(job)
        key = content_key(job, hashes)
        if state_of(job)[0] is State.OK:
            log.info("%s: already there with key %s", job.name, key[:12])
            return read_card(job.card)
        if kept := restore(job, key):
            log.info("%s: put back, finished before with key %s", job.name, key[:12])
            return kept
        context = _prepare(job, key, resume_key(job, hashes))
        _work(job, context)
        card = _publish(job, context, hashes)
        keep(job, card)
        shutil.rmtree(context.state)
    return card


def _work(job: Job, context: Context) -> None:
    training: TrainingConfig | None = getattr(job.config, "training", None)
    if training is not None and training.ranks > 1:
        from favae.stages.launch import train_on_ranks  # imports torch, which the light stages do without

        train_on_ranks(job, context, training)
    else:
        importlib.import_module(f"favae.stages.{job.stage.name}").run(job, context)


@contextmanager
def _locked(job: Job) -> Iterator[None]:
    path = paths.cell_lock(job.scale, job.stage.name, job.cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Freed by the kernel when the process dies, so a killed job never leaves a cell locked. A job that outlived its
    # Snakemake may hold it: the next one does not wait for hours beside a booked GPU, it leaves.
    lock = FileLock(path, timeout=_SECONDS_TO_DIE)
    try:
        lock.acquire()
    except Timeout:
        raise CellBusy(
            f"another process is working on this cell (it holds {path}); start again when it has ended: its result is kept"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _prepare(job: Job, key: str, resume: str) -> Context:
    state = paths.state_dir(job.scale, job.stage.name, job.cell, resume)
    build = state / "build"
    shutil.rmtree(build, ignore_errors=True)
    build.mkdir(parents=True)
    return Context(key, state, build, now())


def _most_resident() -> int:
    """Bytes of resident memory of this process, or of one that it started, at its peak."""
    peaks = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return 1024 * max(peaks)  # Linux counts in KiB


def _publish(job: Job, context: Context, hashes: dict[str, str]) -> Card:
    """Move the built files to the result folder, run record and card last."""
    target = paths.result_dir(job.scale, job.stage.name, job.cell)
    target.mkdir(parents=True, exist_ok=True)
    job.card.unlink(missing_ok=True)  # from here until the new card, this cell has no result
    outputs = list(context.published)
    for built in sorted(context.build.iterdir()):
        destination = target / built.name
        move_into_place(built, destination)
        outputs.append(destination)
    ended = now()
    record = RunRecord(
        scale=job.scale,
        stage=job.stage.name,
        cell=job.cell,
        key=context.key,
        started=context.started.isoformat(timespec="seconds"),
        ended=ended.isoformat(timespec="seconds"),
        seconds=round((ended - context.started).total_seconds(), 3),
        resumed=context.resumed,
        device=context.device,
        gpu_seconds=round(context.gpu_seconds, 1),
        gpu_bytes=context.gpu_bytes,
        host_bytes=_most_resident(),
        metrics=context.metrics,
        artifacts=[(target / name).as_posix() for name in context.artifacts],
        **environment(),
    )
    write_run_record(record)
    return write_card(job, context.key, hashes, sorted(outputs), context.summary)
