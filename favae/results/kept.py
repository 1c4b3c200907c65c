"""Finished results, kept as hard links until the workflow that asked for them has ended well.

A job may outlive the Snakemake or DVC that started it (`kill -9`, a lost connection). The next one finds no record of its
end, deletes its outputs and starts it again; with the same content key, the job then puts back what was there. Links cost
no space. They go when results are locked: who asks for a rerun later gets one.
"""

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from favae.jobs.grid import Grid, Job
from favae.results.cards import Card, describe, read_card
from favae.runtime import paths
from favae.runtime.files import replacing

log = logging.getLogger(__name__)


def keep(job: Job, card: Card) -> None:
    """Link a published result aside, its card last. Where the file system has no hard links, nothing is kept."""
    folder = paths.kept_dir(job.scale, job.stage.name, job.cell)
    shutil.rmtree(folder, ignore_errors=True)
    record = paths.run_record(job.scale, job.stage.name, job.cell)
    try:
        for path in [*_files(card), record]:
            _link(path, folder / path)
        _link(job.card, folder / job.card)
    except OSError as error:
        log.debug("%s: not kept: %s", job.name, error)
        shutil.rmtree(folder, ignore_errors=True)


def restore(job: Job, key: str) -> Card | None:
    """Put back the kept result of `key`, card last. None where it is another's or its bytes are not what its card says."""
    folder = paths.kept_dir(job.scale, job.stage.name, job.cell)
    try:
        card = read_card(folder / job.card)
    except (FileNotFoundError, ValueError):
        return None
    whole = all((folder / name).exists() and describe(folder / name) == output for name, output in card.outputs.items())
    if card.key != key or not whole:
        return None
    record = paths.run_record(job.scale, job.stage.name, job.cell)
    for path in [*map(Path, card.outputs), record, job.card]:
        with replacing(path) as temporary:
            source = folder / path
            if source.is_dir():
                shutil.copytree(source, temporary, copy_function=os.link)
            else:
                _link(source, temporary)
    return card


def drop(grid: Grid) -> None:
    """Forget the kept results of a scale that stand published."""
    for job in grid:
        folder = paths.kept_dir(job.scale, job.stage.name, job.cell)
        kept = folder / job.card
        if kept.exists() and job.card.exists() and kept.read_bytes() == job.card.read_bytes():
            shutil.rmtree(folder)


def _files(card: Card) -> Iterator[Path]:
    for name in card.outputs:
        path = Path(name)
        if path.is_dir():
            yield from (file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
        else:
            yield path


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.link(source, target)
