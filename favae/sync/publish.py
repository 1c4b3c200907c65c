"""Publish the results of a scale: copy them from `data/` to `reports/`, which git tracks, completely or not at all."""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from favae.fingerprint.job import code_of
from favae.jobs.grid import Grid, Job, load_grid
from favae.reporting.results import Results
from favae.results.bundle import CRATE, MANIFEST, WORKFLOW, Bundle, Manifest
from favae.results.cards import Output, content_key, describe, files_of, read_card, text_of
from favae.results.git import working_tree
from favae.results.run_record import RunRecord, environment, now, read_record, text_of_record
from favae.results.status import State, statuses
from favae.runtime import paths
from favae.runtime.files import replacing, write_text
from favae.runtime.hashes import sha256_file
from favae.stages.make_tables import OUTDATED, render
from favae.sync.audit import audit_bundle
from favae.sync.crate import write_crate
from favae.sync.croissant import CROISSANT, croissant, croissant_again
from favae.sync.derived import summary_of
from favae.sync.disclosure import write_pages
from favae.sync.evidence import Commits, Remarks, record_problems
from favae.sync.shipment import LIMIT, add_offered, by_hash, copy, needed, private_figures, size_in_git

_SHOWN = 5  # problems in a message


@dataclass(frozen=True)
class PublishedBundle:
    """What was published; not `changed` if it was published like that before, so that nothing was written."""

    root: Path
    manifest: Manifest
    changed: bool = True

    @property
    def message(self) -> str:
        """One line."""
        if not self.changed:
            return f"nothing to publish: {self.root} is what publishing it again gives; no file was written"
        files = files_of(self.root)
        size, stored = sum(path.stat().st_size for path in files), size_in_git(files)
        return (
            f"{self.root}: {len(self.manifest.shipped)} files, {size / 1e6:.1f} MB, in git {stored / 1e6:.1f} MB; "
            f"{len(self.manifest.not_shipped)} outputs by their hash only ({MANIFEST})"
        )


def publish(scale: str | None, limit: int = LIMIT, folder: Path | None = None) -> PublishedBundle:
    """Replace `reports/<scale>` by cards, run records, metrics, tables and figures of `data/<scale>`.

    Without results in `data/`, except prepared data sets, only the published tables and pages are written again, from the published
    metrics and records, and data sets are described whose bytes are those of the published card. What the manifest knows by its hash
    only is then added from `folder`, where its bytes are found.

    Values per image, curves and examples are added up to `limit` bytes (`add_offered`). Where the terms of a data set forbid its
    photographs, the examples are published without them. Outputs that other stages read (weights, shards) are never added.
    Hand-written pages in the folder are kept. Where everything is published like that already, no file is written.

    Raises:
        ValueError: a result is not ok, or what would be published does not pass its audit, or there is a `folder` beside results of
            one's own; nothing is changed then.
        NotADirectoryError: `folder` is none.
    """
    grid = load_grid(scale)
    bundle = Bundle.of(grid.scale)
    if bundle.exists and not any(job.card.exists() for job in grid if job.stage.name != "prepare_dataset"):
        return _renew(grid, bundle, limit, folder)
    _refuse(
        [f"{job.name} is {state.value}: {reason}" for job, state, reason in statuses(scale) if state is not State.OK]
    )
    if folder is not None:
        own = paths.DATA / grid.scale
        _refuse([f"--from adds to published results, but {own} has your own: publish those, or leave it out"])
    return _replace(grid, bundle, lambda draft: _fill(grid, bundle, draft, limit))


class _Unchanged(Exception):
    """Everything is published like that already."""


