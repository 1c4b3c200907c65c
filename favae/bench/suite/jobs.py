"""Steps of planned trainings, as measured and as `favae plan` estimates them."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from favae.bench.memory import peak_while
from favae.bench.networks import random_lpips
from favae.bench.section import Row, Section, Settings
from favae.config.cat import CatConfig
from favae.config.favae import FavaeConfig
from favae.config.gan import GeneratorTrainingConfig
from favae.config.load import deep_merge
from favae.config.pairs import PairsLayoutConfig
from favae.data.batches import Batch
from favae.inference.export import TextToImage
from favae.jobs.estimates import RATES, STEP_SECONDS, autoencoder_flops, declared_sizes, estimate
from favae.jobs.grid import Grid, Job, load_grid
from favae.models import CAT
from favae.training.autoencoder import AutoencoderTask
from favae.training.cat import CatTask
from favae.training.distributed import Ranks
from favae.training.gan import TrainingData
from favae.training.stylegan2 import StyleGan2Task
from favae.training.task import Task

_BF16 = {"training": {"precision": "bf16"}}
_FAST = {"training": {"precision": "bf16", "memory_format": "channels_last"}}
_COMPILED = {"training": _FAST["training"] | {"compile": True}}
# Scale, stage, cell, changes, words for them.
_JOBS: tuple[tuple[str, str, str, dict[str, Any], str], ...] = (
    ("paper", "train_autoencoder", "celebahq-f16-r12-conv", {}, "fp32, as planned"),
    ("paper", "train_autoencoder", "celebahq-f16-r12-conv", _BF16, "bf16"),
    ("paper", "train_autoencoder", "celebahq-f16-r12-conv", _FAST, "bf16, channels last"),
    ("paper", "train_autoencoder", "celebahq-f16-r12-conv", _COMPILED, "bf16, channels last, compiled"),
    ("paper", "train_autoencoder", "celebahq-f16-vqgan", {}, "fp32, as planned"),
    ("paper", "train_autoencoder", "imagenet-f4-favae", {}, "fp32, as planned"),
    ("ffl-gan", "train_generator", "pix2pix-facades-s0", {}, "fp32, as planned"),
    ("ffl-gan", "train_generator", "shoes-pix2pix", {}, "fp32, as planned"),
    (
        "ffl-gan",
        "train_generator",
        "cityscapes-spade",
        {"objective": {"terms": {}}},
        "fp32, one of 4 ranks, without VGG-19",
    ),
    ("ffl-gan", "train_generator", "celebahq-256-stylegan2", {}, "fp32, one of 8 ranks"),
    (
        "ffl-gan",
        "train_generator",
        "celebahq-256-stylegan2",
        {"model": {"modulation": "fused"}},
        "fp32, one of 8 ranks, a kernel per image",
    ),
    ("paper", "train_cat", "celebahq-f16-cat", {}, "bf16, as planned"),
    ("paper", "train_cat", "celebahq-f16-cat", {"training": {"precision": "fp32"}}, "fp32"),
)


@dataclass(frozen=True)
class _Case:
    """A training with random data: its task, a batch of one rank, FLOPs of its step, and the kind of rate that applies."""

    task: Task
    batch: Any
    images: int
    flops: float
    kind: tuple[str, str]
    planned_bytes: float

    def step(self, number: int) -> None:
        """Step `number` on the batch."""
        self.task.train_step(self.batch, number)


class _Sized:
    """Stands for a split of which only the number of images matters."""

    planes: Mapping[str, int]

    def __init__(self, images: int) -> None:
        self.images = images

    def __len__(self) -> int:
        return self.images


class _NoText(nn.Module):
    """Embeddings of 77 tokens that are the same for every caption: a frozen encoder that costs nothing."""

    dim, trainable = 768, False

    def tokenize(self, captions: list[str]) -> tuple[Tensor, Tensor]:
        """Ids and mask [B,77]."""
        return torch.zeros(len(captions), 77, dtype=torch.int64), torch.ones(len(captions), 77, dtype=torch.bool)

    def encode(self, ids_BT: Tensor) -> Tensor:
        """Ids -> [B,77,768]."""
        return torch.ones(*ids_BT.shape, self.dim, device=ids_BT.device)


def _changed(job: Job, changes: dict[str, Any]) -> Job:
    parameters = deep_merge([job.parameters, changes])
    if changes.get("objective", {}).get("terms") == {}:
        parameters["objective"] = parameters["objective"] | {"terms": {}}
    return job.with_parameters(parameters)


def _sizes(grid: Grid) -> dict[str, Mapping[str, int]]:
    configs = {cell: grid.job("prepare_dataset", cell).config for cell in grid.cells("prepare_dataset")}
    return {cell: size for cell, config in configs.items() if (size := declared_sizes(cast(Any, config)))}


def _case(grid: Grid, job: Job, device: torch.device) -> _Case:
    planned, config = estimate(grid, job, _sizes(grid)), cast(Any, job.config)
    training = config.training
    images = training.batch_size // training.ranks
    ranks = Ranks(0, 1, device)
    assert planned.steps
    flops, kind = planned.flops / planned.steps / training.ranks, "autoencoder"
    torch.manual_seed(0)
    if isinstance(config, FavaeConfig):
        flops = images * autoencoder_flops(config)[1]
        with device:
            task: Task = AutoencoderTask(config, cast(Any, None), ranks, 0, random_lpips().to(device))
        batch: Any = _batch(images, config.model.image_size, config.model.image_size)
    elif isinstance(config, GeneratorTrainingConfig):
        task, batch = _generator(grid, job, config, images, ranks)
        kind = "StyleGAN2" if isinstance(task, StyleGan2Task) else kind
    else:
        assert isinstance(config, CatConfig)
        kind = "transformer"
        with device:
            model = CAT(text_dim=_NoText.dim, **config.model.given())
        task = CatTask(config, TextToImage(model, cast(Any, _NoText())), cast(Any, None), ranks, 1, planned.steps)
        batch = torch.randint(model.codes, (images, model.tokens)), [""] * images
    return _Case(task, batch, images, flops, (kind, training.precision), planned.gpu_bytes)


def _generator(grid: Grid, job: Job, config: GeneratorTrainingConfig, images: int, ranks: Ranks) -> tuple[Task, Batch]:
    import importlib

    dataset = cast(Any, grid.job("prepare_dataset", job.roles["dataset"]).config)
    height, width = dataset.stored_size("val")
    condition = dataset.layout.condition if isinstance(dataset.layout, PairsLayoutConfig) else None
    data = TrainingData(cast(Any, _Sized(400)), None, condition, (height, width))
    module, name = config.task.split(":")
    task = getattr(importlib.import_module(module), name)(config, data, ranks)
    planes = sum(dataset.planes.values()) - 3
    return task, _batch(images, height, width, planes, getattr(condition, "classes", 256))


def _batch(images: int, height: int, width: int, planes: int = 0, values: int = 256) -> Batch:
    pixels = torch.randint(256, (images, 3, height, width), dtype=torch.uint8)
    condition = torch.randint(values, (images, planes, height, width), dtype=torch.uint8) if planes else None
    if torch.cuda.is_available():
        pixels, condition = pixels.pin_memory(), None if condition is None else condition.pin_memory()
    return Batch(pixels, np.arange(images), [], condition)


def _seconds(run: Callable[[int], Any], steps: int, settings: Settings) -> float:
    """Mean time of the steps 0, 1, ... of the shorter of two rounds."""
    seconds: list[float] = []
    steps = 2 if settings.quick else steps
    for step in range(3):
        run(step)
    for _ in range(1 if settings.quick else 2):
        settings.wait()
        start = time.perf_counter()
        for step in range(steps):
            run(step)
        settings.wait()
        seconds.append((time.perf_counter() - start) / steps)
        if seconds[0] * steps > 4:
            break
    return min(seconds)


def _rows(settings: Settings) -> Iterator[Row]:
    grids = {scale: load_grid(scale) for scale in ("paper", "ffl-gan")}
    for scale, stage, cell, changes, words in _JOBS:
        job = _changed(grids[scale].job(stage, cell), changes)
        try:
            case = _case(grids[scale], job, settings.device)
            # StyleGAN2 does more in each fourth and sixteenth step.
            seconds = _seconds(case.step, 16 if isinstance(case.task, StyleGan2Task) else 6, settings)
            peak = _peak(case, settings)
        except torch.OutOfMemoryError:
            yield (f"{scale}: {cell}", words, "does not fit", *[""] * 6)
            continue
        planned = max(case.flops / RATES[case.kind], STEP_SECONDS)
        yield (
            f"{scale}: {cell}",
            words,
            str(case.images),
            f"{seconds * 1e3:.3g} ms",
            f"{case.images / seconds:.3g}",
            f"{case.flops / seconds / 1e12:.3g}",
            f"{planned / seconds - 1:+.0%}",
            f"{peak / 2**30:.3g} GiB",
            f"{case.planned_bytes / 2**30:.3g} GiB",
        )
        del case
        if settings.on_gpu:
            torch.cuda.empty_cache()


def _peak(case: _Case, settings: Settings) -> int:
    """Peak of the two first steps, of which the first may do more, with all that the training keeps."""
    before = torch.cuda.memory_allocated() if settings.on_gpu else 0
    return before + max(peak_while(partial(case.step, number), settings.device) for number in (0, 1))


SECTION = Section(
    26,
    "Planned trainings",
    (
        "scale and training",
        "how",
        "images per step",
        "step",
        "images/s",
        "TFLOP/s by the plan's count",
        "error of the plan's time",
        "peak memory",
        "planned memory",
    ),
    _rows,
    "Steps of the trainings that `favae plan` estimates, with random data and random VGG weights, on one card. The plan counts "
    "operations and divides them by a rate for the kind of network and the precision (`RATES` in `favae/jobs/estimates.py`); the "
    "error is that of the planned time: +10% is a plan that is a tenth too long.",
    devices=("cuda",),
)
