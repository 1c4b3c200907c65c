"""Whether the networks and losses of all jobs of a grid can be built, and whether inputs fit the jobs that read them."""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from favae.config.cat import CatConfig, GenerateConfig
from favae.config.dataset import DatasetConfig
from favae.config.evaluation import (
    LABELLED_CLASSES,
    EvaluationConfig,
    GeneratorEvaluationConfig,
    LabelNetworkName,
    ReferenceConfig,
    too_small,
)
from favae.config.gan import GeneratorTrainingConfig
from favae.config.load import Keys, at
from favae.config.pairs import LabelsConditionConfig, PairsLayoutConfig
from favae.config.segmentation import SegmenterConfig
from favae.jobs.facts import Facts, Request, cat_request, facts, gather, segmenter_request, training_request

if TYPE_CHECKING:
    from favae.jobs.grid import Grid, Job


_TRAININGS = ("train_autoencoder", "train_generator")
_SAMPLING = ("generate_images", "evaluate_captions")


def training_of(grid: "Grid", job: "Job") -> "Job":
    """The training job of the autoencoder or generator that a job trains or reads."""
    if job.stage.name in _TRAININGS:
        return job
    if "model" in job.roles:
        return grid.job(job.stage.inputs["model"], job.roles["model"])
    return training_of(grid, grid.job("tokenize_images", job.roles["tokens"]))


def model_facts(grid: "Grid", job: "Job") -> Facts:
    """Facts about the autoencoder or generator of a job (`training_of`) and about its training losses."""
    return facts(training_request(training_of(grid, job).config))


def cat_facts(grid: "Grid", job: "Job") -> Facts:
    """Facts about the CAT that a job of train_cat trains."""
    return facts(_cat_request(grid, job))


def _cat_request(grid: "Grid", job: "Job") -> Request:
    model, config = model_facts(grid, job), job.config
    assert isinstance(config, CatConfig)
    return cat_request(config, model.sizes["codes"], model.sizes["latent_size"])


def unbuildable(grid: "Grid") -> Iterator[tuple[str, str]]:
    """(job, problem) for everything that a constructor or the first step rejects, and for models that do not fit their inputs.

    Facts that are not cached yet are computed first, in this process.
    """
    for job in grid:
        if "dataset" in job.roles:
            yield from ((job.name, text) for text in _without_metric(grid, job))
    for job in grid:
        if isinstance(job.config, SegmenterConfig):
            yield from ((job.name, text) for text in _unfit_segmenter(grid, job, job.config))
    trainings = [job for job in grid if job.stage.name in _TRAININGS]
    answers = dict(zip(trainings, gather(training_request(job.config) for job in trainings), strict=True))
    for job, answer in answers.items():
        if answer.problem:
            yield job.name, _line(job, *answer.problem)
    sound = {job for job, answer in answers.items() if not answer.problem}
    jobs = [job for job in grid if {"model", "tokens"} & set(job.roles) and training_of(grid, job) in sound]
    for job in [*(job for job in answers if job in sound), *jobs]:
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


def _compared(sizes: Mapping[str, int], dataset: DatasetConfig) -> Iterator[tuple[str, int, int, str]]:
    """(key of the model, its value, that of the data set, what the data set is) for everything that must be equal."""
    side, width = dataset.image_size, dataset.image_width or dataset.image_size
    yield "image_size", sizes["image_size"], side, f"is prepared at {side} pixels"
    yield "image_width", sizes.get("image_width", sizes["image_size"]), width, f"is prepared {width} pixels wide"
    channels = dataset.channels
    yield "image_channels", sizes["image_channels"], channels, f"is prepared with {channels} channels"
    if not sizes.get("condition_channels"):
        return
    condition = dataset.layout.condition if isinstance(dataset.layout, PairsLayoutConfig) else None
    found = condition.channels if condition else 0
    prepared = f"has conditions of {found} channels" if condition else "has no conditions (layout.kind pairs)"
    name = "map_channels" if isinstance(condition, LabelsConditionConfig) else "in_channels"
    yield name, sizes["condition_channels"], found, prepared


