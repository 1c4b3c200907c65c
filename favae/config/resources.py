"""What a job asks of the machine, estimated from its parameters. Snakemake passes it to the scheduler."""

import os
from dataclasses import dataclass, replace
from functools import lru_cache

from favae.config.autoencoder import AutoencoderSpec
from favae.config.cat import CatSpec
from favae.config.grid import Job

_BASE_MB = 1500  # python, torch and Snakemake's own process beside it
_LIGHT = {"make_tables", "make_figures"}


@dataclass(frozen=True)
class Resources:
    """Threads, memory (host, MB), wall time (minutes) and GPUs of one job."""

    threads: int
    mem_mb: int
    runtime: int
    gpu: int

    def grown(self, attempt: int) -> "Resources":
        """The same after `attempt` tries: a job that ran out of memory or time gets more."""
        return replace(self, mem_mb=self.mem_mb * attempt, runtime=self.runtime * attempt)


@lru_cache(maxsize=1024)
def resources_of(job: Job) -> Resources:
    """Resources of a job. Training asks for what its parameters say; the other stages for one GPU and a few cores."""
    spec = job.spec
    if isinstance(spec, AutoencoderSpec | CatSpec):
        training = spec.training
        mem = _BASE_MB + (_image_megabytes(spec) * training.batch_size if isinstance(spec, AutoencoderSpec) else 2000)
        return Resources(training.threads * training.ranks, round(mem), 24 * 60, training.ranks)
    if job.stage.name in _LIGHT:
        return Resources(1, _BASE_MB, 15, 0)
    if job.stage.name == "prepare_dataset":
        return Resources(os.cpu_count() or 1, 4 * _BASE_MB, 8 * 60, 0)
    return Resources(1, 2 * _BASE_MB, 4 * 60, 1)


def _image_megabytes(spec: AutoencoderSpec) -> float:
    """Activation memory of one image in training, scaled from about 3 GB at 256 pixels and 128 channels."""
    return 3000 * (spec.model.image_size / 256) ** 2 * spec.model.base_channels / 128
