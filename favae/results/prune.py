"""Leftovers: results of cells that are no longer in the grid, resume states of other parameters or inputs, and columns of
indexes that are gone."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from favae.data.columns import unused_columns
from favae.jobs.grid import STAGES, Grid, load_grid
from favae.results.cards import input_hashes, resume_key
from favae.results.live import is_held
from favae.runtime import paths


def leftovers(scale: str | None) -> list[Path]:
    """Paths that `prune` would remove, except those of a cell that a process is working on.

    For DVC, tables depend on whole folders of cells, including leftover ones.
    """
    grid = load_grid(scale)
    prepared = paths.DATA.glob(f"*/prepare_dataset/*/{paths.SHARDS}")  # of every scale
    return sorted([*_cells_not_in_grid(grid), *_unwanted_states(grid), *unused_columns(prepared)])


def prune(scale: str | None) -> list[Path]:
    """Remove the leftovers of a scale; returns what was removed. Results recorded in dvc.lock can be restored from DVC's cache."""
    found = leftovers(scale)
    for path in found:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return found


def _cells_not_in_grid(grid: Grid) -> Iterator[Path]:
    for stage in STAGES:
        known = set(grid.cells(stage))
        # The path of a cell with any name gives the folder that holds all cells.
        for example in (
            paths.result_dir(grid.scale, stage, "cell"),
            paths.run_record(grid.scale, stage, "cell"),
            paths.curves(grid.scale, stage, "cell"),
            paths.log(grid.scale, stage, "cell"),
            paths.usage(grid.scale, stage, "cell"),
            paths.cell_lock(grid.scale, stage, "cell").parent,
        ):
            for path in example.parent.iterdir() if example.parent.is_dir() else ():
                cell = path.name.partition(".")[0]
                if cell not in known and not is_held(paths.cell_lock(grid.scale, stage, cell)):
                    yield path


def _unwanted_states(grid: Grid) -> Iterator[Path]:
    """Resume states whose key is not the current one of their cell."""
    for job in grid:
        if not all(path.exists() for path in job.inputs.values()):
            continue  # without inputs the key of a cell is unknown, so all its resume states are kept
        if is_held(paths.cell_lock(job.scale, job.stage.name, job.cell)):
            continue  # a job that began with other parameters may still run
        wanted = paths.state_dir(job.scale, job.stage.name, job.cell, resume_key(job, input_hashes(job)))
        copies = (paths.spare_dir, paths.kept_dir)
        known = {wanted, *(copy(job.scale, job.stage.name, job.cell) for copy in copies)}
        if wanted.parent.is_dir():
            yield from (path for path in wanted.parent.iterdir() if path.is_dir() and path not in known)
