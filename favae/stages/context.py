"""What a stage is given beside its job, and how it is called."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, overload

from favae.config.base import Schema
from favae.jobs.grid import Job
from favae.results.publish import Outcome

Config = TypeVar("Config", bound=Schema)
Other = TypeVar("Other", bound=Schema)


@dataclass(frozen=True)
class Context:
    """Where a job works, and with what."""

    state: Path  # resume state of this content, whatever the number of ranks; stays when a run is interrupted
    build: Path  # artefacts are built here and published together
    threads: int  # CPU threads that the workflow gives this job
    log: Path | None = None  # file that the messages also go to


@overload
def config_of(job: Job, schema: type[Config], /) -> Config: ...
@overload
def config_of(job: Job, schema: type[Config], other: type[Other], /) -> Config | Other: ...
def config_of(job: Job, *schemas: type[Schema]) -> Schema:
    """The validated parameters of `job`, as one of the `schemas` of its stage.

    Raises:
        ConfigError: the parameters are not valid.
        TypeError: they are valid for another stage.
    """
    config = job.config
    if not isinstance(config, schemas):
        expected = " or ".join(schema.__name__ for schema in schemas)
        raise TypeError(f"{job.name}: parameters are a {type(config).__name__}, expected {expected}")
    return config


def run_stage(job: Job, context: Context) -> Outcome:
    """Do the work of `job` in this process: `run` of the module that is named like its stage."""
    return importlib.import_module(f"favae.stages.{job.stage.name}").run(job, context)
