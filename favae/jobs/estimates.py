"""What a job will take: images seen, GPU-hours, GPU memory. Estimates, from counted arithmetic and assumed rates.

GPU-hours are FLOPs (two for a multiply-accumulate) over the sustained rate that `RATES` assumes of an H200-class GPU:
nothing here was measured. A training step costs three forward passes of what is trained, and what `autoencoder_flops`
adds. GPU memory is what training keeps (weights, gradients, Adam, activations), with a quarter for temporaries.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from favae.config.cat import CatConfig, ClipTextConfig, GenerateConfig, TokenizeConfig
from favae.config.companions import CompanionConfig
from favae.config.dataset import DatasetConfig
from favae.config.evaluation import EvaluationConfig, ReferenceConfig
from favae.config.favae import FavaeConfig
from favae.config.training import TrainingConfig
from favae.jobs.costs import (
    CLIP_TEXT,
    Cost,
    autoencoder_cost,
    cat_cost,
    clip_text_cost,
    discriminator_cost,
    encoder_cost,
    latent_area,
    pair_shapes,
    quantizer_cost,
    spectrum_macs,
    vgg_cost,
)
from favae.jobs.grid import Grid, Job
from favae.jobs.latent_costs import latent_model_cost

# Sustained FLOP/s assumed. Convolutions at 256 pixels are bound by memory, and run in TF32 where they are fp32.
RATES = {
    ("autoencoder", "fp32"): 60e12,
    ("autoencoder", "bf16"): 120e12,
    ("transformer", "fp32"): 40e12,
    ("transformer", "bf16"): 300e12,
    ("token by token", "fp32"): 5e12,
}
_INCEPTION_MACS = 5.7e9  # Inception-v3 at 299 pixels
_INCEPTION_BYTES = 20e6  # of its largest activations, an image
_LPIPS_SHARE = {"vgg": 1.0, "alex": 0.043, "squeeze": 0.018, "none": 0.0}  # of VGG16's multiply-accumulates
_STATE_BYTES = 16  # of a trained parameter: weight, gradient, two moments of Adam, fp32
_OVERHEAD = 1.25  # temporaries (spectra, workspaces) and fragments of the allocator
_CONTEXT_BYTES = 1e9
_MM_CELEBA_CAPTIONS = 10

Sizes = Mapping[str, int]  # split -> images


class UnknownSize(LookupError):
    """Parameters alone do not say how many images a data set has."""


@dataclass(frozen=True)
class Estimate:
    """One job. `steps` is None where there are no optimisation steps; zeros are jobs that need no GPU."""

    images: int
    steps: int | None = None
    flops: float = 0.0
    gpu_hours: float = 0.0
    gpu_bytes: float = 0.0
    disk_bytes: float = 0.0  # of prepared pictures, or of a training's model and checkpoints


def declared_sizes(config: DatasetConfig) -> Sizes | None:
    """Images of each split as `expected_counts` and `limit` declare them; None where the parameters do not say."""
    if config.expected_counts is None:
        return None
    limit = config.limit or {}
    return {split: min(n, limit.get(split, n)) for split, n in config.expected_counts.items()}


def estimate(grid: Grid, job: Job, sizes: Mapping[str, Sizes]) -> Estimate:
    """Estimate of a job, given the sizes of the data sets (cells of prepare_dataset).

    Raises UnknownSize where that of the one it reads is not among them.
    """
    if job.stage.name in ("make_tables", "make_figures"):
        return Estimate(0)
    dataset = job.cell if job.stage.name == "prepare_dataset" else dataset_of(grid, job)
    if dataset not in sizes:
        raise UnknownSize(f"the size of {dataset} is known once it is prepared")
    size, config = sizes[dataset], job.config
    if isinstance(config, DatasetConfig):
        images = sum(size.values())
        return Estimate(images, disk_bytes=3.0 * images * config.image_size**2)
    if isinstance(config, FavaeConfig):
        return _autoencoder(config, size["train"])
    if isinstance(config, CompanionConfig):
        return _latent_model(config, size["train"])
    if isinstance(config, CatConfig):
        tokens = grid.job("tokenize_images", job.roles["tokens"])
        return _cat(config, _model(grid, tokens), size["train"] * captions_of(grid, dataset))
    if isinstance(config, TokenizeConfig):
        return _tokens(_model(grid, job), config, sum(size[s] for s in config.splits))
    if isinstance(config, GenerateConfig):
        cat = grid.job("train_cat", job.roles["cat"]).config
        assert isinstance(cat, CatConfig)
        return _generation(config, cat, _model(grid, job), _count(config.protocol, size))
    if isinstance(config, ReferenceConfig):
        return _reference(config, size)
    if isinstance(config, EvaluationConfig):
        return _evaluation(config, _trained(grid, job), _count(config, size))
    raise TypeError(f"{job.name}: no estimate for parameters of type {type(config).__name__}")


def dataset_of(grid: Grid, job: Job) -> str:
    """The cell of prepare_dataset that a job reads, through its tokens if it names none."""
    if "dataset" in job.roles:
        return job.roles["dataset"]
    return grid.job("tokenize_images", job.roles["tokens"]).roles["dataset"]


def captions_of(grid: Grid, dataset: str) -> int:
    """Captions an image: each is a sample of its own when CAT is trained (official code)."""
    layout = grid.job("prepare_dataset", dataset).parameters["layout"]
    named = layout["kind"] == "celebahq" and layout.get("captions", "mm_celebahq") == "mm_celebahq"
    return _MM_CELEBA_CAPTIONS if named else 1


def adversarial_start(config: FavaeConfig, images: int) -> int:
    """Step from which the discriminator takes part."""
    return config.objective.adversarial.start.in_steps(images, config.training.batch_size)


def _trained(grid: Grid, job: Job) -> FavaeConfig | CompanionConfig:
    config = grid.job("train_autoencoder", job.roles["model"]).config
    assert isinstance(config, FavaeConfig | CompanionConfig)
    return config


def _model(grid: Grid, job: Job) -> FavaeConfig:
    config = _trained(grid, job)
    assert isinstance(config, FavaeConfig)
    return config


def _count(protocol: EvaluationConfig, size: Sizes) -> int:
    there = size[protocol.split]
    return there if protocol.n == "all" else min(protocol.n, there)


def autoencoder_flops(config: FavaeConfig) -> tuple[float, float]:
    """FLOPs of one image in a training step, before and after the discriminator starts.

    Before: three passes through the autoencoder; LPIPS forward on both images and back on one; the blur of SL and DSL
    three times. After: also the discriminator forward and back to the picture in the G step and three passes on two
    images in the D step, two gradients of the last convolution for the adaptive weight, and, where the D step's
    reconstruction is made again (`recompute`, official code), one more forward pass.
    """
    model, objective = config.model, config.objective
    network = autoencoder_cost(model).macs
    lpips = _LPIPS_SHARE[objective.perceptual.network] * vgg_cost(model.image_size).macs
    blurred = objective.spectrum.kind in ("sl", "dsl")
    blur = spectrum_macs(pair_shapes(model)) if blurred else 0
    before = 3 * network + 3 * lpips + 3 * blur
    judge = discriminator_cost(objective.adversarial.discriminator, model.image_channels, model.image_size).macs
    last = model.base_channels * model.image_channels * 9 * model.image_size**2
    again = network if objective.adversarial.reconstruction == "recompute" else 0
    return 2.0 * before, 2.0 * (before + 8 * judge + 2 * last + again)


def _autoencoder(config: FavaeConfig, images: int) -> Estimate:
    training = config.training
    steps = training.length.in_steps(images, training.batch_size)
    start = min(adversarial_start(config, images), steps)
    before, after = autoencoder_flops(config)
    flops = training.batch_size * (start * before + (steps - start) * after)
    hours = _hours(flops, "autoencoder", training.precision)
    judge = discriminator_cost(
        config.objective.adversarial.discriminator, config.model.image_channels, config.model.image_size
    )
    disk = _training_bytes(autoencoder_cost(config.model).parameters + judge.parameters)
    return Estimate(steps * training.batch_size, steps, flops, hours, autoencoder_bytes(config), disk)


def _latent_model(config: CompanionConfig, images: int) -> Estimate:
    """Three passes a step; the terms of the objective cost little beside them."""
    training, network = config.training, latent_model_cost(config.model)
    steps = training.length.in_steps(images, training.batch_size)
    flops = 2.0 * 3 * steps * training.batch_size * network.macs
    kept = network.kept * _number_bytes(training.precision) * training.batch_size / training.ranks
    memory = _CONTEXT_BYTES + _STATE_BYTES * network.parameters + _OVERHEAD * kept
    hours, disk = _hours(flops, "autoencoder", training.precision), _training_bytes(network.parameters)
    return Estimate(steps * training.batch_size, steps, flops, hours, memory, disk)


def autoencoder_bytes(config: FavaeConfig) -> float:
    """GPU memory of one rank in training."""
    model, objective, training = config.model, config.objective, config.training
    network = autoencoder_cost(model)
    judge = discriminator_cost(objective.adversarial.discriminator, model.image_channels, model.image_size)
    lpips = 2 * _LPIPS_SHARE[objective.perceptual.network] * vgg_cost(model.image_size).kept
    compared = 0 if objective.spectrum.kind == "none" else 3 * sum(c * side**2 for c, side in pair_shapes(model))
    numbers = network.kept * _number_bytes(training.precision) + 4 * (lpips + compared + 2 * judge.kept)
    state = _STATE_BYTES * (network.parameters + judge.parameters)
    return _CONTEXT_BYTES + state + _OVERHEAD * numbers * _at_once(training)


def _cat_cost(config: CatConfig, autoencoder: FavaeConfig) -> tuple[Cost, float]:
    """CAT on one pair, and the multiply-accumulates of its text encoder."""
    model = autoencoder.model
    if isinstance(config.text, ClipTextConfig):
        dim, length, text = CLIP_TEXT["dim"], CLIP_TEXT["tokens"], 1.0 * clip_text_cost().macs
    else:  # trained too: three passes through layers of 12 D^2 weights
        dim, length = config.text.dim, config.text.max_tokens
        text = 3.0 * config.text.layers * 12 * dim**2 * length
    return cat_cost(config.model, model.quantizer.codes, latent_area(model), dim, length), text


def _cat(config: CatConfig, autoencoder: FavaeConfig, pairs: int) -> Estimate:
    training = config.training
    steps = training.length.in_steps(pairs, training.batch_size)
    cost, text = _cat_cost(config, autoencoder)
    flops = 2.0 * steps * training.batch_size * (3 * cost.macs + text)
    kept = cost.kept * _number_bytes(training.precision) * _at_once(training)
    memory = _CONTEXT_BYTES + _STATE_BYTES * cost.parameters + _OVERHEAD * kept
    hours, disk = _hours(flops, "transformer", training.precision), _training_bytes(cost.parameters)
    return Estimate(steps * training.batch_size, steps, flops, hours, memory, disk)


def _tokens(autoencoder: FavaeConfig, config: TokenizeConfig, images: int) -> Estimate:
    cost = encoder_cost(autoencoder.model) + quantizer_cost(autoencoder.model)
    flops = 2.0 * images * cost.macs
    return Estimate(
        images, None, flops, _hours(flops, "autoencoder", "fp32"), _inference_bytes(cost, config.batch_size)
    )


def _reference(config: ReferenceConfig, size: Sizes) -> Estimate:
    chosen = size if "all" in config.images else config.images
    images = sum(size[s] if config.n == "all" else min(config.n, size[s]) for s in chosen)
    flops = 2.0 * images * (_INCEPTION_MACS if "inception" in config.feature_networks else 0)
    memory = _CONTEXT_BYTES + config.batch_size * _INCEPTION_BYTES
    return Estimate(images, None, flops, _hours(flops, "autoencoder", "fp32"), memory)


def _evaluation(protocol: EvaluationConfig, autoencoder: FavaeConfig | CompanionConfig, images: int) -> Estimate:
    if isinstance(autoencoder, FavaeConfig):
        cost = autoencoder_cost(autoencoder.model)
    else:
        cost = latent_model_cost(autoencoder.model)
    lpips = sum(_LPIPS_SHARE[net] for net in protocol.lpips_nets) * vgg_cost(autoencoder.model.image_size).macs
    # Originals have been through the feature networks: their reference statistics are an input.
    inception = _INCEPTION_MACS if "inception" in protocol.feature_networks else 0
    flops = 2.0 * images * (cost.macs + 2 * lpips + inception)
    hours = _hours(flops, "autoencoder", "fp32")
    return Estimate(images, None, flops, hours, _inference_bytes(cost, protocol.batch_size))


def _generation(config: GenerateConfig, cat: CatConfig, autoencoder: FavaeConfig, images: int) -> Estimate:
    """With a cache each token passes the network once: as many multiply-accumulates as one teacher-forced pass."""
    cost, text = _cat_cost(cat, autoencoder)
    decoder = autoencoder_cost(autoencoder.model)
    samples = images * config.captions_per_image
    passes = sum(1 if scale == 1 else 2 for scale in config.guidance)  # guided: with and without text
    drawing = 2.0 * samples * passes * (cost.macs + text)
    decoding = 2.0 * samples * len(config.guidance) * decoder.macs
    hours = _hours(drawing, "token by token", "fp32") + _hours(decoding, "autoencoder", "fp32")
    memory = _inference_bytes(decoder, config.batch_size) + 4 * cost.parameters
    return Estimate(samples * len(config.guidance), None, drawing + decoding, hours, memory)


def _training_bytes(parameters: float) -> float:
    """On disk: two checkpoints (weights and two moments of Adam), two best models beside them, and the result, fp32."""
    return 4.0 * parameters * (2 * 3 + 2 + 1)


def _inference_bytes(cost: Cost, batch_size: int) -> float:
    """Weights, and a tenth of the activations that training keeps: the rest is freed as the pass goes on."""
    return _CONTEXT_BYTES + 4 * cost.parameters + 0.4 * cost.kept * batch_size


def _at_once(training: TrainingConfig) -> float:
    """Images that one rank takes through the model together."""
    return training.batch_size / (training.ranks * training.accumulation)


def _number_bytes(precision: str) -> int:
    return 2 if precision == "bf16" else 4


def _hours(flops: float, network: str, precision: str) -> float:
    return flops / RATES[network, precision] / 3600
