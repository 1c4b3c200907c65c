"""`dvc repro` on a cluster: when DVC requests the first cell of a stage, all its other cells run too, in parallel.

DVC requests one cell at a time, and deletes the outputs of a cell before it requests it. A cell that has already run is then
restored from its spare copy (`favae.results.publish`).
"""

import os
import subprocess
from collections.abc import Iterator

import psutil

from favae.jobs.grid import Grid
from favae.results.cards import content_key, input_hashes
from favae.results.publish import restore_spare
from favae.results.status import State, statuses

_TOGETHER = "FAVAE_TOGETHER"  # set in the Snakemake that runs the cells of a stage together


def run_together(grid: Grid) -> None:
    """Inside `SNAKEMAKE_PROFILE=... dvc repro`: make the cell that DVC requests, before this Snakemake plans.

    If it has already run together with an earlier cell, its spare copy is restored; otherwise it runs together with others,
    in a separate Snakemake.
    """
    asked = os.environ.get("DVC_STAGE", "")
    if "@" not in asked or "SNAKEMAKE_PROFILE" not in os.environ or _TOGETHER in os.environ:
        return
    stage, cell = asked.split("@")
    job = grid.job(stage, cell)
    if job.card.exists() or not all(path.exists() for path in job.inputs.values()):
        return
    if restore_spare(job, content_key(job, input_hashes(job))) is None and (others := list(_beside(grid, stage, cell))):
        command = ["snakemake", "--allowed-rules", stage, "--", job.card.as_posix(), *others]
        subprocess.run(command, env=os.environ | {_TOGETHER: "yes"}, check=False)  # failures show when DVC's cell runs


def _beside(grid: Grid, stage: str, cell: str) -> Iterator[str]:
    """Cards of the other cells of the stage that are not current but whose inputs are; none if DVC was given targets."""
    if _dvc_was_given_targets():
        return
    rows = statuses(grid.scale, check="sizes")
    current = {job.card for job, state, _ in rows if state is State.OK}
    for job, state, _ in rows:
        other = job.stage.name == stage and job.cell != cell
        if other and state is not State.OK and current.issuperset(job.inputs.values()):
            yield job.card.as_posix()


def _dvc_was_given_targets() -> bool:
    """Whether the `dvc repro` that started this process was given targets, so that no other cell may run."""
    for parent in psutil.Process().parents():
        words = parent.cmdline()
        if "repro" in words:
            return not all(word.startswith("-") for word in words[words.index("repro") + 1 :])
    return True
