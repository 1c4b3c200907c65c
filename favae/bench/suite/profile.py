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
    fast = {"precision": "bf16", "batch_size": 8}
    config = training_spec(settings.quick, training=fast if settings.on_gpu else {})
    task, side = training_task(config, settings.device), config.model.image_size
    batch = random_batch(8, side) if settings.on_gpu else random_batch(1, max(side // 2, 32))
    steps = 3 if settings.on_gpu else 1
    return rows_by_part(lambda: task.train_step(batch, 0), list(_parts(task)), steps, settings.device)


SECTION = Section(
    21,
    "Where a training step's time goes",
    COLUMNS,
    _rows,
    "FA-VAE f = 16 with discriminator and LPIPS-VGG under torch's profiler (which costs a few percent): on a CPU one image of 128 "
    "pixels in fp32; on a GPU eight of 256 pixels in bf16, not compiled, times on the device. "
    "`everything else` is what belongs to no part, such as the accumulation of gradients and operations on the image.",
    bars=BARS,
)
