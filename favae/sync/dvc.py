"""Recording valid results in DVC: `dvc commit` for exactly the cells whose content key is current."""

import contextlib
import ctypes
import json
import logging
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from ruamel.yaml.error import YAMLError
from tenacity import RetryCallState, retry, retry_if_result, stop_after_delay, wait_fixed

from favae.fingerprint.memory import keep, recall
from favae.jobs.grid import Job, load_grid
from favae.results.publish import keep_copies
from favae.results.status import State, statuses
from favae.runtime import paths
from favae.runtime.files import move_into_place
from favae.sync.dvc_entries import LOCK, Recorded, recover, without_other_entries
from favae.sync.dvc_yaml import CHECK, renew

log = logging.getLogger(__name__)
_PR_SET_PDEATHSIG = 1
_NAMED = 5  # refused cells in a message
_LINKED = "; DVC follows no link: keep data/ here and let only data/state and data/raw be links to another disk"
_AT_A_TIME = 15  # DVC starts once for so many entries; what each costs grows with their number


@dataclass(frozen=True)
class LockReport:
    """Whether all cells were recorded in DVC, and a message with the counts and the refused cells."""

    complete: bool
    message: str


def _last(state: RetryCallState) -> subprocess.CompletedProcess[str]:
    """Result of the last attempt, after the time limit."""
    assert state.outcome is not None
    return state.outcome.result()


def _is_busy(done: subprocess.CompletedProcess[str]) -> bool:
    """Whether another DVC process holds the repository's lock, for instance one left by a killed `favae lock`."""
    return done.returncode != 0 and any(words in done.stderr for words in ("Unable to acquire lock", "is busy"))


@retry(retry=retry_if_result(_is_busy), wait=wait_fixed(2), stop=stop_after_delay(600), retry_error_callback=_last)
def dvc(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run DVC of this environment, after any other DVC here has ended. Only head-side commands may."""
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, preexec_fn=_die_with_parent
    )


def _die_with_parent() -> None:
    """In the child: let the kernel end it when this process ends, however that happens (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _drop_damaged_rwlock() -> None:
    """Remove DVC's list of who reads and writes if it is cut short: DVC writes it in place, and refuses to start without all of it."""
    path = Path(".dvc/tmp/rwlock")
    for _ in range(2):  # a DVC that runs may be writing it now
        try:
            json.loads(path.read_bytes())
        except FileNotFoundError:
            return
        except ValueError:
            time.sleep(0.5)
        else:
            return
    log.warning("%s is damaged (DVC was killed while writing it); removed", path)
    path.unlink(missing_ok=True)


def unrecorded(scale: str | None) -> list[str]:
    """Valid results that `favae lock` would record, as `stage/cell`. Raises ConfigError where dvc.lock has a merge conflict."""
    grid = load_grid(scale)
    if grid.scale != load_grid(None).scale or not Path(".dvc").is_dir():
        return []
    valid = [job for job, state, _ in statuses(grid.scale, check="sizes") if state is State.OK]
    return [name.replace("@", "/") for name in Recorded(grid).new(valid) if "@" in name]


def _is_cut_short(message: str) -> bool:
    """Whether DVC says that it cannot read `dvc.lock`, which it does not write at once."""
    return LOCK.name in message and any(words in message for words in ("validation failed", "structure is corrupted"))


def _commit(recorded: Recorded, new: dict[str, str], valid: list[Job]) -> None:
    """Let DVC record new entries, some at a time. Raises RuntimeError with DVC's message."""
    with contextlib.suppress(YAMLError):  # damaged: DVC says so
        recorded.write_out()
    names = list(new)
    for first in range(0, len(names), _AT_A_TIME):
        part = {name: new[name] for name in names[first : first + _AT_A_TIME]}
        # Re-linking would give files new times; the content is in the cache either way.
        with without_other_entries():
            done = dvc("commit", "--force", "--no-relink", *part)
            if done.returncode and not _is_cut_short(done.stderr):
                advice = _LINKED if "outside of" in done.stderr else ""
                raise RuntimeError(f"dvc commit failed: {done.stderr.strip()}{advice}")
        if done.returncode:
            log.warning("dvc.lock is damaged (DVC was killed while writing it); it is made again from the results")
            move_into_place(LOCK, paths.STATE / f"{LOCK.name}.damaged")
            recorded = Recorded(recorded.grid)
            return _commit(recorded, recorded.new(valid), valid)
        recorded.remember(part)


def lock_results(scale: str | None) -> LockReport:
    """Record every cell that is ok in DVC; report the others. Raises RuntimeError with DVC's message if DVC fails."""
    grid = load_grid(scale)
    active = load_grid(None)
    if grid.scale != active.scale:
        other = f"nothing locked for {grid.scale!r} ({paths.GRID}: active)"
        return LockReport(True, f"dvc.yaml describes the active scale {active.scale!r}; {other}")
    if not Path(".dvc").is_dir():
        return LockReport(True, "no DVC repository here (no .dvc folder); nothing locked")
    lock = paths.dvc_lock()
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        _drop_damaged_rwlock()
        renew()
        recover()
        recall()
        rows = statuses(grid.scale)
        keep()
        valid = [job for job, state, _ in rows if state is State.OK]
        refused = [f"{job.name} ({state.value})" for job, state, _ in rows if state is not State.OK]
        recorded = Recorded(grid)
        new = recorded.new(valid)
        if refused:  # nothing says that the parameters were checked while results of others are here
            new.pop(CHECK, None)
        if valid and new:
            _commit(recorded, new, valid)
        keep_copies(valid)
    message = f"locked {len(valid)} of {len(rows)} cells"
    more = f" and {len(refused) - _NAMED} more (favae status)" if len(refused) > _NAMED else ""
    return LockReport(not refused, message + (f"; refused: {', '.join(refused[:_NAMED])}{more}" if refused else ""))
