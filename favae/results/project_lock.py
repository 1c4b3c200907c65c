"""The project lock: one workflow at a time in a project. The kernel releases it when its holder dies, however it dies.

Snakemake's own lock is a file that outlives a killed process and then stops every plain command.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from favae.runtime import paths

_held: list[FileLock] = []  # for the life of this process


class ProjectBusy(RuntimeError):
    """Another workflow runs in this folder."""


def _acquired() -> FileLock:
    path = paths.project_lock()
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ProjectBusy(f"another Snakemake runs in this folder ({path}); wait for it to end") from None
    return lock


def hold_project() -> None:
    """Hold the project until this process ends. Raises ProjectBusy."""
    _held.append(_acquired())


@contextmanager
def project_held() -> Iterator[None]:
    """Hold the project for a while. Raises ProjectBusy."""
    lock = _acquired()
    try:
        yield
    finally:
        lock.release()
