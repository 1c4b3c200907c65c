"""Time of a training step by part of the networks and losses."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.autograd import DeviceType
from torch.autograd.profiler import record_function
from torch.profiler import ProfilerActivity, profile

from favae.bench.section import Row

COLUMNS = ("part", "forward, ms", "backward, ms", "share")
BARS = ("forward, ms", "backward, ms")
_MARK, _NODE, _OPTIMIZER = "part: ", "autograd::engine::evaluate_function: ", "Optimizer.step"
_OTHER = "everything else"

Parts = Sequence[tuple[str, nn.Module]]  # several modules may share a name


def rows_by_part(
    step: Callable[[], object], parts: Parts, steps: int = 1, device: torch.device | None = None
) -> Iterator[Row]:
    """Rows of a profile of `step`: means over `steps` calls after one warm-up call, parts in the given order.

    On a GPU, times are those of the kernels, and the step's is their sum. The modules keep the profiler's hooks afterwards.
    """
    on_gpu = device is not None and device.type == "cuda"
    wait = torch.cuda.synchronize if on_gpu else lambda: None
    step()
    for name, module in parts:
        _mark(name, module)
    wait()
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as profiler:
        start = time.perf_counter()
        for _ in range(steps):
            step()
        wait()
        total = time.perf_counter() - start
    events = profiler.events() or []
    if on_gpu:
        total = sum(e.device_time_total for e in events if e.device_type == DeviceType.CUDA and not is_mark(e)) / 1e6
    seconds = _by_part([e for e in events if e.device_type == DeviceType.CPU], on_gpu)
    shown = {name: seconds[name] for name in (*dict.fromkeys(name for name, _ in parts), "optimisers")}
    shown[_OTHER] = [max(total - sum(map(sum, shown.values())), 0.0), 0.0]
    for name, (forward, backward) in shown.items():
        yield (
            name,
            _milliseconds(forward / steps),
            _milliseconds(backward / steps),
            f"{(forward + backward) / total:.1%}",
        )
    yield "step", _milliseconds(total / steps), "", "100%"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.0f}" if seconds >= 0.1 else f"{seconds * 1e3:.3g}"


def _mark(name: str, module: nn.Module) -> None:
    """Record the module's forward pass in the profiler under the part's name."""
    open_spans: list[Any] = []

    def enter(*_: Any) -> None:
        open_spans.append(record_function(_MARK + name))
        open_spans[-1].__enter__()

    def leave(*_: Any) -> None:
        open_spans.pop().__exit__(None, None, None)

    module.register_forward_pre_hook(enter)
    module.register_forward_hook(leave)


def is_mark(event: Any) -> bool:
    """Whether an event on the device stands for a span of kernels, such as a part or an optimiser's step, and not for one."""
    return event.name.startswith((_MARK, _OPTIMIZER)) or getattr(event, "is_user_annotation", False)


def _by_part(events: Any, on_gpu: bool) -> dict[str, list[float]]:
    """(forward, backward) seconds per part. A node of the backward pass belongs to the part whose forward pass created it."""
    seconds: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    maker: dict[int, str] = {}

    def took(event: Any) -> float:
        return (event.device_time_total if on_gpu else event.cpu_time_total) / 1e6

    for event in events:
        if event.name.startswith(_MARK):
            seconds[event.name.removeprefix(_MARK)][0] += took(event)
        elif event.name.startswith(_OPTIMIZER):
            seconds["optimisers"][0] += took(event)
        elif event.sequence_nr >= 0 and not event.name.startswith(_NODE):
            parent = event.cpu_parent
            while parent is not None and not parent.name.startswith(_MARK):
                parent = parent.cpu_parent
            if parent is not None:
                maker[event.sequence_nr] = parent.name.removeprefix(_MARK)
    for event in events:
        if event.name.startswith(_NODE):
            seconds[maker.get(event.sequence_nr, _OTHER)][1] += took(event)
    return seconds
