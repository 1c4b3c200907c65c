"""What git keeps of the results of a scale: which files, in which order, up to which size."""

import io
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import cast

import numpy as np

from favae.config.dataset import DatasetTerms
from favae.config.reporting import OF_PHOTOGRAPHS, FiguresConfig, TablesConfig
from favae.jobs.estimates import dataset_of
from favae.jobs.grid import Grid, Job
from favae.jobs.terms import shows, terms_of
from favae.results.bundle import Bundle
from favae.results.cards import Output
from favae.results.naming import naming
from favae.runtime import paths
from favae.runtime.hashes import sha256_file

LIMIT = 5_000_000  # bytes of a scale in git, which compresses each file
_PAGES = 150_000  # of them for pages, crate and manifest, which are written last


def size_in_git(files: Iterable[Path]) -> int:
    """Bytes that git stores of files: each compressed by itself."""
    return sum(len(zlib.compress(path.read_bytes())) for path in files)


def copy(path: Path, draft: Bundle, source: Path) -> None:
    """Copy `source`, the bytes of the file `path` of a result, into a bundle."""
    target = draft.locate(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def add_offered(grid: Grid, draft: Bundle, limit: int, find: Callable[[Path], Path | None]) -> set[Path]:
    """Add values per image, curves and examples up to `limit` bytes in git, and return those added.

    Values per image come first, from which intervals are made again: those of all trainings of a row or none of them, beginning
    with rows of one training, which have no other intervals, then in the order of the claims. Small files follow. `find` says
    where the bytes of an output are.
    """
    room = limit - _PAGES - size_in_git(draft.files())
    every = [path for job in grid for path in offered(grid, job)]
    there = {path for path in every if draft.locate(path).exists()}
    sources = {path: found for path in every if path not in there and (found := find(path))}
    sizes = dict.fromkeys(there, 0) | {path: size_in_git([found]) for path, found in sources.items()}
    added: set[Path] = set()
    for group in _in_order(grid, sizes):
        missing = group - there - added
        size = sum(sizes[path] for path in missing)
        if size <= room:
            room -= size
            added |= missing
    for path in added:
        copy(path, draft, sources[path])
    for job in grid:
        content = without_photographs(grid, job, paths.result_dir(job.scale, job.stage.name, job.cell) / paths.EXAMPLES)
        if content and len(content) <= room:
            room -= len(content)
            draft.locate(job.card).with_name(paths.GENERATED).write_bytes(content)
    return added


def _in_order(grid: Grid, sizes: dict[Path, int]) -> Iterator[set[Path]]:
    """Files that are added together or not at all, the most missed first: of rows with few trainings, and of those that the first
    claims name."""
    tables = [
        table
        for cell in grid.cells("make_tables")
        for table in cast(TablesConfig, grid.job("make_tables", cell).config).tables
    ]
    claims = [(table.id, label) for table in tables for claim in table.claims for label in sorted(claim.rows)]
    rows = [((table.id, row.label), row.measured_by) for table in tables for row in table.rows]
    rows.sort(key=lambda row: (len(row[1]), claims.index(row[0]) if row[0] in claims else len(claims)))
    together = [{paths.result_dir(grid.scale, *run.split("/")) / paths.IMAGES for run in runs} for _, runs in rows]
    yield from (values for values in together if values <= sizes.keys())
    alone = sizes.keys() - set().union(*together)
    for path in sorted(alone, key=lambda path: (path.name != paths.IMAGES, sizes[path], path)):
        yield {path}


def by_hash(folder: Path, outputs: dict[str, Output]) -> Callable[[Path], Path | None]:
    """Where in `folder`, at any depth, the bytes of an output are that are known by their hash: None if nowhere."""
    sizes = {output.size for output in outputs.values()}
    there = {
        sha256_file(path): path for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_size in sizes
    }
    return lambda path: there.get(outputs[path.as_posix()].sha256) if path.as_posix() in outputs else None


def needed(job: Job) -> Iterator[Path]:
    """Files that every bundle contains: card, run record, metrics, tables, figures."""
    yield job.card
    yield paths.run_record(job.scale, job.stage.name, job.cell)
    for output in job.stage.outputs:
        if output.metrics or output.where == "report":
            yield output.path(job.scale, job.stage.name, job.cell)


def offered(grid: Grid, job: Job) -> Iterator[Path]:
    """Files that are added up to the size limit: outputs that no other stage reads, without photographs that are not ours to
    show."""
    hidden = (paths.EXAMPLES, paths.SAMPLES) if is_private(grid, job) else ()
    for output in job.stage.outputs:
        if output.name not in hidden and not (output.feeds or output.metrics or output.where == "report"):
            yield output.path(job.scale, job.stage.name, job.cell)


def without_photographs(grid: Grid, job: Job, examples: Path) -> bytes:
    """`examples.npz` of a result without its photographs, where the terms allow the rest; otherwise empty."""
    terms = _terms(grid, job)
    if terms is None or terms.publish != "generated" or not examples.exists():
        return b""
    found = io.BytesIO()
    with naming(examples), np.load(examples, allow_pickle=False) as arrays:
        np.savez_compressed(
            found, allow_pickle=False, **{name: arrays[name] for name in arrays.files if shows(terms, name)}
        )
    return found.getvalue()


def is_private(grid: Grid, job: Job) -> bool:
    """Whether the terms of the data set of a job forbid showing its photographs."""
    terms = _terms(grid, job)
    return terms is not None and terms.publish != "all"


def _terms(grid: Grid, job: Job) -> DatasetTerms | None:
    """Terms of the images that a result can show; None where it shows none of a data set."""
    linked = job.stage.name != "prepare_dataset" and {"dataset", "tokens"} & set(job.roles)
    return terms_of(grid, dataset_of(grid, job)) if linked else None


def private_figures(grid: Grid) -> Iterator[Path]:
    """Figures of photographs that are not ours to show."""
    for cell in grid.cells("make_figures"):
        for figure in cast(FiguresConfig, grid.job("make_figures", cell).config).figures:
            jobs = (grid.job(*series.run.split("/")) for series in figure.series)
            if figure.kind in OF_PHOTOGRAPHS and any(is_private(grid, job) for job in jobs):
                yield paths.report_dir(grid.scale, "figures") / f"{figure.id}.png"
