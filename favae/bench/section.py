"""What a benchmark is to the command: a table with a title and a note, whose rows come as they are measured."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

Row = tuple[str, ...]


@dataclass(frozen=True)
class Settings:
    """How long and on what to measure.

    Attributes:
        size: "quick" takes toy sizes (a test of the benchmarks, its numbers mean nothing); "full" those of the page.
        rounds, least_rounds: at most and at least so many alternations of ours and peer.
        seconds: a case takes no further round after this.
        threads: CPU threads of torch.
        device: where tensors lie.
    """

    size: str = "full"
    rounds: int = 15
    least_rounds: int = 3
    seconds: float = 5.0
    threads: int = 2
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def quick(self) -> bool:
        """Whether only to see that everything runs."""
        return self.size == "quick"


@dataclass(frozen=True)
class Section:
    """One table of the page. `number` gives the order; `note` explains, in Markdown; `cases` are for the memory runs;
    `bars` names columns of numbers that the page also draws, one bar a row."""

    number: int
    title: str
    columns: Row
    rows: Callable[[Settings], Iterator[Row]]
    note: str
    cases: tuple[Any, ...] = ()
    bars: Row = ()


def sections() -> dict[str, Section]:
    """Every benchmark by name: the modules of `favae.bench.suite`, in order of their numbers."""
    from favae.bench import suite

    found = {
        module.name: importlib.import_module(f"{suite.__name__}.{module.name}").SECTION
        for module in pkgutil.iter_modules(suite.__path__)
    }
    return dict(sorted(found.items(), key=lambda item: item[1].number))
