"""Learning curves of the fast way of training (bf16, channels last, compiled) beside those of fp32."""

import statistics
from collections.abc import Iterator

import torch

from favae.bench.networks import random_batch, training_spec, training_task
from favae.bench.section import Row, Section, Settings
from favae.bench.suite.training_step import FAST
from favae.data.batches import Batch

_STEPS, _SEEDS, _RATE = 32, 3, 1e-4
_LOSSES = ("l1", "lpips", "image_ffl", "commitment", "spectrum")


def _curve(settings: Settings, fast: bool, seed: int, count: int) -> dict[str, float]:
    """Mean of each loss over the last quarter of a short training on random images, the same in all runs but in another order."""
    steps = 4 if settings.quick else _STEPS
    training = {"batch_size": count, **(FAST if fast else {})}
    config = training_spec(settings.quick, training=training, optimizer={"base_lr": _RATE, "scaling": "none"})
    task = training_task(config, settings.device)
    images = random_batch(4 * count, config.model.image_size).images
    order = torch.Generator().manual_seed(seed)
    rows: list[dict[str, torch.Tensor]] = []
    for step in range(steps):
        chosen = torch.randperm(len(images), generator=order)[:count]
        rows.append(task.train_step(Batch(images[chosen], chosen.numpy(), []), step))
    return {name: float(torch.stack([row[name] for row in rows[-(steps // 4) :]]).mean()) for name in _LOSSES}


def _rows(settings: Settings) -> Iterator[Row]:
    count = 2 if settings.quick else 8
    exact = [_curve(settings, False, seed, count) for seed in range(_SEEDS)]
    fast = _curve(settings, True, 0, count)
    for name in _LOSSES:
        values = [run[name] for run in exact]
        mean, spread = statistics.mean(values), statistics.stdev(values)
        apart = abs(fast[name] - mean)
        within = "yes" if apart <= max(values) - min(values) or apart <= 2 * spread else "no"
        yield name, f"{mean:.4g} ± {spread:.2g}", f"{fast[name]:.4g}", f"{fast[name] / mean - 1:+.1%}", within


SECTION = Section(
    11,
    "Learning curves in bf16",
    ("loss", "fp32, three seeds", "bf16, channels last, compiled", "difference", "within the spread"),
    _rows,
    f"FA-VAE f = 16 at 256 pixels, batch 8, random images, {_STEPS} steps with the discriminator from the first step on, at a "
    f"learning rate of {_RATE:g}: mean of each loss over the last quarter. The three runs in fp32 differ in the order of the images "
    "only. The spread is twice their standard deviation or their range, whichever is larger.",
    devices=("cuda",),
)
