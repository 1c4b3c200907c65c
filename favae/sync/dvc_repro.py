"""`dvc repro` on a cluster: when DVC requests the first cell of a stage, all its other cells run too, in parallel.

DVC requests one cell at a time, and deletes the outputs of a cell before it requests it. A cell that has already run is then
restored from its spare copy (`favae.results.publish`).
"""

import logging
import os
import subprocess
from collections.abc import Iterator

import psutil

from favae.jobs.grid import Grid, Job
from favae.results.cards import content_key, input_hashes
from favae.results.publish import restore_kept, restore_spare
from favae.results.status import State, statuses

log = logging.getLogger(__name__)
_TOGETHER = "FAVAE_TOGETHER"  # set in the Snakemake that runs the cells of a stage together


def restore_deleted(grid: Grid) -> None:
    """Inside `dvc repro`: put back the cell that DVC asks for if it deleted a whole result with the current key.

    DVC does so when its cache is gone. With `--force` a person wants the cell made again.
    """
    job = _asked(grid)
    if job is None or job.card.exists() or _is_forced() or not all(path.exists() for path in job.inputs.values()):
        return
    if restore_kept(job, content_key(job, input_hashes(job))):
        log.warning("%s: whole, but not in DVC's cache; put back instead of made again", job.name)


def run_together(grid: Grid) -> None:
    """Inside `SNAKEMAKE_PROFILE=... dvc repro`: make the cell that DVC requests, before this Snakemake plans.

    If it has already run together with an earlier cell, its spare copy is restored; otherwise it runs together with others,
    in a separate Snakemake.
    """
    job = _asked(grid)
    if job is None or "SNAKEMAKE_PROFILE" not in os.environ or _TOGETHER in os.environ:
        return
    if job.card.exists() or not all(path.exists() for path in job.inputs.values()):
        return
    stage, cell = job.stage.name, job.cell
    if restore_spare(job, content_key(job, input_hashes(job))) is None and (others := list(_beside(grid, stage, cell))):
        command = ["snakemake", "--allowed-rules", stage, "--", job.card.as_posix(), *others]
        subprocess.run(command, env=os.environ | {_TOGETHER: "yes"}, check=False)  # failures show when DVC's cell runs


def _asked(grid: Grid) -> Job | None:
    """The cell that the `dvc repro` above this process asks for."""
    stage, separator, cell = os.environ.get("DVC_STAGE", "").partition("@")
    return grid.job(stage, cell) if separator else None


def _beside(grid: Grid, stage: str, cell: str) -> Iterator[str]:
    """Cards of the other cells of the stage that are not current but whose inputs are; none if DVC was given targets."""
    if _dvc_was_given_targets():
        return
    rows = statuses(grid.scale, check="sizes", origin=False)
    current = {job.card for job, state, _ in rows if state is State.OK}
    for job, state, _ in rows:
        other = job.stage.name == stage and job.cell != cell
        if other and state is not State.OK and current.issuperset(job.inputs.values()):
            yield job.card.as_posix()


def _dvc_was_given_targets() -> bool:
    """Whether the `dvc repro` above this process names stages; then it wants no others."""
    words = _words_of_dvc()
    return words is None or not all(word.startswith("-") for word in words)


def _is_forced() -> bool:
    """Whether the `dvc repro` above this process was told to run what has not changed."""
    words = _words_of_dvc() or []
    short = any(word[0] == "-" and word[1:2] != "-" and "f" in word for word in words if word)
    return short or "--force" in words


def _words_of_dvc() -> list[str] | None:
    """What stands behind `repro` (or `exp run`) in the command line of the DVC above this process; None without one."""
    for parent in psutil.Process().parents():
        words = parent.cmdline()
        for command in ("repro", "run"):
            if command in words and any("dvc" in word for word in words[: words.index(command)]):
                return words[words.index(command) + 1 :]
    return None