def _misfits(grid: "Grid", job: "Job") -> Iterator[str]:
    """Contradictions between a valid model and the data set or protocol of a job."""
    model, sizes = training_of(grid, job), model_facts(grid, job).sizes
    if "dataset" in job.roles:
        dataset = grid.job("prepare_dataset", job.roles["dataset"]).config
        assert isinstance(dataset, DatasetConfig)
        for name, wanted, found, prepared in _compared(sizes, dataset):
            if wanted != found:
                text = f"is {wanted}, but data set {job.roles['dataset']!r} {prepared}"
                yield at(("model", name), text, model.where, model.sources)
    if job.stage.name == "train_generator":
        yield from _uneven_groups(job, sizes.get("group", 1))
    if job.stage.name in ("tokenize_images", "train_cat", *_SAMPLING) and not sizes["codes"]:
        yield f"{job.where}: model {model.cell!r} has no codebook and so no tokens; use an FA-VAE or VQ-GAN"
    protocol = job.config
    if isinstance(protocol, EvaluationConfig) and protocol.synthesis == "prior" and not sizes["latent"]:
        text = f"prior needs a variational autoencoder, which model {model.cell!r} is not; set it to none"
        yield at(("synthesis",), text, job.where, job.sources)
    if isinstance(protocol, GeneratorEvaluationConfig) and protocol.label_network is not None:
        yield from _unfit_labels(grid, job, protocol.label_network)
    if job.stage.name in _SAMPLING:
        tokens = model_facts(grid, grid.job("train_cat", job.roles["cat"])).sizes
        if [tokens.get(n) for n in ("codes", "latent_size")] != [sizes[n] for n in ("codes", "latent_size")]:
            text = f"{tokens.get('codes')} codes in a grid of side {tokens.get('latent_size')}"
            mine = f"{sizes['codes']} in one of side {sizes['latent_size']}"
            yield f"{job.where}: CAT {job.roles['cat']!r} writes {text}, model {model.cell!r} reads {mine}"

    if job.stage.name == "evaluate_captions":
        yield from _unfit_captions(grid, job)


def _unfit_labels(grid: "Grid", job: "Job", network: LabelNetworkName) -> Iterator[str]:
    """A network that finds labels in images, and a data set that has not its classes."""
    found, wanted = _classes(grid, job), LABELLED_CLASSES[network]
    if found != wanted:
        text = f"{network} judges label maps of {wanted} classes, but data set {job.roles['dataset']!r} has {found or 'none'}"
        yield at(("sets",), f"{text}; leave it out", job.where, job.sources)


def _classes(grid: "Grid", job: "Job") -> int:
    """Classes of the label maps of a job's data set; 0 if it has none."""
    layout = grid.job("prepare_dataset", job.roles["dataset"]).config.layout  # type: ignore[attr-defined]
    condition = layout.condition if isinstance(layout, PairsLayoutConfig) else None
    return condition.classes if isinstance(condition, LabelsConditionConfig) else 0


def _unfit_captions(grid: "Grid", job: "Job") -> Iterator[str]:
    """A data set whose captions do not say what label maps have, or a segmenter of other classes."""
    from favae.data.label_maps import CELEBAMASK_PARTS

    layout = grid.job("prepare_dataset", job.roles["dataset"]).parameters["layout"]
    if layout.get("captions") != "label_maps":
        yield f"{job.where}: data set {job.roles['dataset']!r} has no captions from label maps (captions: label_maps)"
    config, wanted = grid.job("train_segmenter", job.roles["segmenter"]).config, len(CELEBAMASK_PARTS) + 1
    assert isinstance(config, SegmenterConfig)
    if config.model.classes != wanted:
        text = f"finds {config.model.classes} classes, expected the {wanted} of CelebAMask-HQ"
        yield f"{job.where}: segmenter {job.roles['segmenter']!r} {text}"


def segmenter_facts(grid: "Grid", job: "Job") -> Facts:
    """Facts about the segmenter that a job trains."""
    dataset, config = grid.job("prepare_dataset", job.roles["dataset"]).config, job.config
    assert isinstance(dataset, DatasetConfig) and isinstance(config, SegmenterConfig)
    return facts(segmenter_request(config, *dataset.stored_size("val")))


def _unfit_segmenter(grid: "Grid", job: "Job", config: SegmenterConfig) -> Iterator[str]:
    """What the constructor refuses, and a data set without these classes."""
    if problem := segmenter_facts(grid, job).problem:
        yield _line(job, *problem)
    if (found := _classes(grid, job)) != config.model.classes:
        text = f"is {config.model.classes}, but data set {job.roles['dataset']!r} has {found or 'no'} classes"
        yield at(("model", "classes"), text, job.where, job.sources)


def _uneven_groups(job: "Job", group: int) -> Iterator[str]:
    """StyleGAN2 compares the images of a rank in groups."""
    config = job.config
    assert isinstance(config, GeneratorTrainingConfig)
    share = config.training.batch_size // config.training.ranks
    if share > group and share % group:
        text = f"{group} does not divide the {share} images of a rank; change it or training.batch_size"
        yield at(("discriminator", "group"), text, job.where, job.sources)
