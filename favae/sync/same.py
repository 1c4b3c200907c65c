"""`favae same`: does the present code give the same bytes as the code that made a result? Both run the same small job."""

import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from favae.config.errors import ConfigError, closest
from favae.fingerprint.job import SETTINGS, Units, changed_units, changed_unlike_elsewhere, code_of, digest_of, readable
from favae.jobs.grid import Grid, Job, load_grid
from favae.results.bundle import Bundle
from favae.results.cards import Card, read_card
from favae.results.code_state import CodeState, changes_on_import, code_state, commit_of, version_here, version_of
from favae.results.equivalences import Comparison, SameOutputs, add
from favae.results.git import working_tree
from favae.results.past import package_at
from favae.results.run_record import RunRecord, now, read_record
from favae.runtime import paths
from favae.runtime.hashes import canonical_json
from favae.sync.file_differences import difference
from favae.sync.small_job import NUMBERS, Side, hashes, is_large, run_both, sides

Say = Callable[[str], None]
_Likeness = tuple[str, str, str, str, str]


@dataclass(frozen=True)
class _Result:
    """A result that was made by other code than the present one."""

    job: Job
    card: Card
    record: RunRecord | None
    state: CodeState
    recorded: str  # version of its code
    present: str  # that of the present code, before anything runs: files may be edited meanwhile
    on_import: Units  # statements that run on import and differ
    where: str


@dataclass
class Report:
    """What `favae same` found, by `stage/cell`."""

    same: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    not_compared: list[str] = field(default_factory=list)
    current: int = 0  # results that are of the present code, or known to be the same

    @property
    def message(self) -> str:
        """One line."""
        counts = f"{len(self.same)} the same, {len(self.different)} different, {len(self.not_compared)} not compared"
        return f"{counts}; {self.current} were current before"


def same(targets: Sequence[str], scale: str | None, say: Say, *, again: bool = False) -> Report:
    """Compare every result of a scale that other code made, or those of `targets`: stages, or `stage/cell`.

    Results are those of `data/<scale>` and of `reports/<scale>`. Cells whose files are the same are added to
    `reports/same.json`. For results that differ only in their seeds, the small job of the first runs for all.
    With `again`, what that file says was shown before is compared once more, by who does not believe it.

    Raises:
        ConfigError: a target that does not exist, or invalid parameters.
        RuntimeError: a recorded commit cannot be checked out.
    """
    grid, report = load_grid(scale), Report()
    groups: dict[tuple[str, str], list[_Result]] = {}
    firsts: dict[_Likeness, tuple[str, str]] = {}
    others: dict[tuple[str, str], list[_Result]] = {}
    for found in _results(grid, targets):
        current = found.state.is_current and not (again and found.state.shown)
        commit = None if current or found.state.unknown else _commit(found)
        if current:
            report.current += 1
        elif commit is not None:
            place = found.where, found.job.name
            first = firsts.setdefault(_likeness(grid, found), place)
            if first == place:
                groups.setdefault((commit, found.where), []).append(found)
                others[place] = []
            else:
                others[first].append(found)
        else:
            reason = found.state.unknown or "no commit has the code that made it; make it again"
            report.not_compared.append(found.job.name)
            say(f"{found.job.name}: not compared: {reason}")
    for (commit, _), results in groups.items():
        _compare(grid, commit, results, others, report, say)
    return report


def _results(grid: Grid, targets: Sequence[str]) -> Iterator[_Result]:
    """Own and published results, inputs first."""
    for target in targets:
        known = [*grid.cells_by_stage, *(job.name for job in grid)]
        if target not in known:
            raise ConfigError(f"no stage or cell {target!r} at the scale {grid.scale!r}; {closest(target, known)}")
    bundle = Bundle.of(grid.scale)
    places: list[tuple[str, Callable[[Path], Path]]] = [("data", lambda path: path), ("reports", bundle.locate)]
    for where, locate in places:
        for job in grid:
            if targets and job.stage.name not in targets and job.name not in targets:
                continue
            if where == "reports" and job.stage.name == "make_tables":
                continue  # every audit renders them again and compares
            try:
                card = read_card(locate(job.card))
                record = read_record(locate(paths.run_record(job.scale, job.stage.name, job.cell)))
            except (FileNotFoundError, ValueError):
                continue  # `favae status` says so
            job = job.with_parameters(card.parameters)
            state = code_state(job, record)
            on_import = {} if record is None or state.unknown else changes_on_import(job, record)
            present = "" if state.unknown else version_here(code_of(job).units, on_import)
            yield _Result(job, card, record, state, version_of(record) or "", present, on_import, where)


def _commit(found: _Result) -> str | None:
    """The commit that has the code of a result, if one has it."""
    if found.record is None:
        return None
    commit = commit_of(found.record)
    if commit is None or found.record.code is None:
        return commit
    package = package_at(commit)
    units = {m: inner for m, inner in found.record.code.units.items() if m != "parameters"}
    return commit if package is not None and not changed_units(units, found.job, package) else None


def _likeness(grid: Grid, found: _Result) -> _Likeness:
    """What the small job of a result depends on, and what it can show: both versions of the code, all parameters but seeds, inputs
    too, and whether a GPU made it."""
    code = found.record.code if found.record else None
    recorded = _without_settings(code.units) if code else found.recorded
    present = _without_settings(code_of(found.job).units)
    alone = found.job.name if found.job.stage.name == "prepare_dataset" else ""
    others = [_parameters(grid, found.job), found.on_import, bool(_gpu_of(found))]
    return found.where, alone, recorded, present, canonical_json(others)


