"""The kernels that take most of a training step on the GPU."""

import re
from collections import defaultdict
from collections.abc import Iterator

from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from favae.bench.networks import random_batch, training_spec, training_task
from favae.bench.parts import is_mark
from favae.bench.section import Row, Section, Settings
from favae.bench.suite.training_step import FAST

_STEPS, _SHOWN = 3, 12
_NAME = re.compile(r"^(?:void )?(?:at::native::)?(?:\(anonymous namespace\)::)?([^<(]+)")


def _short(kernel: str) -> str:
    """Name of a kernel without its template arguments, except what it applies to each element."""
    name = _NAME.match(kernel)
    inner = re.search(r"(\w+(?:Functor|_kernel_cuda|_kernel_impl|Ops))", kernel.partition("<")[2])
    short = (name[1] if name else kernel).strip()
    return f"{short}, {inner[1]}" if inner and "elementwise" in short else short[:90]


def _rows(settings: Settings) -> Iterator[Row]:
    count = 2 if settings.quick else 8
    for way, training in (("bf16", {"precision": "bf16"}), ("bf16, channels last, compiled", FAST)):
        config = training_spec(settings.quick, training=training | {"batch_size": count})
        task, batch = training_task(config, settings.device), random_batch(count, config.model.image_size)
        for step in range(3):
            task.train_step(batch, step)
        settings.wait()
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
            for step in range(_STEPS):
                task.train_step(batch, step)
            settings.wait()
        yield from _largest(profiler.events() or [], way)


def _largest(events: list, way: str) -> Iterator[Row]:  # type: ignore[type-arg]
    seconds: dict[str, float] = defaultdict(float)
    calls: dict[str, int] = defaultdict(int)
    for event in events:
        if event.device_type == DeviceType.CUDA and not is_mark(event):
            seconds[_short(event.name)] += event.device_time_total / 1e6
            calls[_short(event.name)] += 1
    total = sum(seconds.values())
    for name in sorted(seconds, key=seconds.__getitem__, reverse=True)[:_SHOWN]:
        share = f"{seconds[name] / total:.1%}"
        yield (
            way,
            f"`{name}`".replace("|", "/"),
            f"{calls[name] / _STEPS:.0f}",
            f"{seconds[name] / _STEPS * 1e3:.2f}",
            share,
        )
    rest = f"{sum(calls.values()) / _STEPS:.0f}"
    yield way, "all kernels", rest, f"{total / _STEPS * 1e3:.2f}", "100%"


SECTION = Section(
    25,
    "Kernels of a training step",
    ("way", "kernel", "calls per step", "ms per step", "share"),
    _rows,
    "FA-VAE f = 16 at 256 pixels, batch 8, with discriminator and LPIPS-VGG: time on the device under torch's "
    f"profiler, the {_SHOWN} largest. Where the sum is less than a step takes, the device waits for the processor.",
    devices=("cuda",),
)
