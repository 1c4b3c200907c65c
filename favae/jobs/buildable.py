"""Whether the networks and losses of all jobs of a grid can be built, and whether inputs fit the jobs that read them."""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from favae.config.cat import CatConfig, GenerateConfig
from favae.config.dataset import DatasetConfig
from favae.config.evaluation import EvaluationConfig, ReferenceConfig, too_small
from favae.config.load import Keys, at
from favae.jobs.facts import Facts, Request, cat_request, facts, gather, training_request

if TYPE_CHECKING:
    from favae.jobs.grid import Grid, Job


def training_of(grid: "Grid", job: "Job") -> "Job":
    """The training job of the autoencoder that a job trains or reads."""
    if job.stage.name == "train_autoencoder":
        return job
    if "model" in job.roles:
        return grid.job("train_autoencoder", job.roles["model"])
    return training_of(grid, grid.job("tokenize_images", job.roles["tokens"]))


def autoencoder_facts(grid: "Grid", job: "Job") -> Facts:
    """Facts about the autoencoder of a job (`training_of`) and about its training losses."""
    return facts(training_request(training_of(grid, job).config))


def cat_facts(grid: "Grid", job: "Job") -> Facts:
    """Facts about the CAT that a job of train_cat trains."""
    return facts(_cat_request(grid, job))


def _cat_request(grid: "Grid", job: "Job") -> Request:
    model, config = autoencoder_facts(grid, job), job.config
    assert isinstance(config, CatConfig)
    return cat_request(config, model.sizes["codes"], model.sizes["latent_size"])


def unbuildable(grid: "Grid") -> Iterator[tuple[str, str]]:
    """(job, problem) for everything that a constructor or the first step rejects, and for models that do not fit their inputs.

    Facts that are not cached yet are computed first, in this process.
    """
    for job in grid:
        if "dataset" in job.roles:
            yield from ((job.name, text) for text in _without_metric(grid, job))
    trainings = [job for job in grid if job.stage.name == "train_autoencoder"]
    answers = dict(zip(trainings, gather(training_request(job.config) for job in trainings), strict=True))
    for job, answer in answers.items():
        if answer.problem:
            yield job.name, _line(job, *answer.problem)
    sound = {job.cell for job, answer in answers.items() if not answer.problem}
    jobs = [job for job in grid if {"model", "tokens"} & set(job.roles) and training_of(grid, job).cell in sound]
    for job in [*(job for job in answers if job.cell in sound), *jobs]:
        misfit = list(_misfits(grid, job))
        yield from ((job.name, text) for text in misfit)
        if job.stage.name == "train_cat" and not misfit and (problem := cat_facts(grid, job).problem):
            yield job.name, _line(job, *problem)


def _without_metric(grid: "Grid", job: "Job") -> Iterator[str]:
    """Metrics that do not exist for images as small as those of the job's data set."""
    config, dataset = job.config, grid.job("prepare_dataset", job.roles["dataset"]).config
    assert isinstance(dataset, DatasetConfig)
    prefix: Keys = ("protocol",) if isinstance(config, GenerateConfig) else ()
    protocol = config.protocol if isinstance(config, GenerateConfig) else config
    if isinstance(protocol, ReferenceConfig):
        problems = too_small(dataset.image_size, protocol.feature_networks)
    elif isinstance(protocol, EvaluationConfig):
        networks = protocol.feature_networks if {"frechet", "kid"} & set(protocol.metrics) else ()
        problems = too_small(dataset.image_size, networks, None if prefix else protocol)
    else:
        return
    for key, text in problems:
        yield at((*prefix, *key.split(".")), text, job.where, job.sources)


def _line(job: "Job", block: Keys, message: str) -> str:
    """The problem with file, line and key: the key in `block` that the message mentions, if any."""
    tree: Any = job.parameters
    for key in block:
        tree = tree.get(key, {}) if isinstance(tree, Mapping) else {}
    return at((*block, *_named(tree, message)), message, job.where, job.sources)


def _named(block: Any, message: str) -> Keys:
    """Path within `block` of the key that is mentioned first in `message`; empty if none is."""
    found = []
    for path in _paths(block):
        dotted = ".".join(map(str, path[-2:]))
        for name in {dotted, str(path[-1])}:
            if match := re.search(rf"\b{re.escape(name)}\b", message):
                found.append((match.start(), -len(name), path))
    return min(found, key=lambda place: place[:2])[2] if found else ()


def _paths(block: Any) -> Iterator[Keys]:
    if isinstance(block, Mapping):
        for key, value in block.items():
            yield (key,)
            yield from ((key, *rest) for rest in _paths(value))


def _misfits(grid: "Grid", job: "Job") -> Iterator[str]:
    """Contradictions between a valid model and the data set or protocol of a job."""
    model, sizes = training_of(grid, job), autoencoder_facts(grid, job).sizes
    if "dataset" in job.roles:
        cell = job.roles["dataset"]
        dataset = grid.job("prepare_dataset", cell).config
        assert isinstance(dataset, DatasetConfig)
        for name, wanted, found in (
            ("image_size", sizes["image_size"], dataset.image_size),
            ("image_channels", sizes["image_channels"], dataset.channels),
        ):
            if wanted != found:
                prepared = f"at {found} pixels" if name == "image_size" else f"with {found} channels"
                text = f"is {wanted}, but data set {cell!r} is prepared {prepared}"
                yield at(("model", name), text, model.where, model.sources)
    if job.stage.name in ("tokenize_images", "train_cat", "generate_images") and not sizes["codes"]:
        yield f"{job.where}: model {model.cell!r} has no codebook and so no tokens; use an FA-VAE or VQ-GAN"
    protocol = job.config
    if isinstance(protocol, EvaluationConfig) and protocol.synthesis == "prior" and not sizes["latent"]:
        text = f"prior needs a variational autoencoder, which model {model.cell!r} is not; set it to none"
        yield at(("synthesis",), text, job.where, job.sources)
    if job.stage.name == "generate_images":
        tokens = autoencoder_facts(grid, grid.job("train_cat", job.roles["cat"])).sizes
        if [tokens.get(n) for n in ("codes", "latent_size")] != [sizes[n] for n in ("codes", "latent_size")]:
            text = f"{tokens.get('codes')} codes in a grid of side {tokens.get('latent_size')}"
            mine = f"{sizes['codes']} in one of side {sizes['latent_size']}"
            yield f"{job.where}: CAT {job.roles['cat']!r} writes {text}, model {model.cell!r} reads {mine}"
