"""Run records: when, where and with what a result was made. For readers and for MLflow; no job depends on them."""

import json
import os
import platform
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from favae.config.base import Schema
from favae.fingerprint.job import Code
from favae.results.git import read_git_record
from favae.runtime import paths
from favae.runtime.files import whole_file, write_text
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
    resumed: int  # number of times that the work was resumed
    host: str
    platform: str
    device: str
    gpu_seconds: float  # seconds times GPUs
    cpu_seconds: float | None = None  # processor time of the job and its processes; None in records of former versions
    gpu_bytes: int | None = None  # peak of allocated memory on one GPU; None without a GPU
    host_bytes: int | None = None  # peak resident memory of one process
    versions: dict[str, str]
    constraints_sha256: str | None
    git_commit: str | None
    git_dirty: list[str] | None
    git_contents: dict[str, str] | None = None  # git's ids of their contents, which identify a later commit of them
    slurm_job: str | None
    code: Code | None = None  # that can affect the result; None in records of former versions
    image: str | None = None  # container image in which it was made
    metrics: dict[str, float]
    artifacts: list[str]  # images for MLflow


def now() -> datetime:
    """Current time, UTC."""
    return datetime.now(UTC)


def environment() -> dict[str, Any]:
    """The part of a run record that is known before the work begins."""
    constraints = Path("constraints.txt")
    git = read_git_record()
    return {
        "host": socket.gethostname(),
        "platform": f"{platform.platform()}, Python {sys.version.split()[0]}",
        "versions": dict(_versions()),
        "constraints_sha256": sha256_file(constraints) if constraints.exists() else None,
        "git_commit": git.get("commit"),
        "git_dirty": git.get("dirty"),
        "git_contents": git.get("contents"),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
        "image": _image(),
    }


def _image() -> str | None:
    """Path or name of the container image, as Apptainer or workflow/container/Containerfile says; None outside of one."""
    names = ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER", "FAVAE_IMAGE")
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def _versions() -> Iterator[tuple[str, str]]:
    """(distribution, version) of the installed packages in `_PACKAGES`."""
    for name in _PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def write_run_record(record: RunRecord) -> Path:
    """Write the record of a finished job, atomically; returns its path."""
    path = paths.run_record(record.scale, record.stage, record.cell)
    write_text(path, text_of_record(record))
    return path


def text_of_record(record: RunRecord) -> str:
    """The content of its file."""
    return json.dumps(record.model_dump(), indent=1, sort_keys=True) + "\n"


def read_run_record(scale: str, stage: str, cell: str) -> RunRecord | None:
    """The record of a cell, or None where there is none."""
    return read_record(paths.run_record(scale, stage, cell))


def read_record(path: Path) -> RunRecord | None:
    """A record, or None where there is none. Raises ValueError where it is not one."""
    try:
        return RunRecord.model_validate_json(whole_file(path))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise ValueError(f"{path}: not a valid run record ({error.error_count()} problems); remove it") from error
