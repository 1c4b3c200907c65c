"""Comparing our implementation with a peer: alternating runs in one process, ratio of times, peak memory, equal results.

A benchmark is a module of `favae.bench.suite` with a `SECTION`; `comparison` makes a section from cases.
"""

import importlib.util
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
import torch

from favae.bench.memory import peak_of, peak_while
from favae.bench.section import Section, Settings

_SHORTEST = 0.05  # seconds; shorter work is repeated within a round
WORK, OURS, FASTER = "work", "ours", "times faster (quartiles)"
_COLUMNS = (
    WORK,
    OURS,
    "peer",
    FASTER,
    "by CPU time",
    "goal",
    "memory, ours",
    "memory, peer",
    "share",
    "goal for the share",
    "agreement",
)


class Disagreement(RuntimeError):
    """Ours and the peer did not compute the same result, so their times must not be compared."""


@dataclass(frozen=True)
class Work:
    """One piece of work in two implementations.

    Attributes:
        ours, peer: run the work once; both may be called any number of times.
        agree: runs both, on smaller inputs if they take long, and describes briefly how well the results agree. It is
            called once, first, so it also warms up. Raises Disagreement.
        peer_share: fraction of the work that `peer` does if all of it would take too long; its time is divided by this.
    """

    ours: Callable[[], Any]
    peer: Callable[[], Any]
    agree: Callable[[], str]
    peer_share: float = 1.0


@dataclass(frozen=True)
class Case:
    """A named benchmark with goals: the least speed-up over the peer, on a CPU and on a GPU, and the largest share of its memory.

    `devices` are those on which it is measured; `needs` is a package that is not installed with the project.
    """

    name: str
    build: Callable[[Settings], AbstractContextManager[Work]]
    faster: float | None = None
    memory: float | None = None
    measures_memory: bool = True
    faster_on_gpu: float | None = None
    devices: tuple[str, ...] = ("cpu", "cuda")
    needs: str = ""


@dataclass(frozen=True)
class Timing:
    """Seconds per round, ours and the peer's: wall clock, and CPU time of all threads and child processes."""

    ours: list[float]
    peer: list[float]
    ours_cpu: list[float]
    peer_cpu: list[float]

    @property
    def ratio(self) -> float:
        """How many times faster ours is: the median over rounds of the ratio of two neighbouring runs."""
        return statistics.median(self._ratios(self.ours, self.peer))

    @property
    def cpu_ratio(self) -> float:
        """The same for CPU time, which other programs on the machine affect less."""
        return statistics.median(self._ratios(self.ours_cpu, self.peer_cpu))

    @property
    def quartiles(self) -> tuple[float, float]:
        """First and third quartile of the ratio over rounds."""
        ratios = self._ratios(self.ours, self.peer)
        low, _, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
        return low, high

    @staticmethod
    def _ratios(ours: Sequence[float], peer: Sequence[float]) -> list[float]:
        return [p / max(o, 1e-9) for o, p in zip(ours, peer, strict=True)]


def comparison(
    number: int, title: str, cases: Sequence[Case], note: str, devices: tuple[str, ...] = ("cpu", "cuda")
) -> Section:
    """A section of the page with one row per case."""

    def rows(settings: Settings) -> Iterator[tuple[str, ...]]:
        for case in cases:
            if settings.device.type not in case.devices:
                continue
            if case.needs and importlib.util.find_spec(case.needs) is None:
                yield (case.name, f"not measured: {case.needs} is not installed", *[""] * (len(_COLUMNS) - 2))
            else:
                yield _row(case, settings)

    return Section(number, title, _COLUMNS, rows, note, tuple(cases), devices=devices)


