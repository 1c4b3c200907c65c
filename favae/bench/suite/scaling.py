"""Time and memory of a training step for several sizes and options."""

import gc
import json
import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any

import torch

from favae.bench.memory import in_own_process, peak_while
from favae.bench.networks import random_batch, training_spec, training_task
from favae.bench.section import Row, Section, Settings
from favae.runtime.cpu import use_threads

_STEPS = 2
_HALF_WIDTH = 64
_BF16 = {"precision": "bf16"}
# Differences from one image of 128 pixels, 1024 codes, k = 9, fp32.
_POINTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("1 image of 128 pixels, 1024 codes, k = 9, fp32", {}),
    ("batch 2", {"batch": 2}),
    ("batch 4", {"batch": 4}),
    ("256 pixels", {"side": 256}),
    ("4096 codes", {"model": {"quantizer": {"codes": 4096}}}),
    ("16384 codes", {"model": {"quantizer": {"codes": 16384}}}),
    ("k = 3", {"objective": {"spectrum": {"kernel_size": 3}}}),
    ("k = 15", {"objective": {"spectrum": {"kernel_size": 15}}}),
    ("batch 4 in 4 parts (`accumulation`)", {"batch": 4, "training": {"accumulation": 4}}),
    ("batch 4, `recompute_activations: last_level`", {"batch": 4, "training": {"recompute_activations": "last_level"}}),
    ("`memory_format: channels_last`", {"training": {"memory_format": "channels_last"}}),
    ("`precision: bf16`", {"training": {"precision": "bf16"}}),
    ("`ema_decay`", {"optimizer": {"ema_decay": 0.99}}),
    ("official order (`reconstruction: recompute`)", {"objective": {"adversarial": {"reconstruction": "recompute"}}}),
)


# Differences from eight images of 256 pixels at the full width, fp32.
_GPU_POINTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("8 images of 256 pixels, 1024 codes, k = 9, fp32", {}),
    ("`precision: bf16`", {"training": {"precision": "bf16"}}),
    ("`memory_format: channels_last`", {"training": {"memory_format": "channels_last"}}),
    ("both", {"training": _BF16 | {"memory_format": "channels_last"}}),
    ("bf16, 16384 codes", {"training": _BF16, "model": {"quantizer": {"codes": 16384}}}),
    ("bf16, in 4 parts (`accumulation`)", {"training": _BF16 | {"accumulation": 4}}),
    ("bf16, `recompute_activations: last_level`", {"training": _BF16 | {"recompute_activations": "last_level"}}),
    ("bf16, `ema_decay`", {"training": _BF16, "optimizer": {"ema_decay": 0.99}}),
    (
        "bf16, official order (`reconstruction: recompute`)",
        {"training": _BF16, "objective": {"adversarial": {"reconstruction": "recompute"}}},
    ),
)


def _rows(settings: Settings) -> Iterator[Row]:
    if settings.on_gpu:
        for name, point in _GPU_POINTS:
            order = {"point": {"batch": 8, "side": 256} | point, "quick": settings.quick, "device": "cuda"}
            got = _measure(order | {"threads": settings.threads, "steps": 8, "width": {}})
            gc.collect()
            torch.cuda.empty_cache()
            yield name, f"{got['seconds'] * 1e3:.0f}", f"{8 / got['seconds']:.0f}", f"{got['bytes'] / 2**20:.0f}"
        return
    for name, point in _POINTS[: 1 if settings.quick else None]:
        order = {"point": point, "threads": settings.threads, "quick": settings.quick, "device": str(settings.device)}
        got = in_own_process("favae.bench.suite.scaling", order)
        images = point.get("batch", 1) / got["seconds"]
        yield name, f"{got['seconds'] * 1e3:.0f}", f"{images:.2f}", f"{got['bytes'] / 2**20:.0f}"


def _measure(order: dict[str, Any]) -> dict[str, float]:
    use_threads(order["threads"])
    torch.set_flush_denormal(True)
    point, device = dict(order["point"]), torch.device(order["device"])
    count, side = point.pop("batch", 1), point.pop("side", 128)
    if not order["quick"]:
        point["model"] = order.get("width", {"base_channels": _HALF_WIDTH}) | point.get("model", {})
    config = training_spec(order["quick"], **point)
    task, batch = training_task(config, device), random_batch(count, 32 if order["quick"] else side)
    task.train_step(batch, 0)
    seconds = []

    def timed_step() -> None:
        start = time.perf_counter()
        task.train_step(batch, 0)
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)

    peak = max(peak_while(timed_step, device) for _ in range(order.get("steps", _STEPS)))
    return {"seconds": statistics.median(seconds), "bytes": peak}


SECTION = Section(
    23,
    "Scaling and options of a training step",
    (
        "the first row, except",
        "ms per step",
        "images/s",
        "peak memory of a step, MiB",
    ),
    _rows,
    "FA-VAE f = 16 with discriminator and LPIPS-VGG: on a CPU at half the paper's width (64 channels), each row in its own process, "
    "median of two steps; on a GPU at the full width, median of eight. Memory is what a step takes in addition to weights, gradients "
    "and Adam. `compile: true` is in the training step above.",
)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_measure(json.loads(sys.argv[1]))) + "\n")
