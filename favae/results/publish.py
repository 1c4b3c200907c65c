"""Publishing a result: lock the cell, move the built files into place, write the card last, then link a spare copy.

The spare copy is a set of hard links, which cost no space. A job may outlive the Snakemake or DVC that started it (`kill -9`,
a lost connection). The next one finds no record of its end, deletes its outputs and starts the job again; with the same
content key, the job then restores the spare copy. When the results are locked in DVC, spare copies become kept copies, so that a
rerun asked for after that is a rerun; only `dvc repro`, which deletes whole results when its cache is gone, takes kept copies.
"""

import logging
import os
import resource
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from favae.fingerprint.job import Code
from favae.jobs.grid import Job
from favae.results.cards import Card, content_key, describe, files_of, read_card, write_card
from favae.results.code_state import code_state
from favae.results.run_record import RunRecord, environment, now, read_record, write_run_record
from favae.runtime import paths
from favae.runtime.files import move_into_place, replacing
from favae.runtime.hash_memory import links_only

log = logging.getLogger(__name__)
_SECONDS_TO_DIE = 5.0  # a killed job may take this long to release its cell


class CellBusy(RuntimeError):
    """Another process is working on the same cell."""


@dataclass
class Outcome:
    """The report of a stage that has finished. A training in several processes sends it as JSON."""

    summary: dict[str, Any]  # for the card: deterministic facts only
    metrics: dict[str, float] = field(default_factory=dict)  # for the run record and MLflow
    artifacts: list[str] = field(default_factory=list)  # images for MLflow: file names in the result folder
    published: list[str] = field(default_factory=list)  # paths of outputs outside the result folder (curves, reports)
    device: str = "cpu"
    gpus: int = 0
    gpu_bytes: int | None = None
    resumed: int = 0


@contextmanager
def cell_lock(job: Job) -> Iterator[None]:
    """Context manager: hold the lock of the cell of `job`. Raises CellBusy.

    The kernel releases the lock when the process dies, so a killed job leaves no cell locked. A job that outlived its
    Snakemake may hold it; the next one then ends at once, because waiting would occupy a GPU for hours.
    """
    path = paths.cell_lock(job.scale, job.stage.name, job.cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=_SECONDS_TO_DIE)
    try:
        lock.acquire()
    except Timeout:
        raise CellBusy(
            f"another process is working on this cell (it holds {path}); start again when it has finished: "
            "its result will be used"
        ) from None
    try:
        yield
    finally:
        lock.release()


def publish(
    job: Job, hashes: dict[str, str], build: Path, started: datetime, outcome: Outcome, code: Code | None = None
) -> Card:
    """Move the files built in `build` to the result folder, write run record and card, and link the spare copy.

    `hashes` are those of the input cards (`input_hashes`), `code` is that of the job; both are taken before the work begins.
    """
    target = paths.result_dir(job.scale, job.stage.name, job.cell)
    target.mkdir(parents=True, exist_ok=True)
    job.card.unlink(missing_ok=True)  # from here until the new card, this cell has no result
    outputs = [Path(path) for path in outcome.published]
    for built in sorted(build.iterdir()):
        destination = target / built.name
        move_into_place(built, destination)
        outputs.append(destination)
    key = content_key(job, hashes)
    write_run_record(_record(job, key, started, outcome, code))
    card = write_card(job, key, hashes, sorted(outputs), outcome.summary)
    _link_spare(job, card)
    return card


def _record(job: Job, key: str, started: datetime, outcome: Outcome, code: Code | None) -> RunRecord:
    ended = now()
    seconds = (ended - started).total_seconds()
    target = paths.result_dir(job.scale, job.stage.name, job.cell)
    return RunRecord(
        scale=job.scale,
        stage=job.stage.name,
        cell=job.cell,
        key=key,
        started=started.isoformat(timespec="seconds"),
        ended=ended.isoformat(timespec="seconds"),
        seconds=round(seconds, 3),
        resumed=outcome.resumed,
        device=outcome.device,
        gpu_seconds=round(seconds * outcome.gpus, 1),
        cpu_seconds=_processor_time(),
        gpu_bytes=outcome.gpu_bytes,
        host_bytes=_most_resident(),
        metrics=outcome.metrics,
        artifacts=[(target / name).as_posix() for name in outcome.artifacts],
        code=code,
        **environment(),
    )


