"""Speed and memory of a training step against the batch, up to the largest that fits."""

import gc
import time
from collections.abc import Iterator

import torch

from favae.bench.memory import peak_while
from favae.bench.networks import random_batch, training_spec, training_task
from favae.bench.section import Row, Section, Settings
from favae.jobs.estimates import autoencoder_bytes
from favae.training.autoencoder import AutoencoderTask

_BATCHES = (1, 4, 8, 16, 32, 40, 48, 64, 80, 88, 96)
_STEPS = 2
_WAYS = (
    ("bf16", {"precision": "bf16"}),
    ("the same, `recompute_activations: last_level`", {"recompute_activations": "last_level"}),
)


def _measure(task: AutoencoderTask, count: int, side: int, settings: Settings) -> tuple[float, int]:
    """Seconds of a step, and peak memory of the device in bytes with all that the training keeps."""
    batch, seconds = random_batch(count, side), []
    task.train_step(batch, 0)

    def steps() -> None:
        for _ in range(_STEPS):
            settings.wait()
            start = time.perf_counter()
            task.train_step(batch, 0)
            settings.wait()
            seconds.append(time.perf_counter() - start)

    before = torch.cuda.memory_allocated() if settings.on_gpu else 0
    peak = before + peak_while(steps, settings.device)
    return min(seconds), peak


def _rows(settings: Settings) -> Iterator[Row]:
    training: dict[str, str] = {}
    for name, way in _WAYS:
        training |= way
        task = training_task(training_spec(settings.quick, training=training), settings.device)
        for count in (1, 2) if settings.quick else _BATCHES:
            config = training_spec(settings.quick, training=training | {"batch_size": count})
            planned = autoencoder_bytes(config)
            try:
                seconds, peak = _measure(task, count, config.model.image_size, settings)
            except torch.OutOfMemoryError:
                yield name, str(count), "does not fit", "", "", f"{planned / 2**30:.3g} GiB"
                break
            finally:
                if settings.on_gpu:
                    torch.cuda.empty_cache()
            memory = f"{peak / 2**30:.3g} GiB"
            yield (
                name,
                str(count),
                f"{seconds * 1e3:.0f} ms",
                f"{count / seconds:.3g}",
                memory,
                f"{planned / 2**30:.3g} GiB",
            )
        del task
        gc.collect()


SECTION = Section(
    24,
    "Speed and memory against the batch",
    ("way", "images per step", "step", "images/s", "peak memory", "memory that `favae plan` estimates"),
    _rows,
    "FA-VAE f = 16 at 256 pixels with discriminator and LPIPS-VGG, contiguous, not compiled. Memory is the peak of what torch has "
    "allocated, with weights, gradients and Adam; the CUDA context comes on top. The last row of each way is the first batch that "
    "does not fit.",
    devices=("cuda",),
)
