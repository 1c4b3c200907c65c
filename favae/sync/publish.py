"""Publishing: the results of a scale in `data/` become those that git keeps in `reports/`, whole or not at all."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from favae.jobs.grid import Grid, Job, load_grid
from favae.results.bundle import MANIFEST, Bundle, Manifest
from favae.results.cards import Output, describe, files_of, read_card, size_of
from favae.results.status import State, statuses
from favae.runtime import paths
from favae.runtime.files import replacing, write_text
from favae.sync.audit import audit_bundle

LIMIT = 5_000_000  # bytes of a scale in git
_SHOWN = 5  # problems in a message


@dataclass(frozen=True)
class Published:
    """What was published."""

    root: Path
    manifest: Manifest

    @property
    def message(self) -> str:
        """One line."""
        size = sum(output.size for output in self.manifest.shipped.values())
        return (
            f"{self.root}: {len(self.manifest.shipped)} files, {size / 1e6:.1f} MB; "
            f"{len(self.manifest.not_shipped)} outputs by their hash only ({MANIFEST})"
        )


def publish(scale: str | None, limit: int = LIMIT) -> Published:
    """Replace `reports/<scale>` by cards, run records, metrics, tables and figures of `data/<scale>`.

    Per-image values, curves and examples are added as far as `limit` bytes go, small ones first; what other stages read (weights,
    shards) never. Pages that people wrote into the folder stay.

    Raises:
        ValueError: a result is not ok, or what would be published does not pass its audit; nothing is changed then.
    """
    grid = load_grid(scale)
    _refuse(
        [f"{job.name} is {state.value}: {reason}" for job, state, reason in statuses(scale) if state is not State.OK]
    )
    bundle = Bundle.of(grid.scale)
    with replacing(bundle.root) as folder:
        draft = Bundle(grid.scale, folder)
        folder.mkdir()
        _keep_pages(bundle, draft)
        manifest = _fill(grid, draft, limit)
        write_text(folder / MANIFEST, json.dumps(manifest.model_dump(), indent=1, sort_keys=True) + "\n")
        problems = audit_bundle(grid.scale, draft).problems
        _refuse([problem.replace(str(folder), str(bundle.root)) for problem in problems])
    return Published(bundle.root, manifest)


def _refuse(problems: list[str]) -> None:
    if problems:
        more = f"\n  and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise ValueError("nothing is published:\n  " + "\n  ".join(problems[:_SHOWN]) + more)


def _keep_pages(bundle: Bundle, draft: Bundle) -> None:
    """Files beside the folders, such as README.md."""
    for path in sorted(bundle.root.iterdir()) if bundle.root.is_dir() else ():
        if path.is_file() and path.name != MANIFEST:
            shutil.copy(path, draft.root / path.name)


def _fill(grid: Grid, draft: Bundle, limit: int) -> Manifest:
    """Copy the files; returns the list of them."""
    needed = {path for job in grid for path in _needed(job)}
    for path in needed:
        _copy(path, draft)
    room = limit - sum(size_of(path) for path in needed)
    outputs: dict[str, Output] = {name: out for job in grid for name, out in read_card(job.card).outputs.items()}
    offered = sorted((path for job in grid for path in _offered(job)), key=lambda path: (size_of(path), path))
    for path in offered:
        if (room := room - size_of(path)) < 0:
            break
        _copy(path, draft)
        needed.add(path)
    absent = {name: output for name, output in outputs.items() if Path(name) not in needed}
    shipped = {path.relative_to(draft.root).as_posix(): describe(path) for path in draft.files()}
    return Manifest(shipped=shipped, not_shipped=absent)


def _needed(job: Job) -> Iterator[Path]:
    """What no bundle is without: card, run record, metrics, tables, figures."""
    yield job.card
    yield paths.run_record(job.scale, job.stage.name, job.cell)
    for output in job.stage.outputs:
        if output.metrics or output.where == "report":
            yield output.path(job.scale, job.stage.name, job.cell)


def _offered(job: Job) -> Iterator[Path]:
    """What is shipped where there is room: all that no other stage reads."""
    for output in job.stage.outputs:
        if not (output.feeds or output.metrics or output.where == "report"):
            yield output.path(job.scale, job.stage.name, job.cell)


def _copy(path: Path, draft: Bundle) -> None:
    for file in files_of(path):
        target = draft.locate(file)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
