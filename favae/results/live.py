"""Trainings and other jobs while they run, and why they ended, from the files that they write: locks, curves, logs.

Nothing is asked of a job. Its lock, which the kernel releases when the process dies, tells whether it runs, so a job that was
killed shows as stopped, not as running.
"""

import fcntl
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from favae.config.base import Duration
from favae.jobs.estimates import dataset_of
from favae.jobs.grid import Grid, Job
from favae.results.cards import read_card
from favae.results.status import State, state_of
from favae.runtime import paths

CURVES = "curves.jsonl"  # in the folder of unfinished work
_TAIL = 65_536  # bytes at the end of a file that are read
_PROGRESS = re.compile(r" (\d+)/(\d+)  (\S+)/s  ETA (\S+)")
_MESSAGE = re.compile(r"^\d{4}-\S+ \S+ (WARNING|ERROR) (.*)")


class Phase(StrEnum):
    """What a job is doing."""

    DONE = "done"
    RUNNING = "running"
    FAILED = "failed"
    STOPPED = "stopped"
    WAITING = "waiting"


@dataclass(frozen=True)
class Live:
    """A job as its files show it: steps, last losses, what it said last, and its newest sample images."""

    job: Job
    phase: Phase
    step: int = 0
    total: int | None = None
    losses: dict[str, float] = field(default_factory=dict)
    eta: str = ""
    reason: str = ""
    state: Path | None = None  # folder of its unfinished work
    image: Path | None = None

    @property
    def progress(self) -> str:
        """Steps done and in total; empty for a job without steps."""
        if not self.step:
            return ""
        return f"{self.step}/{self.total} ({self.step / self.total:.0%})" if self.total else str(self.step)


def look(grid: Grid, job: Job) -> Live:
    """One job, from its files as they are now."""
    state = newest_state(job)
    losses = last_losses(state / CURVES) if state else {}
    step = int(losses.pop("step", 0))
    log = _tail(paths.log(job.scale, job.stage.name, job.cell))
    if is_held(paths.cell_lock(job.scale, job.stage.name, job.cell)):
        phase, reason = Phase.RUNNING, ""
    elif state_of(job, check="sizes")[0] is State.OK:
        return Live(job, Phase.DONE)
    else:
        phase, reason = _ending(log, started=state is not None)
    eta = _eta(log) if phase is Phase.RUNNING else ""
    image = state / paths.SAMPLES if state and (state / paths.SAMPLES).exists() else None
    return Live(job, phase, step, _steps(grid, job), losses, eta, reason, state, image)


def newest_state(job: Job) -> Path | None:
    """The state folder of a job that was written last; None where there is none."""
    folder = paths.cell_lock(job.scale, job.stage.name, job.cell).parent
    kept = {paths.spare_dir, paths.kept_dir}
    aside = {make(job.scale, job.stage.name, job.cell).name for make in kept}
    states = [path for path in folder.glob("*/") if path.name not in aside] if folder.is_dir() else []
    return max(states, key=lambda path: path.stat().st_mtime, default=None)


def rows_after(curves: Path, step: int) -> Iterator[tuple[int, dict[str, float]]]:
    """(step, values) of each whole row of `curves.jsonl` after a step."""
    if not curves.exists():
        return
    with curves.open("rb") as file:
        for line in file:
            row = _row(line)
            if row is not None and row["step"] > step:
                yield int(row.pop("step")), row


def last_losses(curves: Path) -> dict[str, float]:
    """The last step and the last value of each loss. Reads the end of the file only."""
    found: dict[str, float] = {}
    for line in reversed(_tail(curves).splitlines()):
        row = _row(line.encode())
        for name, value in (row or {}).items():
            found.setdefault(name, value)
    return found


def _row(line: bytes) -> dict[str, float] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):  # being written, or damaged
        return None
    whole = isinstance(row, dict) and "step" in row and all(type(value) in (int, float) for value in row.values())
    return row if whole else None


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            return file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""


def is_held(lock: Path) -> bool:
    """Whether a process holds a lock. It is asked for, shared and without waiting, and given back at once."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _ending(log: str, *, started: bool) -> tuple[Phase, str]:
    """Why a job without a result does not run: the last error in its log, that it was stopped, or that it never began."""
    said = [match.groups() for line in log.splitlines() if (match := _MESSAGE.match(line))]
    errors = [text for level, text in said if level == "ERROR"]
    if errors:
        return Phase.FAILED, errors[-1]
    if not started:
        return Phase.WAITING, ""
    stops = [text for _, text in said if "stopped by a signal" in text]
    killed = "the process ended without a message (killed, or the machine went down)"
    return Phase.STOPPED, stops[-1] if stops else killed


def _eta(log: str) -> str:
    found = _PROGRESS.findall(log)
    return found[-1][3] if found else ""


def _steps(grid: Grid, job: Job) -> int | None:
    """Steps of a training; None for other jobs, or where its data set is not prepared."""
    training = getattr(job.config, "training", None)
    if training is None or not isinstance(length := training.length, Duration):
        return None
    try:
        card = read_card(grid.job("prepare_dataset", dataset_of(grid, job)).card)
    except (FileNotFoundError, ValueError, KeyError):
        return None
    return length.in_steps(int(card.summary["counts"]["train"]), training.batch_size)