def _replace(grid: Grid, bundle: Bundle, fill: Callable[[Bundle], Manifest]) -> PublishedBundle:
    """Fill a draft, and replace the bundle by it if its audit finds no problem, no file is lost, and anything is new."""
    _refuse([f"{path} was not published from here and would be lost: move it" for path in _others(bundle)])
    with contextlib.suppress(_Unchanged), replacing(bundle.root) as folder:
        draft = Bundle(grid.scale, folder)
        manifest = fill(draft)
        with contextlib.suppress(FileNotFoundError, ValueError):  # the audit names what cannot be read
            write_pages(grid, draft)
        shutil.copyfile(WORKFLOW, folder / WORKFLOW)
        write_crate(grid, draft, _listing(draft))
        manifest = manifest.model_copy(update={"shipped": _listing(draft)})
        write_text(folder / MANIFEST, json.dumps(manifest.model_dump(), indent=1, sort_keys=True) + "\n")
        audit = audit_bundle(grid.scale, draft)
        found = [*audit.problems, *audit.undecided]
        _refuse([problem.replace(str(folder), str(bundle.root)) for problem in found])
        if _contents(draft) == _contents(bundle):
            raise _Unchanged
        return PublishedBundle(bundle.root, manifest)
    return PublishedBundle(bundle.root, manifest, changed=False)


def _contents(bundle: Bundle) -> dict[str, str]:
    """Hash of each file, the manifest included; empty where nothing is published."""
    there = [*bundle.files(), *(path for path in [bundle.root / MANIFEST] if path.exists())]
    return {path.relative_to(bundle.root).as_posix(): sha256_file(path) for path in there}


def _renew(grid: Grid, bundle: Bundle, limit: int, folder: Path | None) -> PublishedBundle:
    """Render the published tables again, with card and run record."""
    if folder is not None and not folder.is_dir():
        raise NotADirectoryError(f"{folder}: not a folder; --from names one with files of published results")
    grid = bundle.part_of(grid)

    def fill(draft: Bundle) -> Manifest:
        shutil.copytree(bundle.root, draft.root, ignore=shutil.ignore_patterns(CRATE, WORKFLOW))
        if folder is not None:
            add_offered(grid, draft, limit, by_hash(folder, _outputs(grid, draft)))
        _make_tables(grid.job("make_tables", "all"), draft)
        _keep_intervals(bundle, draft)
        _describe_data(grid, draft)
        outputs = _outputs(grid, draft)
        absent = {name: output for name, output in outputs.items() if not draft.locate(Path(name)).exists()}
        return Manifest(shipped=_listing(draft), not_shipped=absent)

    return _replace(grid, bundle, fill)


def _outputs(grid: Grid, draft: Bundle) -> dict[str, Output]:
    """Every output by its path in the project, as the cards of a bundle say."""
    return {name: output for job in grid for name, output in read_card(draft.locate(job.card)).outputs.items()}


def _make_tables(job: Job, draft: Bundle) -> None:
    """The work of the job `make_tables`, in a bundle. The same tables of the same inputs keep their card and run record."""
    started, before = now(), read_card(draft.locate(job.card))
    outputs = _render_tables(job, draft)
    hashes = {path.as_posix(): sha256_file(draft.locate(path)) for path in job.inputs.values()}
    marked = {name: value for name, value in before.summary.items() if name == OUTDATED}
    update: dict[str, Any] = {"key": content_key(job, hashes), "inputs": hashes, "outputs": outputs}
    update |= {"parameters": job.parameters, "code_version": job.stage.version}
    card = before.model_copy(update=update | {"summary": (summary_of(job) or {}) | marked})
    write_text(draft.locate(job.card), text_of(card))
    path, tree = draft.locate(paths.run_record(job.scale, job.stage.name, job.cell)), working_tree()
    remarks = Remarks()
    doubts = [*record_problems(card, read_record(path), Commits(), remarks), *remarks.undecided]
    if card == before and not doubts:
        return
    origin = {f"git_{name}": tree[name] for name in ("commit", "dirty", "contents")}
    times = {"started": started.isoformat(), "ended": now().isoformat(), "seconds": 0.0, "resumed": 0}
    made = {"key": card.key, "code": code_of(job).model_dump()}
    record = json.loads(path.read_text(encoding="utf-8")) | environment() | origin | times | made
    write_text(path, text_of_record(RunRecord.model_validate(record)))


