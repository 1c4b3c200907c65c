"""Progress of long loops: a bar with ETA on a terminal, plain lines elsewhere."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
log = logging.getLogger("favae.runtime.progress")
_EVERY = 15.0  # seconds between plain lines


def _clock(seconds: float) -> str:
    return tqdm.format_interval(seconds)


class Progress:
    """Progress of `total` units of work, of which `done` were finished earlier (in a resumed run)."""

    def __init__(self, title: str, total: int, done: int = 0) -> None:
        self.title, self.total, self.done, self._first = title, total, done, done
        self._started = self._said = time.monotonic()
        self._bar = tqdm(total=total, initial=done, desc=title, dynamic_ncols=True) if sys.stderr.isatty() else None

    def advance(self, n: int = 1, values: Mapping[str, float] | None = None) -> None:
        """Count `n` more units; `values` are shown beside them."""
        values = values or {}
        self.done += n
        if self._bar is not None:
            if values:
                self._bar.set_postfix({k: f"{v:.4g}" for k, v in values.items()}, refresh=False)
            self._bar.update(n)
            return
        now = time.monotonic()
        if now - self._said >= _EVERY:
            self._said = now
            rate = (self.done - self._first) / (now - self._started)
            eta = _clock((self.total - self.done) / rate) if rate else "?"
            shown = "  ".join(f"{k} {v:.4g}" for k, v in values.items())
            log.info("%s: %d/%d  %.3g/s  ETA %s  %s", self.title, self.done, self.total, rate, eta, shown)

    def close(self) -> None:
        """Close the bar, or log the elapsed time."""
        if self._bar is not None:
            self._bar.close()
        elif self.done > self._first:
            elapsed = _clock(time.monotonic() - self._started)
            log.info("%s: %d/%d done in %s", self.title, self.done, self.total, elapsed)


def track(items: Iterable[T], title: str, total: int) -> Iterator[T]:
    """Yield items, showing progress."""
    progress = Progress(title, total)
    for item in items:
        yield item
        progress.advance()
    progress.close()


def following(title: str) -> Callable[[int, int], None]:
    """A function that shows progress, to be called with (units done, all units) after each unit."""
    progress: Progress | None = None

    def show(done: int, total: int) -> None:
        nonlocal progress
        progress = progress or Progress(title, total, done - 1)
        progress.advance(done - progress.done)
        if done == total:
            progress.close()

    return show
