"""`run.json`: when, where and with what a result was made. For people and for MLflow; no job depends on it."""

import json
import os
import platform
import socket
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from favae.config.base import Schema
from favae.runtime import paths
from favae.runtime.files import write_text
from favae.runtime.hashes import sha256_file

_PACKAGES = ("favae", "torch", "torchvision", "numpy", "scipy", "pillow", "snakemake", "dvc", "mlflow")


class RunRecord(Schema):
    """Content of a run record. Times are UTC in ISO 8601, durations in seconds."""

    scale: str
    stage: str
    cell: str
    key: str
    started: str
    ended: str
    seconds: float
    resumed: int  # how often the work was continued after an interruption
    host: str
    platform: str
    device: str
    gpu_seconds: float
    gpu_bytes: int | None = None  # most that was allocated at once, on one GPU; None where none was used
    host_bytes: int | None = None  # most resident memory of one process
    versions: dict[str, str]
    constraints_sha256: str | None
    git_commit: str | None
    git_dirty: list[str] | None
    slurm_job: str | None
    metrics: dict[str, float]
    artifacts: list[str]  # pictures worth showing


def now() -> datetime:
    """Current time, UTC."""
    return datetime.now(UTC)


def head_state() -> dict[str, Any]:
    """Commit and dirty files as the head process wrote them, or an empty mapping."""
    try:
        return json.loads(paths.head_provenance().read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def environment() -> dict[str, Any]:
    """The part of a run record that is known before the work begins."""
    constraints = Path("constraints.txt")
    head = head_state()
    return {
        "host": socket.gethostname(),
        "platform": f"{platform.platform()}, Python {sys.version.split()[0]}",
        "versions": {name: version(name) for name in _PACKAGES},
        "constraints_sha256": sha256_file(constraints) if constraints.exists() else None,
        "git_commit": head.get("commit"),
        "git_dirty": head.get("dirty"),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }


def write_run_record(record: RunRecord) -> Path:
    """Write the record of a finished job, atomically; returns its path."""
    path = paths.run_record(record.scale, record.stage, record.cell)
    write_text(path, json.dumps(record.model_dump(), indent=1, sort_keys=True) + "\n")
    return path


def read_run_record(scale: str, stage: str, cell: str) -> RunRecord | None:
    """The record of a cell, or None where there is none."""
    path = paths.run_record(scale, stage, cell)
    return RunRecord.model_validate_json(path.read_text()) if path.exists() else None
