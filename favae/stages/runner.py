"""Running one job: validate, lock the cell, already finished?, spare copy?, work in the state folder, publish."""

import logging
import os
import shutil
from pathlib import Path

from favae.config.training import TrainingConfig
from favae.jobs.grid import Job
from favae.results.cards import Card, content_key, input_hashes, read_card, resume_key
from favae.results.publish import Outcome, cell_lock, publish, restore_spare
from favae.results.run_record import now
from favae.results.status import State, state_of
from favae.runtime import paths
from favae.stages.context import Context, run_stage

log = logging.getLogger(__name__)


class InputMissing(FileNotFoundError):
    """A job was started before what it needs was made."""


def run_job(job: Job, threads: int | None = None, log_file: Path | None = None) -> Card:
    """Make the result of `job`, or resume making it, with so many CPU threads (default: all cores).

    `log_file` is where the processes of a training in several also write their messages. Raises ConfigError, InputMissing,
    CellBusy and the stage's errors.
    """
    _validate(job)
    with cell_lock(job):
        hashes = input_hashes(job)
        key = content_key(job, hashes)
        if state_of(job)[0] is State.OK:
            log.info("%s: already there with key %s", job.name, key[:12])
            return read_card(job.card)
        if spare := restore_spare(job, key):
            log.info("%s: restored, finished before with key %s", job.name, key[:12])
            return spare
        started = now()
        state = paths.state_dir(job.scale, job.stage.name, job.cell, resume_key(job, hashes))
        context = Context(state, _empty(state / "build"), threads or os.cpu_count() or 1, log_file)
        card = publish(job, hashes, context.build, started, _work(job, context))
        shutil.rmtree(context.state)
    return card


def _validate(job: Job) -> None:
    job.config  # noqa: B018  (raises ConfigError)
    missing = [path for path in job.inputs.values() if not path.exists()]
    if missing:
        raise InputMissing(
            f"{job.name}: input {missing[0]} is missing; run `snakemake {job.card}` to make all it needs"
        )


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _work(job: Job, context: Context) -> Outcome:
    training: TrainingConfig | None = getattr(job.config, "training", None)
    if training is not None and training.ranks > 1:
        from favae.stages.launch import train_on_ranks  # imports torch, which the light stages do without

        return train_on_ranks(job, context, training)
    return run_stage(job, context)
