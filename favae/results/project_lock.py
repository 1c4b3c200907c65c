"""The project lock: only one workflow runs in a project at a time. The kernel releases it when its holder dies for any reason.

Snakemake's own lock is a file that remains after a kill and then blocks every command.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from favae.runtime import paths

_held: list[FileLock] = []  # until this process ends


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
    """Hold the project lock until this process ends. Raises ProjectBusy."""
    _held.append(_acquired())


@contextmanager
def project_held() -> Iterator[None]:
    """Context manager: hold the project lock inside the block. Raises ProjectBusy."""
    lock = _acquired()
    try:
        yield
    finally:
        lock.release()
