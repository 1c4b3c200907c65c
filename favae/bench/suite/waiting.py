"""Time that a training step waits for its images."""

import time
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from tempfile import TemporaryDirectory

from favae.bench.networks import training_spec, training_task
from favae.bench.section import Row, Section, Settings
from favae.bench.suite.data import write_prepared
from favae.data.batches import Batch, TrainingBatches
from favae.training.autoencoder import AutoencoderTask

_STEPS, _ROUNDS = 12, 3


def _seconds(task: AutoencoderTask, batches: Iterator[Batch], steps: int, settings: Settings) -> float:
    settings.wait()
    start = time.perf_counter()
    for step, batch in zip(range(steps), batches):
        task.train_step(batch, step)
    settings.wait()
    return (time.perf_counter() - start) / steps


def _rows(settings: Settings) -> Iterator[Row]:
    count, images = (2, 24) if settings.quick else (8, 512)
    config = training_spec(
        settings.quick,
        training={"precision": "bf16", "batch_size": count},
    )
    task = training_task(config, settings.device)
    with TemporaryDirectory() as name:
        source = TrainingBatches(
            write_prepared(Path(name), images, config.model.image_size), count, seed=0, augment="flip"
        )
        read, kept = [], []
        for number in range(1 if settings.quick else _ROUNDS + 1):
            stream = source.iter_from(0)
            first = next(stream)
            read.append(_seconds(task, stream, _STEPS, settings))
            stream.close()  # type: ignore[attr-defined]
            kept.append(_seconds(task, repeat(first), _STEPS, settings))
            if number == 0 and not settings.quick:  # the first steps choose algorithms
                read.clear()
                kept.clear()
        alone, with_data = min(kept), min(read)
        start = time.perf_counter()
        for number in range(_STEPS):
            source.batch(number)
        reading = (time.perf_counter() - start) / _STEPS
    share = max(with_data / alone - 1, 0.0)
    yield (
        f"FA-VAE f = 16 at 256 pixels, bf16, batch {count}",
        f"{alone * 1e3:.1f} ms",
        f"{with_data * 1e3:.1f} ms",
        f"{reading * 1e3:.1f} ms",
        f"{share:.1%}",
        "2%",
    )


SECTION = Section(
    10,
    "Waiting for data",
    ("step", "one batch in memory, again and again", "batches from shards", "reading a batch alone", "waiting", "goal"),
    _rows,
    f"The shortest of {_ROUNDS} rounds of {_STEPS} steps: with one batch that lies in memory, and with batches that are read from "
    "shards, mirrored and pinned by the thread of the training loop, which works while the device computes.",
    devices=("cuda",),
)