def _most_resident() -> int:
    """Peak resident memory in bytes, of this process or of the largest one that it started."""
    peaks = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return 1024 * max(peaks)  # Linux counts in KiB


def _processor_time() -> float:
    """Seconds of all cores that this process and those that it started have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return round(sum(usage.ru_utime + usage.ru_stime for usage in used), 1)


def restore_spare(job: Job, key: str) -> Card | None:
    """Publish the spare copy again, card last. None where other code made it, it has another key, or not the bytes of its card."""
    folder = paths.spare_dir(job.scale, job.stage.name, job.cell)
    try:
        record = read_record(folder / paths.run_record(job.scale, job.stage.name, job.cell))
    except ValueError:
        return None
    return _restore(job, key, folder) if code_state(job, record).is_current else None


def restore_kept(job: Job, key: str) -> Card | None:
    """The same with the copy that is kept of a locked result. Not for a rerun that a person asked for."""
    return _restore(job, key, paths.kept_dir(job.scale, job.stage.name, job.cell))


def _restore(job: Job, key: str, folder: Path) -> Card | None:
    try:
        card = read_card(folder / job.card)
    except (FileNotFoundError, ValueError):
        return None
    record = paths.run_record(job.scale, job.stage.name, job.cell)
    whole = all((folder / name).exists() and describe(folder / name) == output for name, output in card.outputs.items())
    if card.key != key or not whole or not (folder / record).exists():
        return None
    for path in [*map(Path, card.outputs), record, job.card]:
        with replacing(path) as temporary:
            source = folder / path
            if source.is_dir():
                shutil.copytree(source, temporary, copy_function=_link_or_copy)
            else:
                _link_or_copy(source, temporary)
    return card


def keep_copies(jobs: Iterable[Job]) -> None:
    """Let the spare copies of published results become kept copies; link one where there is none (pulled, adopted)."""
    for job in jobs:
        spare, kept = (make(job.scale, job.stage.name, job.cell) for make in (paths.spare_dir, paths.kept_dir))
        content = job.card.read_bytes()
        if _holds(spare / job.card, content):
            shutil.rmtree(kept, ignore_errors=True)
            spare.rename(kept)
        elif not _holds(kept / job.card, content):
            _link_copy(job, read_card(job.card), kept)


def _holds(path: Path, content: bytes) -> bool:
    return path.exists() and path.read_bytes() == content


def _link_spare(job: Job, card: Card) -> None:
    """Keep a published result as links, in place of those of the result before it."""
    shutil.rmtree(paths.kept_dir(job.scale, job.stage.name, job.cell), ignore_errors=True)
    _link_copy(job, card, paths.spare_dir(job.scale, job.stage.name, job.cell))


def _link_copy(job: Job, card: Card, folder: Path) -> None:
    """Link a result into `folder`, its card last. Where the file system has no hard links, there is no copy."""
    shutil.rmtree(folder, ignore_errors=True)
    record = paths.run_record(job.scale, job.stage.name, job.cell)
    files = [file for name in card.outputs for file in files_of(Path(name))]
    try:
        with links_only(files):
            for path in [*files, record]:
                _link(path, folder / path)
        _link(job.card, folder / job.card)
    except OSError as error:
        log.debug("%s: no spare copy: %s", job.name, error)
        shutil.rmtree(folder, ignore_errors=True)


def _link_or_copy(source: str | Path, target: str | Path) -> None:
    """A hard link, or a copy where they are on different file systems (`data/state` may have moved to another disk since)."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.link(source, target)
