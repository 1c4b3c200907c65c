"""A signal to stop that comes while a training starts: it is noted, and obeyed once there is something to save.

SLURM may send it at any time, for example when a job is preempted in its first seconds. Without a handler it would end the process,
which Snakemake counts as a failed attempt. Ctrl-C ends the process at once, as everywhere; it is noted too, because a module that is
being imported may swallow the KeyboardInterrupt.
"""

import signal
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)  # a training saves and ends
_noted: list[int] = []


def note_signals() -> None:
    """From now on note the signals to stop, until another handler is set; only Ctrl-C also ends the process."""
    for number in SIGNALS:
        signal.signal(number, _note)


def noted_signal() -> signal.Signals | None:
    """The first signal that was noted, or None."""
    return signal.Signals(_noted[0]) if _noted else None


def _note(number: int, _frame: FrameType | None) -> None:
    _noted.append(number)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
