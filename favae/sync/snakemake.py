"""After `git checkout`, `dvc checkout` or `dvc pull`: tell Snakemake about results that it did not make.

Snakemake records parameters and times of its own results in `.snakemake/`, which is local to a machine and a commit.
`snakemake --touch` marks every existing result as current, so the cards of wrong results are removed first.
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
    stale = [job.name for job in foreign if state_of(job, check="sizes")[0] is not State.OK]
    if stale:
        raise ConfigError(
            f"{len(stale)} results are not current, such as {stale[0]}, and Snakemake has no record of them: favae adopt"
        )


def _has_record(job: Job) -> bool:
    name = urlsafe_b64encode(job.card.as_posix().encode()).decode()
    return any(Path(".snakemake", kind, name).exists() for kind in ("metadata", "incomplete"))


@dataclass(frozen=True)
class Adoption:
    """Results that were marked as current, and those whose card was removed, so that Snakemake makes them again."""

    adopted: list[Job]
    removed: list[tuple[Job, str]]  # with the reason
    missing: list[Job]

    @property
    def message(self) -> str:
        """One line with the counts, and one line per card that was removed."""
        lines = [f"adopted {len(self.adopted)}, removed {len(self.removed)}, missing {len(self.missing)}"]
        return "\n".join([*lines, *(f"removed the card of {job.name}: {reason}" for job, reason in self.removed)])


def adopt(scale: str | None) -> Adoption:
    """Verify key and bytes of every result of a scale, remove the cards of those that fail, mark the others as current.

    Only cards are removed, never a checkpoint: a cell without a card runs again even if its other files exist.

    Raises:
        ProjectBusy: Snakemake is running in this folder.
        RuntimeError: `snakemake --touch` failed.
    """
    grid = load_grid(scale)
    with project_held():
        return _adopt(grid)


def _adopt(grid: Grid) -> Adoption:
    report = Adoption([], [], [])
    for job in grid:  # inputs first: removing a card makes the results that depend on it stale
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
    """Touch every existing file in the order of the graph, and update Snakemake's records."""
    options = ["--touch", "--forceall", "--no-hooks", "--cores", "1", "--quiet", "all", "--config"]
    command = [sys.executable, "-m", "snakemake", *options, f"scale={scale}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {_ADOPTING: "yes"})
    if done.returncode:
        raise RuntimeError(f"snakemake --touch failed: {(done.stderr or done.stdout).strip()}")
