"""What grows with the number of cells: recording results in DVC, and the end of a run of Snakemake."""

import contextlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from favae.bench.section import Row, Section, Settings
from favae.bench.suite.overheads import FAVAE, copy_of_project, write_bulk_grid
from favae.fingerprint.job import Code, code_of
from favae.jobs.grid import Job, load_grid
from favae.jobs.stages import StageOutput
from favae.results.cards import input_hashes
from favae.results.publish import Outcome, publish
from favae.results.run_record import now
from favae.runtime import paths

_SCALE = "bulk"
_COPIED = (".dvc/config", ".dvcignore", ".gitignore")
_LOCK, _FINISH = ("lock",), ("internal", "finish")
_QUIET = {"DVC_NO_ANALYTICS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}


def _rows(settings: Settings) -> Iterator[Row]:
    """Raises RuntimeError with the message of a command that fails."""
    for cells in (10,) if settings.quick else (18, 518):
        with TemporaryDirectory() as name:
            yield from _with(_project(Path(name), cells), cells, 1 if settings.quick else 3)


def _with(project: Path, cells: int, repeats: int) -> Iterator[Row]:
    _publish(project, 0, cells - repeats)
    yield _row("favae lock, all cells new", cells, [_time(project, *_LOCK, problems=True)], "", "")
    _time(project, "mlflow-sync")
    times = [_time(project, *_LOCK, problems=True) for _ in range(repeats)]
    yield _row("favae lock, nothing new", cells, times, "3", "")
    times = []
    for number in range(cells - repeats, cells):
        _publish(project, number, number + 1)
        times.append(_time(project, *_FINISH))
    yield _row("end of snakemake, one new cell", cells, times, "", "5")


def _row(what: str, cells: int, times: Iterable[tuple[float, float]], wall_goal: str, cpu_goal: str) -> Row:
    walls, cpus = zip(*times, strict=True)
    return what, str(cells), f"{statistics.median(walls):.2f}", wall_goal, f"{statistics.median(cpus):.2f}", cpu_goal


def _project(folder: Path, cells: int) -> Path:
    """A copy of the project under git and DVC, with a scale of `cells` cells."""
    copy_of_project(folder)
    for name in _COPIED:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(name, folder / name)
    write_bulk_grid(folder, cells, active=True)
    for command in (("git", "init", "-q"), (*FAVAE, "graph")):
        _run(folder, *command)
    return folder


def _time(project: Path, *command: str, problems: bool = False) -> tuple[float, float]:
    """Seconds and CPU seconds of a `favae` command with all that it starts."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    _run(project, *FAVAE, *command, problems=problems)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _run(project: Path, *command: str, problems: bool = False) -> None:
    """Run a command. With `problems`, it may end with 1: some cells are still missing."""
    variables = {name: value for name, value in os.environ.items() if name not in ("MLFLOW_TRACKING_URI", "DVC_STAGE")}
    done = subprocess.run(
        command,
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
        env=variables | _QUIET,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode not in ((0, 1) if problems else (0,)):
        raise RuntimeError(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()}")


def _publish(project: Path, first: int, end: int) -> None:
    """Publish results of jobs, by their numbers, in another process: its working directory is the project."""
    _run(project, sys.executable, "-W", "ignore", "-m", "favae.bench.suite.cells", json.dumps([first, end]))


def _publish_here(first: int, end: int) -> None:
    known: dict[str, Code] = {}
    for job in list(load_grid(_SCALE))[first:end]:
        same = (
            f"{job.stage.name} {job.roles.get('dataset', job.cell)}"  # they have the same recipe, and so the same code
        )
        if same not in known:
            known[same] = code_of(job)
        with TemporaryDirectory(dir=paths.STATE) as name:
            published = [path.as_posix() for output in job.stage.outputs if (path := _write(job, output, Path(name)))]
            outcome = Outcome({}, metrics={"val/l1": 0.5}, published=published)
            publish(job, input_hashes(job), Path(name), now(), outcome, known[same])


def _write(job: Job, output: StageOutput, build: Path) -> Path | None:
    """Write a small file in the place of an output; its path where it is outside of the result's folder."""
    outside = output.where != "result"
    path = output.path(job.scale, job.stage.name, job.cell) if outside else build / output.name
    file = path / "file" if output.folder else path
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".png":
        Image.new("RGB", (8, 8)).save(file)
    elif file.suffix == ".npz":
        np.savez(file, original=np.zeros((1, 8, 8, 3), np.uint8))
    else:
        curve = "step,train/l1\n0,1\n1,0.5\n"
        file.write_text(curve if output.where == "curves" else json.dumps({"of": job.name}), encoding="utf-8")
    return path if outside else None


SECTION = Section(
    32,
    "Growth with the number of cells",
    ("command", "cells", "seconds", "goal", "CPU seconds", "goal"),
    _rows,
    "In a copy of the project whose results are a few bytes each: half of the cells are trainings, each evaluated. The end of a "
    "run records results in DVC and in MLflow. CPU seconds are those of all processes. Medians of three "
    "runs, except the first row of each size.",
    devices=("cpu",),
)


if __name__ == "__main__":
    paths.STATE.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(BrokenPipeError):
        _publish_here(*json.loads(sys.argv[1]))