def _without_settings(units: Units) -> str:
    return digest_of({module: inner for module, inner in units.items() if module != SETTINGS})


def _parameters(grid: Grid, job: Job) -> list[Any]:
    read = {role: _parameters(grid, grid.job(job.stage.inputs[role], cell)) for role, cell in job.roles.items()}
    return [job.stage.name, _without_seeds(job.parameters), read]


def _without_seeds(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_seeds(inner) for key, inner in value.items() if key != "seed"}
    return [_without_seeds(inner) for inner in value] if isinstance(value, list | tuple) else value


def _compare(
    grid: Grid,
    commit: str,
    results: list[_Result],
    others: Mapping[tuple[str, str], list[_Result]],
    report: Report,
    say: Say,
) -> None:
    """Run what is needed for some results of one commit on both sides, and compare their files.

    `others` are results of which the small job would be the same, by place and name of the one that runs.
    """
    wanted = {found.job.name: found for found in results}
    needed = _with_inputs(grid, [found.job for found in results])
    shipped = {found.job.name for found in results if is_large(found.job, _size(found.card))}
    say(f"{len(needed)} small jobs, by the code of {commit[:12]} and by the present code")
    cells: dict[str, SameOutputs] = {}
    with tempfile.TemporaryDirectory(prefix="favae-same-") as folder, sides(commit, Path(folder)) as both:
        both[1].watch = any(_gpu_of(found) for found in results)
        run_both(grid, both, needed, shipped)
        for name, found in wanted.items():
            if name in shipped:
                report.not_compared.append(name)
                say(f"{name}: not compared: its raw data are not here, or too large for a small job")
            else:
                cells |= _compare_cell(found, others[found.where, name], both, report, say)
    if cells:
        add(_comparison(grid, commit, cells))


def _compare_cell(
    found: _Result, alike: list[_Result], both: tuple[Side, Side], report: Report, say: Say
) -> dict[str, SameOutputs]:
    """The evidence that both sides wrote the same files, for a result and for those that differ from it in seeds only; nothing
    otherwise, and the reason is reported."""
    name = found.job.name
    names = [name, *(like.job.name for like in alike)]
    too = f"; so are {len(alike)} with other seeds" if alike else ""
    for side, whose in zip(both, ("recorded", "present"), strict=True):
        if side.problems.get(name):
            report.not_compared += names
            say(f"{name}: not compared: the {whose} code failed: {side.problems[name]}{too}")
            return {}
    old, new = (side.files(found.job) for side in both)
    if unseen := _unseen(found, both[1]):
        report.not_compared += names
        say(f"{name}: not compared: {unseen}; make it again on a GPU{too}")
        return {}
    before, after = hashes(old), hashes(new)
    problems = [f"{file} is not written any more" for file in before if file not in after]
    odd = [file for file in before if file in after and before[file] != after[file]]
    problems += [f"{file}: {difference(old[file], new[file])}" for file in odd]
    if problems:
        report.different += names
        say("\n".join([f"{name}: different{too}:", *(f"  {problem}" for problem in problems)]))
        return {}
    added = tuple(sorted(after.keys() - before.keys()))
    also = f"; new: {', '.join(added)}" if added else ""
    say(f"{name}: the same, {len(before)} files{also}{too}")
    report.same += names
    return {
        each.job.name: SameOutputs(
            recorded=each.recorded,
            present=each.present,
            outputs=before,
            added=added,
            like="" if each is found else name,
        )
        for each in [found, *alike]
    }


def _gpu_of(found: _Result) -> str:
    """The GPU that made a result; empty for a CPU, or if it is not known."""
    return found.record.device if found.record and found.record.device != "cpu" else ""


def _unseen(found: _Result, side: Side) -> str:
    """What a small job on a CPU cannot show of a result that a GPU made; empty if there is nothing."""
    gpu, code = _gpu_of(found), found.record.code if found.record else None
    if not gpu:
        return ""
    made = f"it was made on {gpu}, and the small job runs on a CPU, where"
    if code is None:
        return f"{made} not all of its code may run"
    unlike = changed_unlike_elsewhere(code.units, found.job, side.ran.get(found.job.name, ()))
    return f"{made} {readable(unlike[0])} does not do what it does there" if unlike else ""


def _comparison(grid: Grid, commit: str, cells: dict[str, SameOutputs]) -> Comparison:
    tree = working_tree()
    edited = tuple(name for name in tree["dirty"] or () if name.startswith(("favae/", "params/")))
    libraries = {name: v for job in grid if job.name in cells for name, v in code_of(job).libraries.items()}
    return Comparison(
        date=now().isoformat(timespec="seconds"),
        scale=grid.scale,
        recorded_commit=commit,
        present_commit=tree["commit"],
        uncommitted=edited,
        numbers=NUMBERS,
        platform=f"{platform.platform()}, Python {sys.version.split()[0]}",
        versions=dict(sorted(libraries.items())),
        cells=cells,
    )


def _with_inputs(grid: Grid, jobs: list[Job]) -> list[Job]:
    """The jobs and all that they read, inputs first."""
    cards = {job.card for job in jobs}
    for job in reversed(list(grid)):
        if job.card in cards:
            cards |= set(job.inputs.values())
    return [job for job in grid if job.card in cards]


def _size(card: Card) -> int:
    return sum(output.size for output in card.outputs.values())
