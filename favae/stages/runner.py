"""Running one job: validate, lock the cell, use a finished result or spare copy, otherwise do the work and publish it."""

import logging
import os
import shutil
from pathlib import Path
from typing import Any

from favae.config.training import TrainingConfig
from favae.fingerprint.job import Code, code_of
from favae.jobs.grid import Job
from favae.results.cards import Card, content_key, input_hashes, read_card, resume_key
from favae.results.code_state import merged
from favae.results.model_card import write_model_cards
from favae.results.publish import Outcome, cell_lock, publish, restore_spare
from favae.results.raw_data import is_made_from_other
from favae.results.run_record import now
from favae.results.status import State, code_of_result, state_of, statuses
from favae.results.trainings import SUMMARY, training_behind
from favae.runtime import paths
from favae.runtime.files import write_text
from favae.runtime.usage import sampled
from favae.stages.context import Context, run_stage
from favae.stages.failures import cause_of

log = logging.getLogger(__name__)
_BUILD, _CODE = "build", "code.json"  # in the folder of a job's resume state


class InputMissing(FileNotFoundError):
    """An input of the job does not exist yet."""


def run_job(job: Job, threads: int | None = None, log_file: Path | None = None) -> Card:
    """Make the result of `job` with `threads` CPU threads (default: all cores), resuming unfinished work.

    If a training uses several processes, they also write their messages to `log_file`. Raises ConfigError, InputMissing,
    CellBusy and the errors of the stage.
    """
    _validate(job)
    with cell_lock(job):
        card = _made(job, threads, log_file)
    write_model_cards(job)
    return card


def _made(job: Job, threads: int | None, log_file: Path | None) -> Card:
    """A finished result, a spare copy of one, or a new one."""
    hashes = input_hashes(job)
    key = content_key(job, hashes)
    if state_of(job)[0] is State.OK and code_of_result(job).is_current and not is_made_from_other(job):
        card = read_card(job.card)
        if _marks_hold(job, card):
            log.info("%s: already done, key %s", job.name, key[:12])
            return card
    spare_dir = paths.spare_dir(job.scale, job.stage.name, job.cell)
    if not is_made_from_other(job, spare_dir) and (spare := restore_spare(job, key)) and _marks_hold(job, spare):
        log.info("%s: restored a result that was finished before, key %s", job.name, key[:12])
        return spare
    started = now()
    state = paths.state_dir(job.scale, job.stage.name, job.cell, resume_key(job, hashes))
    code = _code(job, state)
    threads = threads or os.cpu_count() or 1
    context = Context(state, _empty(state / _BUILD), threads, log_file, _outdated(job))
    try:
        outcome = _work(job, context)
        outcome.summary |= _behind(job)
        card = publish(job, hashes, context.build, started, outcome, code)
    except Exception as error:
        cause = cause_of(job, error)
        if cause is None:
            raise
        raise cause from error
    shutil.rmtree(context.state)
    return card


def _behind(job: Job) -> dict[str, Any]:
    """For the card of an evaluation: facts of the training that it measured."""
    facts = training_behind({path.as_posix(): None for path in job.inputs.values()}, lambda path: path)
    measured = any(output.metrics for output in job.stage.outputs)
    return {SUMMARY: facts.model_dump()} if facts and measured else {}


def _validate(job: Job) -> None:
    job.config  # noqa: B018  (raises ConfigError)
    missing = [path for path in job.inputs.values() if not path.exists()]
    if missing:
        raise InputMissing(
            f"{job.name}: input {missing[0]} is missing; run `snakemake {job.card}`, which also makes its inputs"
        )


def _code(job: Job, state: Path) -> Code:
    """The code of this run and, where it takes over unfinished work, of the runs before."""
    file = state / _CODE
    before = _code_before(file) if _is_begun(state) and file.exists() else None
    code = merged(before, code_of(job))
    write_text(file, code.model_dump_json() + "\n")
    return code


def _code_before(file: Path) -> Code:
    """The recorded code; of a damaged record, code that no version has."""
    try:
        return Code.model_validate_json(file.read_bytes())
    except ValueError:
        log.warning(
            "%s is damaged, so nothing says which code began this work: the result will count as one of changed code; "
            "to begin anew instead, remove %s",
            file,
            file.parent,
        )
        return Code(units={}, libraries={})


def _is_begun(state: Path) -> bool:
    """Whether a resume state holds work of an earlier start."""
    return state.is_dir() and any(path.name not in (_BUILD, _CODE) for path in state.iterdir())


def _outdated(job: Job) -> tuple[str, ...]:
    """What a collecting job must mark: inputs that other code made."""
    if not job.stage.collects:
        return ()
    changed = {other.name for other, state, _ in statuses(job.scale, check="sizes") if state is State.CODE}
    return tuple(sorted(changed & job.inputs.keys()))


def _marks_hold(job: Job, card: Card) -> bool:
    """Whether all results that a table marks as of changed code still are: made again with the same values, they keep its key."""
    if not job.stage.collects:
        return True
    from favae.stages.make_tables import OUTDATED

    marked = card.summary.get(OUTDATED, [])
    return not marked or set(marked) <= set(_outdated(job))


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _work(job: Job, context: Context) -> Outcome:
    training: TrainingConfig | None = getattr(job.config, "training", None)
    if training is None:
        return run_stage(job, context)
    several = training.ranks > 1
    threads = training.ranks * training.threads if several else context.threads
    file = paths.usage(job.scale, job.stage.name, job.cell)
    with sampled(file, threads, resumed=_is_begun(context.state)):
        if not several:
            return run_stage(job, context)
        from favae.stages.launch import train_on_ranks  # late: it imports torch, which some stages do not need

        return train_on_ranks(job, context, training)
