"""Requirements of jobs that this machine does not meet: data, weights, disk space, packages. Checked before submission."""

import importlib.metadata
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from favae.config.cat import CatConfig, ClipTextConfig, GenerateConfig
from favae.config.companions import CompanionConfig
from favae.config.dataset import DatasetConfig
from favae.config.evaluation import EvaluationConfig, GeneratorEvaluationConfig, LpipsNet, ReferenceConfig
from favae.config.gan import GeneratorTrainingConfig
from favae.config.training import AutoencoderTrainingConfig
from favae.jobs.grid import Job
from favae.runtime import paths
from favae.runtime.disk import free_space

if TYPE_CHECKING:
    from favae.pretrained.weights import MissingWeights

_EXTRAS = ("workflow", "metrics")  # extras of pyproject.toml that jobs import
_WITHOUT_WEIGHTS = ("randconv",)  # feature networks without a weights file; the others have the name of their entry


@dataclass(frozen=True)
class Need:
    """A missing requirement in one sentence. `blocks`: jobs cannot run without it; otherwise only a metric is not measured."""

    text: str
    blocks: bool


class NeedsMissing(RuntimeError):
    """A requirement of the jobs that are about to run is missing."""


def require(jobs: Iterable[Job]) -> None:
    """Raise NeedsMissing, with one line per item, if data, weights or packages that jobs need are missing."""
    missing = [need.text for need in _blocking(sorted(jobs, key=lambda job: job.name))]
    if missing:
        raise NeedsMissing("nothing was started, because these are missing:\n" + "\n".join(f"  - {t}" for t in missing))


def needs(jobs: list[Job]) -> Iterator[Need]:
    """Everything that is missing for `jobs`, including what only a metric needs."""
    yield from _blocking(jobs)
    for found, name, more in _missing_weights(jobs, _weights_of_metrics):
        yield Need(f"{found.reason} (without it a metric is not measured in {name}{more})", blocks=False)


def _blocking(jobs: list[Job]) -> Iterator[Need]:
    for job in jobs:
        if not isinstance(job.config, DatasetConfig) or job.card.exists():
            continue
        for folder in (paths.raw_root() / root for root in job.config.roots):
            if not folder.is_dir():
                text = (
                    f"raw data {folder} for {job.name}: put the data set there, or set FAVAE_RAW to the folder above it"
                )
                yield Need(text, blocks=True)
    for found, name, more in _missing_weights(jobs, _weights_of_training):
        yield Need(f"{found.reason} (without it {name}{more} cannot run)", blocks=True)
    yield from _missing_packages()


def missing_space(wanted: float) -> Iterator[Need]:
    """A requirement of disk space, if fewer than `wanted` bytes are free under `data`, or left of the user's quota."""
    folder = paths.DATA if paths.DATA.exists() else paths.DATA.parent
    free = free_space(folder)
    if wanted > free:
        text = f"disk space: {wanted / 1e9:,.0f} GB needed (estimate), {free / 1e9:,.0f} GB free in {folder.resolve()}"
        yield Need(text, blocks=False)


def _missing_weights(
    jobs: list[Job], wanted: Callable[[Job], Iterator[str]]
) -> Iterator[tuple["MissingWeights", str, str]]:
    """(missing weights, first job that needs them, " and N more" jobs) for each entry of declared weights."""
    users: dict[str, list[str]] = {}
    for job in jobs:
        for name in sorted(set(wanted(job))):
            users.setdefault(name, []).append(job.name)
    for name, names in users.items():
        # Imported late: it imports torch, which planning rarely needs.
        from favae.pretrained.weights import MissingWeights, find_weights

        found = find_weights(name)
        if isinstance(found, MissingWeights):
            yield found, names[0], f" and {len(names) - 1} more" if len(names) > 1 else ""


def _missing_packages() -> Iterator[Need]:
    """Packages of the core and of the jobs' extras that are not installed."""
    for requirement in importlib.metadata.requires("favae") or []:
        name = re.split(r"[\s;<>=!~\[(]", requirement, maxsplit=1)[0]
        extra = re.search(r"extra == .(\w+)", requirement)
        wanted = extra is None or extra[1] in _EXTRAS
        if wanted and not any(importlib.metadata.distributions(name=name)):
            yield Need(f"the Python package {name} is not installed; run make setup", blocks=True)


def _weights_of_training(job: Job) -> Iterator[str]:
    """Declared weights without which a job cannot run."""
    config = job.config
    if isinstance(config, AutoencoderTrainingConfig):
        yield from _lpips_files(config.pretrained_networks())
    if isinstance(config, GeneratorTrainingConfig):
        yield from _lpips_files(config.pretrained_networks())
    if isinstance(config, CompanionConfig | GeneratorTrainingConfig):
        yield from config.pretrained_weights()
    if isinstance(config, CompanionConfig) and config.weights is not None:
        yield config.weights
    if isinstance(config, CatConfig) and isinstance(config.text, ClipTextConfig):
        yield config.text.weights


def _weights_of_metrics(job: Job) -> Iterator[str]:
    """Declared weights without which a job does not measure something."""
    config = job.config
    if isinstance(config, ReferenceConfig):
        yield from (n for n in config.feature_networks if n not in _WITHOUT_WEIGHTS)
    protocol = config.protocol if isinstance(config, GenerateConfig) else config
    if isinstance(protocol, EvaluationConfig):
        if "lpips" in protocol.metrics:
            yield from _lpips_files(protocol.lpips_nets)
        if {"frechet", "kid"} & set(protocol.metrics):
            yield from (n for n in protocol.feature_networks if n not in _WITHOUT_WEIGHTS)
    if isinstance(protocol, GeneratorEvaluationConfig) and protocol.label_network:
        from favae.pretrained.label_networks import LABEL_WEIGHTS

        yield from LABEL_WEIGHTS[protocol.label_network]


def _lpips_files(networks: Iterable[LpipsNet]) -> Iterator[str]:
    for network in networks:
        from favae.pretrained.lpips import LPIPS_WEIGHTS

        yield LPIPS_WEIGHTS[network]
