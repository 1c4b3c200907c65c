"""Sections of the benchmark page: a table with a title and a note, whose rows are yielded as they are measured."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

Row = tuple[str, ...]


@dataclass(frozen=True)
class Settings:
    """Sizes, duration and device of the measurements.

    Attributes:
        size: "quick" uses toy sizes (a test of the benchmarks; the numbers mean nothing), "full" those of the page.
        rounds, least_rounds: largest and smallest number of rounds of ours and peer.
        seconds: time after which a case starts no further round.
        threads: CPU threads of torch.
        device: device of the tensors.
    """

    size: str = "full"
    rounds: int = 15
    least_rounds: int = 3
    seconds: float = 5.0
    threads: int = 2
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def quick(self) -> bool:
        """Whether to use toy sizes, to check that everything runs."""
        return self.size == "quick"

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU is measured."""
        return self.device.type == "cuda"

    def wait(self) -> None:
        """Wait until the device has done all its work."""
        if self.on_gpu:
            torch.cuda.synchronize()


@dataclass(frozen=True)
class Section:
    """One table of the page. `number` gives the order; `note` is an explanation in Markdown; `cases` are for memory runs;
    `bars` names columns of numbers that the page also draws, one bar per row; `devices` are those that it measures."""

    number: int
    title: str
    columns: Row
    rows: Callable[[Settings], Iterator[Row]]
    note: str
    cases: tuple[Any, ...] = ()
    bars: Row = ()
    devices: tuple[str, ...] = ("cpu", "cuda")


def sections() -> dict[str, Section]:
    """Every benchmark by name: the modules of `favae.bench.suite`, in order of their numbers."""
    from favae.bench import suite

    found = {
        module.name: importlib.import_module(f"{suite.__name__}.{module.name}").SECTION
        for module in pkgutil.iter_modules(suite.__path__)
    }
    return dict(sorted(found.items(), key=lambda item: item[1].number))
