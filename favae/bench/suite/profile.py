"""Where the time of a training step goes, by part of the networks and losses."""

import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.autograd.profiler import record_function
from torch.profiler import ProfilerActivity, profile

from favae.bench.networks import random_batch, training_spec, training_task
from favae.bench.section import Row, Section, Settings
from favae.training.autoencoder import AutoencoderTask

_MARK, _NODE, _OPTIMIZER = "part: ", "autograd::engine::evaluate_function: ", "Optimizer.step"
_OTHER = "everything else"


def _parts(task: AutoencoderTask) -> Iterator[tuple[str, nn.Module]]:
    """Name and modules of every part, in the order in which an image meets them."""
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


def _mark(name: str, module: nn.Module) -> None:
    """Make the profiler see the module's forward pass under the part's name."""
    open_spans: list[Any] = []

    def enter(*_: Any) -> None:
        open_spans.append(record_function(_MARK + name))
        open_spans[-1].__enter__()

    def leave(*_: Any) -> None:
        open_spans.pop().__exit__(None, None, None)

    module.register_forward_pre_hook(enter)
    module.register_forward_hook(leave)


def _measure(task: AutoencoderTask, side: int) -> tuple[dict[str, list[float]], float]:
    """Seconds of forward and backward by part, and of the whole step."""
    batch = random_batch(1, side)
    task.train_step(batch, 0)
    for name, module in _parts(task):
        _mark(name, module)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        start = time.perf_counter()
        task.train_step(batch, 0)
        total = time.perf_counter() - start
    return _by_part(profiler.events() or []), total


def _by_part(events: Any) -> dict[str, list[float]]:
    """Forward passes are the marked spans; a node of the backward pass belongs to the part whose forward pass made it."""
    seconds: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    maker: dict[int, str] = {}
    for event in events:
        if event.name.startswith(_MARK):
            seconds[event.name.removeprefix(_MARK)][0] += event.cpu_time_total / 1e6
        elif event.name.startswith(_OPTIMIZER):
            seconds["optimisers"][0] += event.cpu_time_total / 1e6
        elif event.sequence_nr >= 0 and not event.name.startswith(_NODE):
            parent = event.cpu_parent
            while parent is not None and not parent.name.startswith(_MARK):
                parent = parent.cpu_parent
            if parent is not None:
                maker[event.sequence_nr] = parent.name.removeprefix(_MARK)
    for event in events:
        if event.name.startswith(_NODE):
            seconds[maker.get(event.sequence_nr, _OTHER)][1] += event.cpu_time_total / 1e6
    return seconds


def _rows(settings: Settings) -> Iterator[Row]:
    spec = training_spec(settings.quick)
    task = training_task(spec, settings.device)
    seconds, total = _measure(task, max(spec.model.image_size // 2, 32))
    order = [*dict.fromkeys(name for name, _ in _parts(task)), "optimisers"]
    shown = {name: seconds[name] for name in order}
    shown[_OTHER] = [max(total - sum(map(sum, shown.values())), 0.0), 0.0]
    for name, (forward, backward) in shown.items():
        yield name, f"{forward * 1e3:.0f}", f"{backward * 1e3:.0f}", f"{(forward + backward) / total:.1%}"
    yield "step", f"{total * 1e3:.0f}", "", "100%"


SECTION = Section(
    21,
    "Where a training step's time goes",
    ("part", "forward, ms", "backward, ms", "share"),
    _rows,
    "FA-VAE f = 16 with discriminator and LPIPS-VGG, one image of 128 pixels, fp32, under torch's profiler (which costs a few "
    "percent). Forward of `everything else` is all that no part claims, gradients' accumulation and the picture's own arithmetic.",
    bars=("forward, ms", "backward, ms"),
)
