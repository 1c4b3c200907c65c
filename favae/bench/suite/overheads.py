"""What the workflow costs beside its jobs: planning, asking for the state, starting a command."""

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ruamel.yaml import YAML

from favae.bench.section import Row, Section, Settings
from favae.config.load import read_yaml
from favae.jobs.grid import load_grid
from favae.runtime import paths

_PROJECT = ("Snakefile", "workflow", "profiles", "params")
_BULK_JOBS = 500
_REPEATS = 3
_FAVAE = (sys.executable, "-c", "from favae.cli.main import entry; entry()")
_SNAKEMAKE = (sys.executable, "-m", "snakemake", "-n", "--quiet", "all", "--config")
_DVC = (sys.executable, "-m", "dvc")


def _rows(settings: Settings) -> Iterator[Row]:
    """One after the other. Raises RuntimeError where a command fails, with its message."""
    here, repeats = Path(), 1 if settings.quick else min(settings.rounds, _REPEATS)
    yield _row("favae --help", None, _time(here, repeats, *_FAVAE, "--help"), 0.3)
    with tempfile.TemporaryDirectory() as folder:
        copy = _copy(Path(folder))
        jobs = len(load_grid("paper").jobs)
        yield _row("snakemake -n, scale paper", jobs, _time(copy, repeats, *_SNAKEMAKE, "scale=paper"), 4.0)
        jobs = _write_bulk_grid(copy)
        yield _row("snakemake -n, many cells", jobs, _time(copy, repeats, *_SNAKEMAKE, "scale=bulk"), 10.0)
    jobs = len(load_grid(None).jobs)
    yield _row("favae status", jobs, _time(here, repeats, *_FAVAE, "status"), None)
    yield _row("favae status --fast", jobs, _time(here, repeats, *_FAVAE, "status", "--fast"), None)
    yield _row("dvc status", jobs, _time(here, repeats, *_DVC, "status"), None)


def _row(what: str, jobs: int | None, seconds: float, goal: float | None) -> Row:
    return what, "" if jobs is None else str(jobs), f"{seconds:.2f}", "" if goal is None else f"{goal:g}"


def _copy(folder: Path) -> Path:
    for name in _PROJECT:
        if Path(name).is_dir():
            shutil.copytree(name, folder / name)
        else:
            shutil.copy(name, folder / name)
    return folder


def _write_bulk_grid(project: Path) -> int:
    """Add a scale of 500 jobs to a copy: the paper's first model again and again, each evaluated. Returns the number."""
    grid = dict(read_yaml(paths.GRID))
    paper = grid["paper"]
    name, model = next(iter(paper["train_autoencoder"].items()))
    evaluation = next(cell for cell in paper["evaluate_reconstruction"].values() if cell["model"] == name)
    data, references = paper["prepare_dataset"], paper["compute_reference_statistics"]
    cells = [f"bulk-{number:03d}" for number in range((_BULK_JOBS - len(data) - len(references)) // 2)]
    grid["bulk"] = {
        "name": "bulk",
        "prepare_dataset": data,
        "compute_reference_statistics": references,
        "train_autoencoder": dict.fromkeys(cells, model),
        "evaluate_reconstruction": {cell: evaluation | {"model": cell} for cell in cells},
    }
    YAML(typ="safe", pure=True).dump(grid, project / paths.GRID)
    shutil.copy(project / paths.params_file("paper"), project / paths.params_file("bulk"))
    return len(data) + len(references) + 2 * len(cells)


def _time(folder: Path, repeats: int, *command: str) -> float:
    """Median seconds of a command. Exit code 1 of a state that is not clean is an answer, not a failure."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        seconds.append(time.perf_counter() - start)
        if done.returncode not in ((0, 1) if "status" in command else (0,)):
            raise RuntimeError(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()}")
    return statistics.median(seconds)


SECTION = Section(
    30,
    "Overheads of the workflow",
    ("command", "jobs", "seconds", "goal"),
    _rows,
    "Median of three. Planning is measured in a copy without results, so that every job is planned; the states are those of the "
    "active scale. Nothing in the project is changed.",
)
