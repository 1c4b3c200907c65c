"""Time of a training step by part of the networks and losses."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import nn
from torch.autograd.profiler import record_function
from torch.profiler import ProfilerActivity, profile

from favae.bench.section import Row

COLUMNS = ("part", "forward, ms", "backward, ms", "share")
BARS = ("forward, ms", "backward, ms")
_MARK, _NODE, _OPTIMIZER = "part: ", "autograd::engine::evaluate_function: ", "Optimizer.step"
_OTHER = "everything else"

Parts = Sequence[tuple[str, nn.Module]]  # several modules may share a name


def rows_by_part(step: Callable[[], object], parts: Parts, steps: int = 1) -> Iterator[Row]:
    """Rows of a profile of `step`: means over `steps` calls after one warm-up call, parts in the given order.

    The modules keep the profiler's hooks afterwards.
    """
    step()
    for name, module in parts:
        _mark(name, module)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        start = time.perf_counter()
        for _ in range(steps):
            step()
        total = time.perf_counter() - start
    seconds = _by_part(profiler.events() or [])
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


def _by_part(events: Any) -> dict[str, list[float]]:
    """(forward, backward) seconds per part. A node of the backward pass belongs to the part whose forward pass created it."""
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