def _keep_intervals(bundle: Bundle, draft: Bundle) -> None:
    """Refuse tables with fewer intervals over images: without values per image, they come from the printed lines of the same text."""
    for path in sorted((bundle.root / "tables").glob("*.csv")):
        new = draft.root / "tables" / path.name
        lost = _intervals(path) - _intervals(new) if new.exists() else 0
        if lost > 0:
            _refuse(
                [
                    f"{path} would lose {lost} intervals over images: keep the texts of its rows and claims in "
                    f"{paths.params_file('tables')}, or publish where the values per image are"
                ]
            )


def _intervals(path: Path) -> int:
    return int(pd.read_csv(path).get("images_low", pd.Series(dtype=float)).count())


def _render_tables(job: Job, draft: Bundle) -> dict[str, Output]:
    """Write the tables of a draft, with the costs that its run records give, and their hash into their card."""
    tables, card = draft.root / "tables", read_card(draft.locate(job.card))
    texts = render(job, Results.of(job, draft.locate, tables), card.summary.get(OUTDATED, ()), costs=True)
    shutil.rmtree(tables, ignore_errors=True)
    for name, text in texts.items():
        write_text(tables / name, text)
    outputs = {paths.report_dir(job.scale, "tables").as_posix(): describe(tables)}
    write_text(draft.locate(job.card), text_of(card.model_copy(update={"outputs": outputs})))
    return outputs


def _listing(draft: Bundle) -> dict[str, Output]:
    return {path.relative_to(draft.root).as_posix(): describe(path) for path in draft.files()}


def _refuse(problems: list[str]) -> None:
    if problems:
        more = f"\n  and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise ValueError("nothing is published:\n  " + "\n  ".join(problems[:_SHOWN]) + more)


def _others(bundle: Bundle) -> Iterator[Path]:
    """Files in folders of a bundle that its manifest does not list. Files beside the folders are kept."""
    manifest = bundle.manifest()
    known = manifest.shipped if manifest else {}
    for path in sorted(bundle.root.glob("*/**/*")):
        hidden = any(part.startswith(".") for part in path.relative_to(bundle.root).parts)  # of file managers
        if path.is_file() and not hidden and path.relative_to(bundle.root).as_posix() not in known:
            yield path


def _keep_pages(bundle: Bundle, draft: Bundle) -> None:
    """Files beside the folders, such as README.md."""
    for path in sorted(bundle.root.iterdir()) if bundle.root.is_dir() else ():
        if path.is_file() and path.name not in (MANIFEST, CRATE, WORKFLOW):
            shutil.copy(path, draft.root / path.name)


def _fill(grid: Grid, bundle: Bundle, draft: Bundle, limit: int) -> Manifest:
    """Copy the files, and return their list."""
    draft.root.mkdir()
    _keep_pages(bundle, draft)
    kept = {path for job in grid for path in needed(job)}
    for file in (file for path in kept for file in files_of(path)):
        copy(file, draft, file)
    for path in private_figures(grid):
        draft.locate(path).unlink(missing_ok=True)
    _describe_data(grid, draft)
    kept |= add_offered(grid, draft, limit, lambda path: path if path.exists() else None)
    for cell in grid.cells("make_tables"):
        _render_tables(grid.job("make_tables", cell), draft)
    absent = {name: output for name, output in _outputs(grid, draft).items() if Path(name) not in kept}
    return Manifest(shipped=_listing(draft), not_shipped=absent)


def _describe_data(grid: Grid, draft: Bundle) -> None:
    """Croissant metadata of each data set. What its files say comes from them if they are here, as the card says, and otherwise from
    the published metadata: the images themselves are in no bundle."""
    for cell in grid.cells("prepare_dataset"):
        job = grid.job("prepare_dataset", cell)
        card, path = read_card(draft.locate(job.card)), draft.locate(job.card).with_name(CROISSANT)
        record = read_record(draft.locate(paths.run_record(job.scale, job.stage.name, job.cell)))
        here = all(Path(name).exists() and describe(Path(name)) == output for name, output in card.outputs.items())
        with contextlib.suppress(FileNotFoundError):  # without an index, or never described
            tree = croissant(grid, job, card, record) if here else croissant_again(grid, job, card, record, path)
            write_text(path, json.dumps(tree, indent=1, ensure_ascii=False) + "\n")
