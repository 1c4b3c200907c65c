"""What a job will take: images seen, GPU-hours, GPU memory. Estimates, from counted arithmetic and assumed rates.

GPU-hours are FLOPs (two for a multiply-accumulate) over the sustained rate that `RATES` assumes of an H200-class GPU:
nothing here was measured. A training step costs three forward passes of what is trained, and what `autoencoder_flops`
adds. GPU memory is what training keeps (weights, gradients, Adam, activations), with a quarter for temporaries.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from favae.config.autoencoder import AutoencoderSpec
from favae.config.cat import CatSpec, ClipText, GenerateSpec, TokenizeSpec
from favae.config.companions import VaeSpec
from favae.config.dataset import DatasetSpec
from favae.config.evaluation import EvaluationProtocol, ReferenceSpec
from favae.config.training import TrainingSpec
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


def declared_sizes(spec: DatasetSpec) -> Sizes | None:
    """Images of each split as `expected_counts` and `limit` declare them; None where the parameters do not say."""
    if spec.expected_counts is None:
        return None
    limit = spec.limit or {}
    return {split: min(n, limit.get(split, n)) for split, n in spec.expected_counts.items()}


def estimate(grid: Grid, job: Job, sizes: Mapping[str, Sizes]) -> Estimate:
    """Estimate of a job, given the sizes of the data sets (cells of prepare_dataset).

    Raises UnknownSize where that of the one it reads is not among them.
    """
    if job.stage.name in ("make_tables", "make_figures"):
        return Estimate(0)
    dataset = job.cell if job.stage.name == "prepare_dataset" else dataset_of(grid, job)
    if dataset not in sizes:
        raise UnknownSize(f"the size of {dataset} is known once it is prepared")
    size, spec = sizes[dataset], job.spec
    if isinstance(spec, DatasetSpec):
        images = sum(size.values())
        return Estimate(images, disk_bytes=3.0 * images * spec.image_size**2)
    if isinstance(spec, AutoencoderSpec):
        return _autoencoder(spec, size["train"])
    if isinstance(spec, VaeSpec):
        return _latent_model(spec, size["train"])
    if isinstance(spec, CatSpec):
        tokens = grid.job("tokenize_images", job.roles["tokens"])
        return _cat(spec, _model(grid, tokens), size["train"] * captions_of(grid, dataset))
    if isinstance(spec, TokenizeSpec):
        return _tokens(_model(grid, job), spec, sum(size[s] for s in spec.splits))
    if isinstance(spec, GenerateSpec):
        cat = grid.job("train_cat", job.roles["cat"]).spec
        assert isinstance(cat, CatSpec)
        return _generation(spec, cat, _model(grid, job), _count(spec.protocol, size))
    if isinstance(spec, ReferenceSpec):
        return _reference(spec, size)
    if isinstance(spec, EvaluationProtocol):
        return _evaluation(spec, _trained(grid, job), _count(spec, size))
    raise TypeError(f"{job.name}: no estimate for parameters of type {type(spec).__name__}")


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


def adversarial_start(spec: AutoencoderSpec, images: int) -> int:
    """Step from which the discriminator takes part."""
    return spec.objective.adversarial.start.in_steps(images, spec.training.batch_size)


def _trained(grid: Grid, job: Job) -> AutoencoderSpec | VaeSpec:
    spec = grid.job("train_autoencoder", job.roles["model"]).spec
    assert isinstance(spec, AutoencoderSpec | VaeSpec)
    return spec


def _model(grid: Grid, job: Job) -> AutoencoderSpec:
    spec = _trained(grid, job)
    assert isinstance(spec, AutoencoderSpec)
    return spec


def _count(protocol: EvaluationProtocol, size: Sizes) -> int:
    there = size[protocol.split]
    return there if protocol.n == "all" else min(protocol.n, there)


def autoencoder_flops(spec: AutoencoderSpec) -> tuple[float, float]:
    """FLOPs of one image in a training step, before and after the discriminator starts.

    Before: three passes through the autoencoder; LPIPS forward on both images and back on one; the blur of SL and DSL
    three times. After: also the discriminator forward and back to the picture in the G step and three passes on two
    images in the D step, two gradients of the last convolution for the adaptive weight, and, where the D step's
    reconstruction is made again (`recompute`, official code), one more forward pass.
    """
    model, objective = spec.model, spec.objective
    network = autoencoder_cost(model).macs
    lpips = _LPIPS_SHARE[objective.perceptual.network] * vgg_cost(model.image_size).macs
    blurred = objective.spectrum.kind in ("sl", "dsl")
    blur = spectrum_macs(pair_shapes(model)) if blurred else 0
    before = 3 * network + 3 * lpips + 3 * blur
    judge = discriminator_cost(objective.adversarial.discriminator, model.image_channels, model.image_size).macs
    last = model.base_channels * model.image_channels * 9 * model.image_size**2
    again = network if objective.adversarial.reconstruction == "recompute" else 0
    return 2.0 * before, 2.0 * (before + 8 * judge + 2 * last + again)


def _autoencoder(spec: AutoencoderSpec, images: int) -> Estimate:
    training = spec.training
    steps = training.length.in_steps(images, training.batch_size)
    start = min(adversarial_start(spec, images), steps)
    before, after = autoencoder_flops(spec)
    flops = training.batch_size * (start * before + (steps - start) * after)
    hours = _hours(flops, "autoencoder", training.precision)
    judge = discriminator_cost(
        spec.objective.adversarial.discriminator, spec.model.image_channels, spec.model.image_size
    )
    disk = _training_bytes(autoencoder_cost(spec.model).parameters + judge.parameters)
    return Estimate(steps * training.batch_size, steps, flops, hours, autoencoder_bytes(spec), disk)


def _latent_model(spec: VaeSpec, images: int) -> Estimate:
    """Three passes a step; the terms of the objective cost little beside them."""
    training, network = spec.training, latent_model_cost(spec.model)
    steps = training.length.in_steps(images, training.batch_size)
    flops = 2.0 * 3 * steps * training.batch_size * network.macs
    kept = network.kept * _number_bytes(training.precision) * training.batch_size / training.ranks
    memory = _CONTEXT_BYTES + _STATE_BYTES * network.parameters + _OVERHEAD * kept
    hours, disk = _hours(flops, "autoencoder", training.precision), _training_bytes(network.parameters)
    return Estimate(steps * training.batch_size, steps, flops, hours, memory, disk)


def autoencoder_bytes(spec: AutoencoderSpec) -> float:
    """GPU memory of one rank in training."""
    model, objective, training = spec.model, spec.objective, spec.training
    network = autoencoder_cost(model)
    judge = discriminator_cost(objective.adversarial.discriminator, model.image_channels, model.image_size)
    lpips = 2 * _LPIPS_SHARE[objective.perceptual.network] * vgg_cost(model.image_size).kept
    compared = 0 if objective.spectrum.kind == "none" else 3 * sum(c * side**2 for c, side in pair_shapes(model))
    numbers = network.kept * _number_bytes(training.precision) + 4 * (lpips + compared + 2 * judge.kept)
    state = _STATE_BYTES * (network.parameters + judge.parameters)
    return _CONTEXT_BYTES + state + _OVERHEAD * numbers * _at_once(training)


def _cat_cost(spec: CatSpec, autoencoder: AutoencoderSpec) -> tuple[Cost, float]:
    """CAT on one pair, and the multiply-accumulates of its text encoder."""
    model = autoencoder.model
    if isinstance(spec.text, ClipText):
        dim, length, text = CLIP_TEXT["dim"], CLIP_TEXT["tokens"], 1.0 * clip_text_cost().macs
    else:  # trained too: three passes through layers of 12 D^2 weights
        dim, length = spec.text.dim, spec.text.max_tokens
        text = 3.0 * spec.text.layers * 12 * dim**2 * length
    return cat_cost(spec.model, model.quantizer.codes, latent_area(model), dim, length), text


def _cat(spec: CatSpec, autoencoder: AutoencoderSpec, pairs: int) -> Estimate:
    training = spec.training
    steps = training.length.in_steps(pairs, training.batch_size)
    cost, text = _cat_cost(spec, autoencoder)
    flops = 2.0 * steps * training.batch_size * (3 * cost.macs + text)
    kept = cost.kept * _number_bytes(training.precision) * _at_once(training)
    memory = _CONTEXT_BYTES + _STATE_BYTES * cost.parameters + _OVERHEAD * kept
    hours, disk = _hours(flops, "transformer", training.precision), _training_bytes(cost.parameters)
    return Estimate(steps * training.batch_size, steps, flops, hours, memory, disk)


def _tokens(autoencoder: AutoencoderSpec, spec: TokenizeSpec, images: int) -> Estimate:
    cost = encoder_cost(autoencoder.model) + quantizer_cost(autoencoder.model)
    flops = 2.0 * images * cost.macs
    return Estimate(images, None, flops, _hours(flops, "autoencoder", "fp32"), _inference_bytes(cost, spec.batch_size))


def _reference(spec: ReferenceSpec, size: Sizes) -> Estimate:
    chosen = size if "all" in spec.images else spec.images
    images = sum(size[s] if spec.n == "all" else min(spec.n, size[s]) for s in chosen)
    flops = 2.0 * images * (_INCEPTION_MACS if "inception" in spec.feature_networks else 0)
    memory = _CONTEXT_BYTES + spec.batch_size * _INCEPTION_BYTES
    return Estimate(images, None, flops, _hours(flops, "autoencoder", "fp32"), memory)


def _evaluation(protocol: EvaluationProtocol, autoencoder: AutoencoderSpec | VaeSpec, images: int) -> Estimate:
    if isinstance(autoencoder, AutoencoderSpec):
        cost = autoencoder_cost(autoencoder.model)
    else:
        cost = latent_model_cost(autoencoder.model)
    lpips = sum(_LPIPS_SHARE[net] for net in protocol.lpips_nets) * vgg_cost(autoencoder.model.image_size).macs
    # Originals have been through the feature networks: their reference statistics are an input.
    inception = _INCEPTION_MACS if "inception" in protocol.feature_networks else 0
    flops = 2.0 * images * (cost.macs + 2 * lpips + inception)
    hours = _hours(flops, "autoencoder", "fp32")
    return Estimate(images, None, flops, hours, _inference_bytes(cost, protocol.batch_size))


def _generation(spec: GenerateSpec, cat: CatSpec, autoencoder: AutoencoderSpec, images: int) -> Estimate:
    """With a cache each token passes the network once: as many multiply-accumulates as one teacher-forced pass."""
    cost, text = _cat_cost(cat, autoencoder)
    decoder = autoencoder_cost(autoencoder.model)
    samples = images * spec.captions_per_image
    passes = sum(1 if scale == 1 else 2 for scale in spec.guidance)  # guided: with and without text
    drawing = 2.0 * samples * passes * (cost.macs + text)
    decoding = 2.0 * samples * len(spec.guidance) * decoder.macs
    hours = _hours(drawing, "token by token", "fp32") + _hours(decoding, "autoencoder", "fp32")
    memory = _inference_bytes(decoder, spec.batch_size) + 4 * cost.parameters
    return Estimate(samples * len(spec.guidance), None, drawing + decoding, hours, memory)


def _training_bytes(parameters: float) -> float:
    """On disk: two checkpoints (weights and two moments of Adam), two best models beside them, and the result, fp32."""
    return 4.0 * parameters * (2 * 3 + 2 + 1)


def _inference_bytes(cost: Cost, batch_size: int) -> float:
    """Weights, and a tenth of the activations that training keeps: the rest is freed as the pass goes on."""
    return _CONTEXT_BYTES + 4 * cost.parameters + 0.4 * cost.kept * batch_size


def _at_once(training: TrainingSpec) -> float:
    """Images that one rank takes through the model together."""
    return training.batch_size / (training.ranks * training.accumulation)


def _number_bytes(precision: str) -> int:
    return 2 if precision == "bf16" else 4


def _hours(flops: float, network: str, precision: str) -> float:
    return flops / RATES[network, precision] / 3600
