"""Estimates of what a job takes (images, GPU-hours, GPU memory), from operation counts and measured rates.

The cost of one pass through a module is counted from the module (`favae.jobs.facts`). This file adds the number of passes
per step, and the sustained rates of one NVIDIA H100 80GB (`RATES`). GPU-hours are FLOPs (two per multiply-accumulate) divided by the
rate, and no step is shorter than `STEP_SECONDS`. GPU memory is what training keeps (weights, gradients, Adam, activations),
plus a quarter for temporaries.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from favae.config.cat import CaptionTestConfig, CatConfig, GenerateConfig, SamplingConfig, TokenizeConfig
from favae.config.dataset import DatasetConfig
from favae.config.evaluation import EvaluationConfig, GeneratorEvaluationConfig, ReferenceConfig
from favae.config.gan import GeneratorTrainingConfig
from favae.config.segmentation import SegmentationConfig, SegmenterConfig
from favae.config.training import AutoencoderTrainingConfig, TrainingConfig
from favae.jobs.buildable import cat_facts, model_facts, segmenter_facts
from favae.jobs.facts import Facts, ModuleCost, facts, lpips_request, training_request
from favae.jobs.grid import Grid, Job

# Sustained FLOP/s on one NVIDIA H100 80GB, measured with steps of the published sizes ("Planned trainings" in
# workflow/docs/benchmarks.md), not compiled. There autoencoders, pix2pix and SPADE ran at 81 to 103 TFLOP/s in fp32 (convolutions in
# TF32) and 79 to 97 in bf16: an estimate of a large step is wrong by up to a fifth, one of a small step by more. Memory was within a
# third of its estimate. Sampling was measured with a batch of 8; larger batches are faster.
RATES = {
    ("autoencoder", "fp32"): 85e12,
    ("autoencoder", "bf16"): 95e12,
    ("StyleGAN2", "fp32"): 24e12,
    ("transformer", "fp32"): 42e12,
    ("transformer", "bf16"): 184e12,
    ("token by token", "fp32"): 2.7e12,
}
STEP_SECONDS = 0.012  # of pix2pix with one image: the time to start the operations of a step
_INCEPTION_MACS = 5.7e9  # Inception-v3 at 299 pixels, for images of any size
_INCEPTION_BYTES = 20e6  # per image, of its largest activations
# The networks of an autoencoder of any kind.
_NETWORKS = ("encoder", "quantizer", "decoder", "model", "generator")
# Cost of one step in forward passes, by module. Three for trained modules: the forward pass, and the gradients of inputs and
# weights. The cost of LPIPS is that of a pair of images, one of which gets a gradient.
_PASSES = dict.fromkeys((*_NETWORKS, "spectrum"), 3.0) | {"lpips": 1.5}
_TERM_PASSES = 3.0
# With the discriminator: one forward pass and the gradient of the image in the G step, three passes on two images in the
# D step; two gradients of the last convolution for the adaptive weight.
_ADVERSARIAL_PASSES = {"discriminator": 8.0, "last_layer": 2.0}
# Of a generator and its discriminator, in the same unit. SPADE generates a second image and judges both in both steps;
# StyleGAN2 also generates the image of the D step and regularises lazily (path length every 4th step, R1 every 16th).
_GENERATOR_PASSES = {
    "Pix2PixConfig": {"generator": 3.0, "discriminator": 8.0},
    "SpadeConfig": {"generator": 4.0, "discriminator": 10.0},
    "StyleGan2Config": {"generator": 4.75, "discriminator": 8.4},
    "CopyConfig": {},
}
_STATE_BYTES = 16  # per trained parameter: weight, gradient and two moments of Adam in fp32
_OVERHEAD = 1.25  # temporaries (spectra, workspaces) and fragmentation
_CONTEXT_BYTES = 1e9
_MM_CELEBA_CAPTIONS = 10

# Images of ImageNet's size that a core decodes and resizes in a second, measured: the bound of a preparation on a fast disk.
DECODED_PER_CORE = 350

Sizes = Mapping[str, int]  # split -> images


class UnknownSize(LookupError):
    """The parameters do not declare the size of a data set."""


@dataclass(frozen=True)
class Estimate:
    """Estimate of one job. `steps` is None for jobs that are not trainings; zeros mean that no GPU is needed."""

    images: int
    steps: int | None = None
    flops: float = 0.0
    gpu_hours: float = 0.0
    gpu_bytes: float = 0.0
    disk_bytes: float = 0.0  # of prepared images, or of the model and checkpoints of a training


def declared_sizes(config: DatasetConfig) -> Sizes | None:
    """Images of each split as `expected_counts` and `limit` declare them; None without `expected_counts`."""
    if config.expected_counts is None:
        return None
    limit = config.limit or {}
    return {split: min(n, limit.get(split, n)) for split, n in config.expected_counts.items()}


def estimate(grid: Grid, job: Job, sizes: Mapping[str, Sizes]) -> Estimate:
    """Estimate of a job, given the sizes of the data sets (cells of prepare_dataset).

    Raises UnknownSize if the size of the job's data set is not in `sizes`.
    """
    if job.stage.name in ("make_tables", "make_figures"):
        return Estimate(0)
    dataset = job.cell if job.stage.name == "prepare_dataset" else dataset_of(grid, job)
    if dataset not in sizes:
        raise UnknownSize(f"the size of {dataset} is unknown until it is prepared")
    size, config = sizes[dataset], job.config
    if isinstance(config, DatasetConfig):
        images = sum(size.values())
        side, width = config.stored_size("train")
        return Estimate(images, disk_bytes=float(sum(config.planes.values()) * images * side * width))
    if isinstance(config, AutoencoderTrainingConfig):
        return _autoencoder(config, size["train"])
    if isinstance(config, GeneratorTrainingConfig):
        return _generator(config, size["train"])
    if isinstance(config, SegmenterConfig):
        return _segmenter(config, segmenter_facts(grid, job), size["train"])
    if isinstance(config, CatConfig):
        return _cat(config, cat_facts(grid, job), size["train"] * captions_of(grid, dataset))
    model = model_facts(grid, job) if "model" in job.roles else Facts()
    if isinstance(config, TokenizeConfig):
        return _tokens(config, model, sum(size[s] for s in config.splits))
    if isinstance(config, GenerateConfig):
        cat = cat_facts(grid, grid.job("train_cat", job.roles["cat"]))
        return _generation(
            cat, model, config, _count(config.protocol, size) * config.captions_per_image, config.guidance
        )
    if isinstance(config, CaptionTestConfig):
        from favae.data.mask_captions import THINGS

        cat, images = cat_facts(grid, grid.job("train_cat", job.roles["cat"])), _count(config, size)
        return _generation(cat, model, config, 2 * len(THINGS) * images, [config.guidance])
    if isinstance(config, ReferenceConfig):
        return _reference(config, size)
    if isinstance(config, SegmentationConfig):
        cost, images = model.cost("generator"), _count(config, size)
        hours = _hours(2.0 * images * cost.macs, "autoencoder", "fp32")
        return Estimate(images, None, 2.0 * images * cost.macs, hours, _inference_bytes(cost, config.batch_size))
    if isinstance(config, GeneratorEvaluationConfig) and config.n != "all" and not model.sizes["condition_channels"]:
        return _evaluation(config, model, config.n)  # drawn images, of which there may be more than real ones
    if isinstance(config, EvaluationConfig):
        return _evaluation(config, model, _count(config, size))
    raise TypeError(f"{job.name}: no estimate for parameters of type {type(config).__name__}")


def dataset_of(grid: Grid, job: Job) -> str:
    """The cell of prepare_dataset that a job reads, directly or through its tokens."""
    if "dataset" in job.roles:
        return job.roles["dataset"]
    return grid.job("tokenize_images", job.roles["tokens"]).roles["dataset"]


def captions_of(grid: Grid, dataset: str) -> int:
    """Captions per image: each is a separate sample in the training of CAT, as in the official code."""
    layout = grid.job("prepare_dataset", dataset).parameters["layout"]
    named = layout["kind"] == "celebahq" and layout.get("captions", "mm_celebahq") == "mm_celebahq"
    return _MM_CELEBA_CAPTIONS if named else 1


def _count(protocol: EvaluationConfig | SegmentationConfig | CaptionTestConfig, size: Sizes) -> int:
    there = size[protocol.split]
    return there if protocol.n == "all" else min(protocol.n, there)


def autoencoder_flops(config: AutoencoderTrainingConfig) -> tuple[float, float]:
    """FLOPs per image of a training step, before and after the start of the discriminator.

    The second includes one more forward pass if the D step computes the reconstruction again (`recompute`, official code).
    """
    found = facts(training_request(config))
    passes = _PASSES | {name: _TERM_PASSES for name in found.costs if name.startswith("term ")}
    before = sum(number * found.cost(name).macs for name, number in passes.items())
    more = sum(number * found.cost(name).macs for name, number in _ADVERSARIAL_PASSES.items())
    again = found.cost(*_NETWORKS).macs if config.recomputes else 0
    return 2.0 * before, 2.0 * (before + more + again)


def _autoencoder(config: AutoencoderTrainingConfig, images: int) -> Estimate:
    training, found = config.training, facts(training_request(config))
    steps = training.length.in_steps(images, training.batch_size)
    start = min(config.adversarial_start(images) or steps, steps)
    before, after = autoencoder_flops(config)
    flops = training.batch_size * (start * before + (steps - start) * after)
    hours = _hours(flops, "autoencoder", training.precision, steps)
    disk = _training_bytes(found.cost(*_NETWORKS, "discriminator").parameters)
    return Estimate(steps * training.batch_size, steps, flops, hours, autoencoder_bytes(config), disk)


def autoencoder_bytes(config: AutoencoderTrainingConfig) -> float:
    """GPU memory in bytes of one rank in training. Losses compute in fp32; the discriminator sees two images, real and fake."""
    found, training = facts(training_request(config)), config.training
    losses = [name for name in found.costs if name not in (*_NETWORKS, "discriminator")]
    # Group normalisation stays in fp32: measured, an f = 16 model keeps more than half of its memory in bf16.
    share = 0.6 if training.precision == "bf16" else 1.0
    kept = found.cost(*_NETWORKS).kept * share + found.cost(*losses).kept
    kept += 2 * found.cost("discriminator").kept
    state = _STATE_BYTES * found.cost(*_NETWORKS, "discriminator").parameters
    return _CONTEXT_BYTES + state + _OVERHEAD * kept * _at_once(training)


def _generator(config: GeneratorTrainingConfig, images: int) -> Estimate:
    """A generator and its discriminator, with the terms of the objective."""
    training, found = config.training, facts(training_request(config))
    steps = training.length.in_steps(images, training.batch_size)
    passes = _GENERATOR_PASSES[type(config).__name__] | {n: _TERM_PASSES for n in found.costs if n.startswith("term ")}
    flops = 2.0 * steps * training.batch_size * sum(number * found.cost(name).macs for name, number in passes.items())
    parameters = found.cost("generator", "discriminator").parameters
    kept = found.cost("generator").kept + 2 * found.cost("discriminator").kept
    memory = _CONTEXT_BYTES + _STATE_BYTES * parameters + _OVERHEAD * kept * _at_once(training)
    network = "StyleGAN2" if type(config).__name__ == "StyleGan2Config" else "autoencoder"
    hours = _hours(flops, network, training.precision, steps)
    return Estimate(steps * training.batch_size, steps, flops, hours, memory, _training_bytes(parameters))


def _segmenter(config: SegmenterConfig, found: Facts, images: int) -> Estimate:
    """A segmenter: one network, three passes a step."""
    training, cost = config.training, found.cost("segmenter")
    steps = training.length.in_steps(images, training.batch_size)
    flops = 2.0 * 3 * steps * training.batch_size * cost.macs
    memory = _CONTEXT_BYTES + _STATE_BYTES * cost.parameters + _OVERHEAD * cost.kept * _at_once(training)
    hours, disk = _hours(flops, "autoencoder", training.precision, steps), _training_bytes(cost.parameters)
    return Estimate(steps * training.batch_size, steps, flops, hours, memory, disk)


def _cat(config: CatConfig, found: Facts, pairs: int) -> Estimate:
    """CAT and its text encoder, which only runs forward if it is frozen."""
    training = config.training
    steps = training.length.in_steps(pairs, training.batch_size)
    trained = found.cost("cat", "text") if found.sizes["text_trained"] else found.cost("cat")
    macs = 3 * trained.macs + (0 if found.sizes["text_trained"] else found.cost("text").macs)
    flops = 2.0 * steps * training.batch_size * macs
    kept = trained.kept * (0.5 if training.precision == "bf16" else 1.0) * _at_once(training)
    memory = _CONTEXT_BYTES + _STATE_BYTES * trained.parameters + _OVERHEAD * kept
    hours, disk = _hours(flops, "transformer", training.precision, steps), _training_bytes(trained.parameters)
    return Estimate(steps * training.batch_size, steps, flops, hours, memory, disk)


def _tokens(config: TokenizeConfig, model: Facts, images: int) -> Estimate:
    cost = model.cost("encoder", "quantizer")
    flops = 2.0 * images * cost.macs
    hours = _hours(flops, "autoencoder", "fp32")
    return Estimate(images, None, flops, hours, _inference_bytes(cost, config.batch_size))


def _reference(config: ReferenceConfig, size: Sizes) -> Estimate:
    chosen = size if "all" in config.images else config.images
    images = sum(size[s] if config.n == "all" else min(config.n, size[s]) for s in chosen)
    flops = 2.0 * images * (_INCEPTION_MACS if "inception" in config.feature_networks else 0)
    memory = _CONTEXT_BYTES + config.batch_size * _INCEPTION_BYTES
    return Estimate(images, None, flops, _hours(flops, "autoencoder", "fp32"), memory)


def _evaluation(protocol: EvaluationConfig, model: Facts, images: int) -> Estimate:
    """Features of the originals are an input (reference statistics), so only those of the reconstructions are counted."""
    cost = model.cost(*_NETWORKS)
    pairs = [facts(lpips_request(network, model.sizes["image_size"])) for network in protocol.lpips_nets]
    inception = _INCEPTION_MACS if "inception" in protocol.feature_networks else 0
    flops = 2.0 * images * (cost.macs + sum(pair.cost("lpips").macs for pair in pairs) + inception)
    hours = _hours(flops, "autoencoder", "fp32")
    return Estimate(images, None, flops, hours, _inference_bytes(cost, protocol.batch_size))


def _generation(cat: Facts, model: Facts, config: SamplingConfig, samples: int, guidance: Sequence[float]) -> Estimate:
    """With a key-value cache each token passes the network once, so sampling costs as much as one teacher-forced pass."""
    decoder = model.cost("decoder")
    passes = sum(1 if scale == 1 else 2 for scale in guidance)  # guided: with and without text
    drawing = 2.0 * samples * passes * cat.cost("cat", "text").macs
    decoding = 2.0 * samples * len(guidance) * decoder.macs
    hours = _hours(drawing, "token by token", "fp32") + _hours(decoding, "autoencoder", "fp32")
    memory = _inference_bytes(decoder, config.batch_size) + 4 * cat.cost("cat").parameters
    return Estimate(samples * len(guidance), None, drawing + decoding, hours, memory)


def _training_bytes(parameters: float) -> float:
    """Bytes on disk: two checkpoints (weights and two moments of Adam), each with a best model, and the result, in fp32."""
    return 4.0 * parameters * (2 * 3 + 2 + 1)


def _inference_bytes(cost: ModuleCost, batch_size: int) -> float:
    """Bytes of weights, and of a tenth of the activations that training keeps; the rest is freed during the pass."""
    return _CONTEXT_BYTES + 4 * cost.parameters + 0.1 * cost.kept * batch_size


def _at_once(training: TrainingConfig) -> float:
    """Images in one forward pass of one rank."""
    return training.batch_size / (training.ranks * training.accumulation)


def _hours(flops: float, network: str, precision: str, steps: int = 0) -> float:
    return max(flops / RATES[network, precision], steps * STEP_SECONDS) / 3600