@contextmanager
def in_fp32() -> Iterator[None]:
    """Context manager: on a GPU, convolutions in fp32 rather than TF32, which PyTorch takes by default."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _row(case: Case, settings: Settings) -> tuple[str, ...]:
    asks_memory = case.measures_memory and not settings.quick
    memory: list[int | None] = [None, None]
    with case.build(settings) as work:
        with in_fp32():
            agreement = work.agree()
        timing = alternate(work, settings)
        if asks_memory and settings.on_gpu:
            memory = [peak_while(run, settings.device) for run in (work.ours, work.peer)]
    if asks_memory and not settings.on_gpu:
        section = case.build.__module__.rpartition(".")[2]
        memory = [peak_of(section, case.name, who, settings) for who in ("ours", "peer")]
    low, high = timing.quartiles
    goal = case.faster_on_gpu if settings.on_gpu else case.faster
    return (
        case.name,
        _seconds(statistics.median(timing.ours)),
        _seconds(statistics.median(timing.peer)),
        f"{timing.ratio:.2f} ({low:.2f} to {high:.2f})",
        f"{timing.cpu_ratio:.2f}",
        "" if goal is None else f"{goal:g}",
        *map(_mebibytes, memory),
        "" if None in memory or not memory[1] else f"{(memory[0] or 0) / memory[1]:.2f}",
        "" if case.memory is None else f"{case.memory:g}",
        agreement,
    )


def alternate(work: Work, settings: Settings) -> Timing:
    """Run ours and peer in turns, swapping the order every round, for the given rounds or seconds."""
    timing = Timing([], [], [], [])
    repeats = {"ours": 1, "peer": 1}
    start = time.perf_counter()
    for number in range(settings.rounds):
        for who in ("ours", "peer") if number % 2 == 0 else ("peer", "ours"):
            run, share = (work.ours, 1.0) if who == "ours" else (work.peer, work.peer_share)
            wall, cpu = _time(run, repeats[who], settings)
            if number == 0 and wall < _SHORTEST:
                repeats[who] = math.ceil(_SHORTEST / max(wall, 1e-6))
                wall, cpu = _time(run, repeats[who], settings)
            walls, cpus = (timing.ours, timing.ours_cpu) if who == "ours" else (timing.peer, timing.peer_cpu)
            walls.append(wall / share)
            cpus.append(cpu / share)
        if number + 1 >= settings.least_rounds and time.perf_counter() - start > settings.seconds:
            break
    return timing


def _time(run: Callable[[], Any], repeats: int, settings: Settings) -> tuple[float, float]:
    settings.wait()
    cpu, wall = _cpu_seconds(), time.perf_counter()  # in this order, because reading the children's time takes 1 ms
    for _ in range(repeats):
        run()
    settings.wait()
    return (time.perf_counter() - wall) / repeats, (_cpu_seconds() - cpu) / repeats


def _cpu_seconds() -> float:
    """CPU time of this process and of the processes that it started, including ended ones."""
    here = psutil.Process()
    ended = here.cpu_times()
    running = [child.cpu_times() for child in here.children(recursive=True)]
    return time.process_time() + sum(
        [ended.children_user, ended.children_system, *(c.user + c.system for c in running)]
    )


def largest_difference(ours: Sequence[torch.Tensor], peer: Sequence[torch.Tensor], tolerance: float, what: str) -> str:
    """Text with the largest difference of tensors, relative to the largest value of each of the peer's tensors.

    Raises:
        Disagreement: the difference is above `tolerance`, or the numbers of tensors differ.
    """
    if len(ours) != len(peer):
        raise Disagreement(f"{what}: {len(ours)} tensors against {len(peer)}")
    differences = [
        (mine.detach() - theirs.detach()).abs().max() / theirs.detach().abs().max().clamp_min(1e-12)
        for mine, theirs in zip(ours, peer, strict=True)
    ]
    worst = float(torch.stack(differences).max())  # NaN if one is
    if not worst <= tolerance:
        raise Disagreement(
            f"{what} differ by {worst:.1e} of the largest value, more than the {tolerance:.0e} of rounding"
        )
    return f"{what} within {worst:.0e}"


def _seconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def _mebibytes(size: int | None) -> str:
    return "" if size is None else f"{size / 2**20:.3g} MiB"
