"""Calling a stage: its context (folders and threads) and its parameters."""

import importlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar, overload

from favae.config.base import Schema
from favae.fingerprint.job import computes_bf16_in_fp32
from favae.jobs.grid import Job
from favae.results.publish import Outcome

Config = TypeVar("Config", bound=Schema)
Other = TypeVar("Other", bound=Schema)


@dataclass(frozen=True)
class Context:
    """Folders, threads and log file of a job."""

    state: Path  # resume state, valid for any number of ranks; remains when a run is interrupted
    build: Path  # files are built here and published together
    threads: int  # CPU threads that the workflow gives this job
    log: Path | None = None  # file to which messages are also written
    outdated: tuple[str, ...] = ()  # inputs, `stage/cell`, that other code than the present one made


@overload
def config_of(job: Job, schema: type[Config], /) -> Config: ...
@overload
def config_of(job: Job, schema: type[Config], other: type[Other], /) -> Config | Other: ...
def config_of(job: Job, *schemas: type[Schema]) -> Schema:
    """The validated parameters of `job`, as one of the `schemas` of its stage.

    Raises:
        ConfigError: the parameters are invalid.
        TypeError: the parameters belong to another stage.
    """
    config = job.config
    if not isinstance(config, schemas):
        expected = " or ".join(schema.__name__ for schema in schemas)
        raise TypeError(f"{job.name}: parameters are a {type(config).__name__}, expected {expected}")
    return config


def run_stage(job: Job, context: Context) -> Outcome:
    """Run `job` in this process: calls `run` of the module with the name of its stage."""
    run = importlib.import_module(f"favae.stages.{job.stage.name}").run
    if not computes_bf16_in_fp32(job.config):
        return run(job, context)
    from favae.runtime.bf16 import NOTE, ProductsInFp32  # late: it imports torch

    with ProductsInFp32():
        outcome: Outcome = run(job, context)
    return replace(outcome, device=f"{outcome.device}, {NOTE}")
