"""Profile of a training step of the STFT-VAE."""

from collections.abc import Iterator
from typing import cast

import torch

from favae.bench.networks import random_digits, stft_vae_spec, stft_vae_task
from favae.bench.parts import BARS, COLUMNS, rows_by_part
from favae.bench.section import Row, Section, Settings
from favae.models.stft_vae import StftVAE


def _rows(settings: Settings) -> Iterator[Row]:
    task = stft_vae_task(stft_vae_spec("stft-ssim", "bf16"), settings.device)
    model, batch = cast(StftVAE, task.model), random_digits(50)
    first, second = model.decoder
    parts = [
        ("two convolutions down", model.encoder),
        ("linear, to the posterior", model.to_posterior),
        ("linear, from the latent", model.from_latent),
        ("first doubling, 32 to 64 channels", first),
        ("second doubling, 64 to 32 channels", second),
        ("convolution to the image", model.to_image),
        ("SSIM", task.terms["ssim"]),
        ("short-time Fourier loss", task.terms["stft"]),
    ]
    torch.set_num_threads(1)
    try:
        yield from rows_by_part(lambda: task.train_step(batch, 0), parts, steps=2 if settings.quick else 50)
    finally:
        torch.set_num_threads(settings.threads)


SECTION = Section(
    22,
    "Where a training step of the STFT-VAE goes",
    COLUMNS,
    _rows,
    "Settings of the scale `stft`: SSIM and short-time Fourier loss, batch 50 of 28 pixels, bf16, one thread. The overhead of the "
    "profiler is larger here, because the step consists of hundreds of small operations.",
    bars=BARS,
    devices=("cpu",),
)
