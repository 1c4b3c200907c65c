"""Published results of a scale: which files of `data/<scale>` are in `reports/<scale>`, and where.

`results/` has the layout of `data/<scale>`. `tables/` and `figures/` are those of the run. `manifest.json` lists every published
file with its hash, and the hash of every output that is not published, such as weights. `ro-crate-metadata.json` describes the
same for other tools, with the `Snakefile` as it was at publication.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from favae.config.base import Schema
from favae.jobs.grid import Grid, Job
from favae.results.cards import Output, describe, files_of, read_card
from favae.runtime import paths
from favae.runtime.files import whole_file

MANIFEST = "manifest.json"
CRATE, WORKFLOW = "ro-crate-metadata.json", "Snakefile"
_RESULTS, _REPORTS = "results", "reports"


class Manifest(Schema):
    """Content of `manifest.json`; paths of shipped files start at the bundle, those of other outputs at the project."""

    shipped: dict[str, Output]
    not_shipped: dict[str, Output]


@dataclass(frozen=True)
class Bundle:
    """The published results of one scale in a folder."""

    scale: str
    root: Path

    @classmethod
    def of(cls, scale: str) -> "Bundle":
        """The bundle of a scale in this repository."""
        return cls(scale, paths.bundle_dir(scale))

    @property
    def results(self) -> Path:
        """Folder of cards, metrics and run records."""
        return self.root / _RESULTS

    @property
    def exists(self) -> bool:
        """Whether results are published here, not only tables."""
        return self.results.is_dir()

    def locate(self, path: Path) -> Path:
        """The path in the bundle of a file of `data/<scale>`, if it is published."""
        for base in (paths.DATA / self.scale, paths.bundle_dir(self.scale)):
            if path.is_relative_to(base):
                inner = path.relative_to(base)
                report = base.is_relative_to(paths.REPORTS) or inner.parts[:1] == (_REPORTS,)
                return (
                    self.root.joinpath(*inner.parts[inner.parts[:1] == (_REPORTS,) :])
                    if report
                    else self.results / inner
                )
        return path

    def part_of(self, grid: Grid) -> Grid:
        """The jobs of a grid that are published here: cells that were added to the grid since then are left out.

        A job belongs to the bundle if its card is here or the manifest lists it, or if a card of the bundle names it as an input.
        """
        try:
            manifest = self.manifest()
        except ValueError:
            manifest = None  # `problems` names it
        listed = {self.root / name for name in manifest.shipped} if manifest else set()
        there = {job.name: job for job in grid if self.locate(job.card).exists() or self.locate(job.card) in listed}
        named = {path for job in there.values() for path in self._inputs(job)}
        kept = there | {job.name: job for job in grid if job.card.as_posix() in named or job.stage.collects}
        for job in reversed(list(grid)):  # inputs come first
            if job.name in kept and not job.stage.collects:
                kept |= {other.name: other for other in grid if other.card in job.inputs.values()}
        return grid.part(kept)

    def _inputs(self, job: Job) -> Iterable[str]:
        try:
            return read_card(self.locate(job.card)).inputs
        except (FileNotFoundError, ValueError):
            return ()

    def manifest(self) -> Manifest | None:
        """The list of files, or None where there is none. Raises ValueError naming the file when it is not such a list."""
        path = self.root / MANIFEST
        try:
            return Manifest.model_validate_json(whole_file(path))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ValueError(f"{path}: not a list of published files; restore it with `git checkout {path}`") from error

    def files(self) -> Iterator[Path]:
        """Every file that the manifest lists: all except the manifest."""
        beside = sorted(self.root.iterdir()) if self.root.is_dir() else []
        yield from (p for p in beside if p.is_file() and p.name != MANIFEST and not p.name.startswith("."))
        for folder in ("results", "tables", "figures"):
            yield from files_of(self.root / folder) if (self.root / folder).is_dir() else ()

    def problems(self) -> Iterator[str]:
        """Differences between the manifest and the files."""
        try:
            manifest = self.manifest()
        except ValueError as error:
            yield str(error)
            return
        if manifest is None:
            path = self.root / MANIFEST
            yield f"{path}: missing, so nothing says which files belong to these results; restore it with `git checkout {path}`"
            return
        there = {path.relative_to(self.root).as_posix(): path for path in self.files()}
        for name, output in manifest.shipped.items():
            if name not in there:
                yield f"{self.root / name}: missing; {MANIFEST} lists it"
            elif describe(there[name]) != output:
                yield f"{self.root / name}: differs from what {MANIFEST} says"
        for name in sorted(there.keys() - manifest.shipped.keys()):
            yield f"{self.root / name}: not listed in {MANIFEST}"
