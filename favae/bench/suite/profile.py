"""Profile of a training step of FA-VAE."""

from collections.abc import Iterator

from torch import nn

from favae.bench.networks import random_batch, training_spec, training_task
from favae.bench.parts import BARS, COLUMNS, rows_by_part
from favae.bench.section import Row, Section, Settings
from favae.training.autoencoder import AutoencoderTask


def _parts(task: AutoencoderTask) -> Iterator[tuple[str, nn.Module]]:
    """Name and modules of every part, in the order of the forward pass."""
    encoder, decoder = task.model.encoder, task.model.decoder
    yield "encoder, finest level", encoder.conv_in
    for number, layer in enumerate(encoder.down):
        yield f"encoder, {'finest level' if number in encoder.down.finest else 'other levels'}", layer
    yield from (("encoder, middle and head", module) for module in (encoder.middle, encoder.head))
    yield "quantiser", task.model.quantizer
    yield from (("decoder, FCMs at the latent", module) for module in decoder.fcms[:-1])
    yield from (("decoder, input and middle", module) for module in (decoder.conv_in, decoder.middle))
    for number, layer in enumerate(decoder.up):
        yield f"decoder, {'finest level' if number in decoder.up.finest else 'other levels'}", layer
    yield from (("decoder, last FCM and head", module) for module in (decoder.fcms[-1], decoder.head, decoder.conv_out))
    if task.lpips is not None:
        yield "LPIPS", task.lpips
    yield from (("discriminator", task.discriminator), ("image FFL", task.image_ffl), ("spectrum loss", task.spectrum))


def _rows(settings: Settings) -> Iterator[Row]:
    config = training_spec(settings.quick)
    task = training_task(config, settings.device)
    batch = random_batch(1, max(config.model.image_size // 2, 32))
    return rows_by_part(lambda: task.train_step(batch, 0), list(_parts(task)))


SECTION = Section(
    21,
    "Where a training step's time goes",
    COLUMNS,
    _rows,
    "FA-VAE f = 16 with discriminator and LPIPS-VGG, one image of 128 pixels, fp32, under torch's profiler (which costs a few "
    "percent). `everything else` is what belongs to no part, such as the accumulation of gradients and operations on the image.",
    bars=BARS,
)
