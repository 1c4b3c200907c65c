"""Recording valid results in DVC: `dvc commit` for exactly the cells whose content key is current."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from tenacity import RetryCallState, retry, retry_if_result, stop_after_delay, wait_fixed

from favae.jobs.grid import Grid, load_grid
from favae.results.publish import drop_spares
from favae.results.status import State, statuses
from favae.runtime import paths
from favae.sync.dvc_yaml import CHECK, renew


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
    """Run DVC of this environment, after any other DVC in this folder has ended. Never call it in a job."""
    return subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True, check=False)


def lock_results(scale: str | None) -> LockReport:
    """Record every cell that is ok in DVC; report the others. Raises RuntimeError with DVC's message if DVC fails."""
    grid = load_grid(scale)
    report = _lock(grid)
    drop_spares(grid)
    return report


def _lock(grid: Grid) -> LockReport:
    active = load_grid(None)
    if grid.scale != active.scale:
        other = f"nothing locked for {grid.scale!r} ({paths.GRID}: active)"
        return LockReport(True, f"dvc.yaml describes the active scale {active.scale!r}; {other}")
    if not Path(".dvc").is_dir():
        return LockReport(True, "no DVC repository here (no .dvc folder); nothing locked")
    lock = paths.dvc_lock()
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        renew()
        rows = statuses(grid.scale)
        valid = [f"{job.stage.name}@{job.cell}" for job, state, _ in rows if state is State.OK]
        refused = [f"{job.name} ({state.value})" for job, state, _ in rows if state is not State.OK]
        if valid:
            # Do not link files from the cache again: that would change their modification times.
            done = dvc("commit", "--force", "--no-relink", CHECK, *valid)
            if done.returncode:
                raise RuntimeError(f"dvc commit failed: {done.stderr.strip()}")
    message = f"locked {len(valid)} of {len(rows)} cells"
    return LockReport(not refused, message + (f"; refused: {', '.join(refused)}" if refused else ""))
