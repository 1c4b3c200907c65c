"""Running the jobs of a scale once more in a few steps, by one version of the code and parameters in a folder of its own."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from favae.config.load import deep_merge
from favae.jobs.grid import Grid, Job
from favae.runtime import paths
from favae.runtime.hashes import sha256_file

_COPIED = ("favae", "params", "constraints.txt")  # of the present code
_TRAINING = {
    "batch_size": 4,
    "length": "6 steps",
    "validate_every": "3 steps",
    "checkpoint_every": "2 steps",
    "log_every": 1,
}
# Numbers of the small job by stage, merged over those of the scale: sizes like those of the tests.
NUMBERS: dict[str, dict[str, Any]] = {
    "train_autoencoder": {"training": _TRAINING},
    "train_cat": {"training": _TRAINING},
    "train_generator": {"training": _TRAINING},
    "train_segmenter": {"training": _TRAINING},
    "compute_reference_statistics": {"n": 32},
    "evaluate_reconstruction": {"n": 16},  # some test splits have few images more
    "evaluate_generator": {"n": 8},  # sets of other people's images are as small
    "evaluate_segmentation": {"n": 32},
    "generate_images": {"protocol": {"n": 8}},
    "evaluate_captions": {"n": 8},
}
_SHIPPED = "natural"  # row of params/datasets.yaml whose images are part of Python packages
_OF_RAW_DATA = ("layout", "more_training")  # of a data set's parameters: where its files lie
_LARGE = 500_000_000  # bytes of a prepared data set
# Runs in the other version: its command line is the one interface that all versions share.
_DRIVER = """
import contextlib, io, json, logging, sys, threading
from favae.cli.main import app
logging.disable(logging.ERROR)
watch, scale, *cells = sys.argv[1:]
ran = set()
def note(frame, event, argument):
    if event == "call" and (module := frame.f_globals.get("__name__", "")).startswith("favae."):
        ran.add(f"{module}:" + frame.f_code.co_qualname.partition(".<locals>")[0])
for cell in cells:
    problem, said = "", io.StringIO()
    ran.clear()
    if watch:
        threading.setprofile(note)
        sys.setprofile(note)
    try:
        with contextlib.redirect_stderr(said):
            code = app(["run", *cell.split("/"), "--scale", scale, "--threads", "1"], standalone_mode=False)
        if code:
            problem = f"exit code {code}: " + (said.getvalue().strip().splitlines() or ["no message"])[-1]
    except BaseException as error:
        problem = f"{type(error).__name__}: {error}"
    sys.setprofile(None)
    print("\\n@@" + json.dumps([cell, problem, sorted(ran)]), flush=True)
