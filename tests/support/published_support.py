"""Small results of a cell, written as its job writes them, and git as a user of the tests."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from favae.data.output import INDEX_COLUMNS
from favae.fingerprint.job import code_of
from favae.jobs.grid import Job, load_grid
from favae.results.cards import content_key, input_hashes, write_card
from favae.results.run_record import RunRecord, environment, write_run_record
from favae.runtime import paths
from favae.stages.make_tables import render
from favae.sync.derived import summary_of

COMMIT = "c" * 40  # no repository here: nobody can ask
IMAGES = 40
PROTOCOL = {"split": "test", "n": "all"}


def work_in_copy(made: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of a project as the working directory, outside of any repository."""
    shutil.copytree(made, copy)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(copy.parent))
    load_grid.cache_clear()
    yield copy
    load_grid.cache_clear()


def measured(value: float) -> dict[str, object]:
    return {"value": value, "n": IMAGES, "protocol": PROTOCOL, "note": None}


def write_outputs(job: Job, shift: float = 0.0) -> dict[str, float]:
    """Files of every output of a job, with values that follow from its name, and the metrics among them."""
    random = np.random.default_rng(sum(job.name.encode()))
    values = pd.DataFrame({"psnr": random.normal(20, 2, IMAGES), "ssim": random.uniform(0.3, 0.9, IMAGES)}) + shift
    metrics = {f"{name}_test": float(column.mean()) for name, column in values.items()}
    if job.stage.name == "generate_images":
        metrics = {f"{name}_test_guidance{g}": random.uniform(1, 9) for name in ("fid", "fd_randconv") for g in (1, 3)}
    ids = [f"image-{i:02}" for i in range(IMAGES)]
    for output in job.stage.outputs:
        path = output.path(job.scale, job.stage.name, job.cell)
        path.parent.mkdir(parents=True, exist_ok=True)
        if output.metrics:
            path.write_text(json.dumps({name: measured(value) for name, value in metrics.items()}))
        elif output.name == paths.IMAGES:
            values.assign(id=ids).to_csv(path, index=False)
        elif output.name == "tables":
            path.mkdir()
            for name, text in render(job).items():
                (path / name).write_text(text, encoding="utf-8")
        elif output.folder:
            path.mkdir()
            (path / "some.png").write_bytes(random.bytes(100))
            if output.name == paths.SHARDS:
                rows = [["train", 0, row, f"cat-{row}", "cat.png", "0" * 64, "", "0 0 24 24"] for row in range(3)]
                pd.DataFrame(rows, columns=INDEX_COLUMNS).to_csv(path / paths.INDEX, index=False)
        else:
            path.write_bytes(random.bytes(100))
    return metrics if any(output.metrics for output in job.stage.outputs) else {}


def write_result(job: Job, shift: float = 0.0) -> None:
    """Outputs, run record and card of a job."""
    metrics = write_outputs(job, shift)
    hashes = input_hashes(job)
    key = content_key(job, hashes)
    record = RunRecord.model_validate(
        environment()
        | {"scale": job.scale, "stage": job.stage.name, "cell": job.cell, "key": key, "metrics": metrics}
        | {"started": "2026-01-01T00:00:00+00:00", "ended": "2026-01-01T00:01:00+00:00", "seconds": 60.0}
        | {"resumed": 0, "device": "cpu", "gpu_seconds": 0.0, "artifacts": []}
        | {"git_commit": COMMIT, "git_dirty": [], "code": code_of(job)}
    )
    write_run_record(record)
    outputs = [output.path(job.scale, job.stage.name, job.cell) for output in job.stage.outputs]
    write_card(job, key, hashes, outputs, summary_of(job) or {})


def set_commit(commit: str, contents: dict[str, str]) -> None:
    """Let all run records of own results name this commit, with these uncommitted contents of files."""
    for path in Path("data/tiny/runs").rglob("*.json"):
        origin = {"git_commit": commit, "git_dirty": list(contents), "git_contents": contents}
        path.write_text(json.dumps(json.loads(path.read_text()) | origin))


def add_experiment() -> None:
    """Add a row of a recipe to the grid, with its training and two evaluations, and to a table."""
    for name, old, new in (
        ("grid", "rows: [baseline, r12-conv],", "rows: [baseline, r12-conv, r4],"),
        (
            "tables",
            "    - id: zero_shot",
            "        - {each: evaluate_reconstruction/*-on-natural}\n    - id: zero_shot",
        ),
    ):
        path = paths.PARAMS / f"{name}.yaml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
    load_grid.cache_clear()


def git(*arguments: str) -> str:
    """A git command in the working directory, by a user of the tests."""
    who = ("-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main")
    return subprocess.run(["git", *who, *arguments], check=True, capture_output=True, text=True).stdout.strip()
