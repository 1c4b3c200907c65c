"""After `git checkout`, `dvc checkout` or `dvc pull`: Snakemake learns of results that it did not make.

Snakemake remembers parameters and times of what it made in `.snakemake/`, which no other machine and no other commit
has. What the cards prove, it may believe; what they disprove must go first, since touching blesses whatever is there.
"""

import os
import subprocess
import sys
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path

from favae.config.errors import ConfigError
from favae.jobs.grid import Grid, Job, load_grid
from favae.results.project_lock import project_held
from favae.results.status import State, state_of

_ADOPTING = "FAVAE_ADOPTING"  # set in the Snakemake that `adopt` starts


def refuse_foreign(grid: Grid) -> None:
    """Stop where results of other parameters lie here of which Snakemake has no record: it would say "nothing to be done".

    Such are those of a copy without hidden folders. Inside `dvc repro`, DVC has compared them.

    Raises:
        ConfigError: naming one, and what to type.
    """
    if _ADOPTING in os.environ or "DVC_STAGE" in os.environ:
        return
    foreign = [job for job in grid if job.card.exists() and not _has_record(job)]
    stale = [job.name for job in foreign if state_of(job, verify_bytes=False)[0] is not State.OK]
    if stale:
        raise ConfigError(
            f"{len(stale)} results are not current, such as {stale[0]}, and Snakemake has no record of them: favae adopt"
        )


def _has_record(job: Job) -> bool:
    name = urlsafe_b64encode(job.card.as_posix().encode()).decode()
    return any(Path(".snakemake", kind, name).exists() for kind in ("metadata", "incomplete"))


@dataclass(frozen=True)
class Adoption:
    """Results taken over, and those whose card was removed, so that Snakemake makes them again."""

    adopted: list[Job]
    removed: list[tuple[Job, str]]  # with the reason
    missing: list[Job]

    @property
    def message(self) -> str:
        """One line for the counts and one for each card that was removed."""
        lines = [f"adopted {len(self.adopted)}, removed {len(self.removed)}, missing {len(self.missing)}"]
        return "\n".join([*lines, *(f"removed the card of {job.name}: {reason}" for job, reason in self.removed)])


def adopt(scale: str | None) -> Adoption:
    """Verify every result of a scale by key and bytes, remove the cards of those that fail, date the others in order.

    Only cards are removed, never a checkpoint: Snakemake makes a cell without card again, whatever else is there.

    Raises:
        ProjectBusy: Snakemake is running here.
        RuntimeError: it refuses the project.
    """
    grid = load_grid(scale)
    with project_held():
        return _adopt(grid)


def _adopt(grid: Grid) -> Adoption:
    report = Adoption([], [], [])
    for job in grid:  # inputs first: without its card, what was made from it is stale too
        state, reason = state_of(job)
        if state is State.OK:
            report.adopted.append(job)
        elif state is State.MISSING:
            report.missing.append(job)
        else:
            job.card.unlink()
            report.removed.append((job, reason))
    _touch(grid.scale)
    return report


def _touch(scale: str) -> None:
    """Give every file that is there a time in the order of the graph, and Snakemake its record."""
    options = ["--touch", "--forceall", "--no-hooks", "--cores", "1", "--quiet", "all", "--config"]
    command = [sys.executable, "-m", "snakemake", *options, f"scale={scale}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {_ADOPTING: "yes"})
    if done.returncode:
        raise RuntimeError(f"snakemake --touch failed: {(done.stderr or done.stdout).strip()}")