"""


@dataclass
class Side:
    """One version of code and parameters in a folder, and what went wrong there, by `stage/cell`."""

    root: Path
    watch: bool = False  # whether to keep which functions ran, which takes time
    problems: dict[str, str] = field(default_factory=dict)
    ran: dict[str, set[str]] = field(default_factory=dict)  # functions of the package that a cell's job called

    def run(self, scale: str, cells: Sequence[str]) -> None:
        """Make the results of cells, inputs first, on the CPU, in one process."""
        environment = os.environ | {
            "PYTHONPATH": str(self.root),
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
            "FAVAE_RAW": str(paths.raw_root().resolve()),
        }
        command = [sys.executable, "-c", _DRIVER, "watch" if self.watch else "", scale, *cells]
        done = subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)
        ended = (done.stderr.strip().splitlines() or ["no message"])[-1]
        self.problems |= dict.fromkeys(cells, f"the process ended: {ended}")
        for cell, problem, ran in (json.loads(line[2:]) for line in done.stdout.splitlines() if line.startswith("@@")):
            self.problems[cell], self.ran[cell] = problem, set(ran)

    def files(self, job: Job) -> dict[str, Path]:
        """Files of a result by their path in the project, as its card lists them."""
        card = json.loads((self.root / job.card).read_text(encoding="utf-8"))
        found: dict[str, Path] = {}
        for output in card["outputs"]:
            path = self.root / output
            files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
            # Former versions wrote tables and figures where published ones are.
            name = (
                output.replace(f"reports/{job.scale}/", f"data/{job.scale}/reports/", 1)
                if output.startswith("reports/")
                else output
            )
            found |= {
                (Path(name) / file.relative_to(path)).as_posix(): file
                for file in files
                if not file.name.startswith(".")
            }
        return found

    def shrink(self, grid: Grid) -> None:
        """Merge the numbers of the small job over those of the scale."""
        file = self.root / paths.params_file(grid.scale)
        tree = _read(file)
        for job in grid:
            block = job.sources[1][1]
            if block is not None and block in tree and (numbers := numbers_of(job)):
                tree[block] = deep_merge([tree[block], numbers])
        _write(file, tree)

    def use_shipped_images(self, job: Job) -> None:
        """Let a data set be made of the images that are part of Python packages."""
        rows, numbers = self.root / job.sources[0][0], self.root / job.sources[1][0]
        for file, block in ((rows, job.sources[0][1]), (numbers, job.sources[1][1])):
            assert block is not None
            tree = _read(file)
            own = {key: value for key, value in (tree.get(block) or {}).items() if key not in _OF_RAW_DATA}
            if file == rows:
                own |= {"layout": tree[_SHIPPED]["layout"]}
            tree[block] = own | {"expected_counts": None}
            _write(file, tree)


def numbers_of(job: Job) -> dict[str, Any]:
    """Numbers of the small job. A GAN takes part from the third step."""
    numbers = NUMBERS.get(job.stage.name, {})
    objective = job.parameters.get("objective")
    judged = objective.get("adversarial") if isinstance(objective, Mapping) else None
    if isinstance(judged, Mapping) and "start" in judged:
        return {**numbers, "objective": {"adversarial": {"start": "3 steps"}}}
    return numbers


@contextmanager
def sides(commit: str, folder: Path) -> Iterator[tuple[Side, Side]]:
    """The recorded code, in a git work tree at `commit`, and the present code with its uncommitted changes.

    Raises RuntimeError if git cannot check the commit out.
    """
    recorded, present = folder / "recorded", folder / "present"
    done = subprocess.run(
        ["git", "worktree", "add", "--quiet", "--detach", str(recorded), commit],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the commit {commit[:12]} cannot be checked out: {done.stderr.strip()}")
    try:
        present.mkdir()
        for name in _COPIED:
            source = _installed() if name == "favae" else Path(name)
            if source.is_dir():
                shutil.copytree(source, present / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.exists():
                shutil.copy(source, present / name)
        yield Side(recorded), Side(present)
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(recorded)], capture_output=True, check=False)


def _installed() -> Path:
    import favae

    return Path(favae.__file__).parent


def is_large(job: Job, size: int) -> bool:
    """Whether a prepared data set of `size` bytes is too much for a small job."""
    return job.stage.name == "prepare_dataset" and size > _LARGE


def run_both(grid: Grid, both: Iterable[Side], jobs: Sequence[Job], shipped: set[str]) -> None:
    """Run jobs on both sides. Data sets in `shipped`, and those that one side cannot make, are made of shipped images."""
    pair, done = list(both), set[str]()
    data = [job for job in jobs if job.stage.name == "prepare_dataset"]
    for job in data:
        if job.name in shipped:
            _replace(pair, job)
    for side in pair:
        side.shrink(grid)
    _run(pair, grid.scale, [job.name for job in data])
    for job in data:
        if job.name not in shipped and any(side.problems[job.name] for side in pair):
            shipped.add(job.name)
            _replace(pair, job)
            _run(pair, grid.scale, [job.name])
        done.add(job.name)
    _run(pair, grid.scale, [job.name for job in jobs if job.name not in done])


def _run(pair: Sequence[Side], scale: str, cells: Sequence[str]) -> None:
    """Both sides at a time, each in a process of one thread."""
    with ThreadPoolExecutor(len(pair)) as pool:
        list(pool.map(lambda side: side.run(scale, cells), pair))


def _replace(pair: Iterable[Side], job: Job) -> None:
    for side in pair:
        side.use_shipped_images(job)


def hashes(files: Mapping[str, Path]) -> dict[str, str]:
    """SHA-256 of files by name."""
    return {name: sha256_file(path) for name, path in files.items()}


def _read(file: Path) -> dict[str, Any]:
    return YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))


def _write(file: Path, tree: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(tree, indent=1) + "\n", encoding="utf-8")  # JSON is YAML
