"""The evidence for each published result, from the files of its bundle alone."""

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from favae.config.errors import ConfigError
from favae.jobs.grid import Grid, Job
from favae.results.bundle import MANIFEST, Bundle
from favae.results.cards import Card, Output, describe, hash_of, read_card, size_of
from favae.results.code_state import code_state, version_of
from favae.results.diff import first_difference
from favae.results.past import parameters_at
from favae.results.run_record import RunRecord, read_record
from favae.runtime import paths
from favae.runtime.hashes import sha256_file
from favae.sync.derived import measured_problems, summary_problems
from favae.sync.evidence import SHORT, Commits, Evidence, Remarks, record_problems

_LONGEST = 120  # characters of a parameter that are printed
_CLOSE = 1e-9  # relative error of a mean over images whose order of summation differs


def gather_bundle(grid: Grid, bundle: Bundle) -> dict[str, Evidence]:
    """Evidence of every job of a scale, by `stage/cell`, inputs first."""
    commits = Commits()
    return {job.name: _evidence(job, bundle, commits) for job in grid}


def _evidence(job: Job, bundle: Bundle, commits: Commits) -> Evidence:
    try:
        card = read_card(bundle.locate(job.card))
    except FileNotFoundError:
        return Evidence(job, None, None, None, [f"{bundle.locate(job.card)}: missing"])
    except ValueError as error:
        return Evidence(job, None, None, None, [str(error)])
    problems, remarks = list(_card_problems(job, card, bundle)), Remarks()
    problems += summary_problems(job, card, bundle.locate(job.card))
    try:
        record = read_record(bundle.locate(paths.run_record(job.scale, job.stage.name, job.cell)))
    except ValueError:
        record = None
    problems += record_problems(card, record, commits, remarks)
    problems += _parameter_problems(job, card, record, commits, remarks)
    problems += _value_problems(job, record, bundle)
    problems += measured_problems(job, card, record, bundle)
    problems += _code_problems(job.with_parameters(card.parameters), record, commits, remarks)
    absent = frozenset(name for name, output in card.outputs.items() if not _is_shipped(job, name, output, bundle))
    return Evidence(job, card, record, None, problems, remarks, absent)


def _card_problems(job: Job, card: Card, bundle: Bundle) -> Iterator[str]:
    """Where the card contradicts itself, its input cards, or the files of the bundle."""
    where = bundle.locate(job.card)
    if (card.scale, card.stage, card.cell) != (job.scale, job.stage.name, job.cell):
        yield f"{where}: is the card of {card.stage}/{card.cell} at the scale {card.scale}"
    if hash_of(card.stage, card.cell, card.parameters, card.code_version, card.inputs) != card.key:
        yield f"{where}: its key {card.key[:SHORT]} is not the hash of its content"
    cards = {path.as_posix(): bundle.locate(path) for path in job.inputs.values()}
    if odd := sorted(card.inputs.keys() ^ cards.keys()):
        yield f"{where}: its inputs differ from those in the grid: {odd[0]}"
    for name, digest in card.inputs.items():
        if name in cards and cards[name].exists() and sha256_file(cards[name]) != digest:
            yield f"{where}: its input {name} has the hash {digest[:SHORT]}, the published card has another"
    for name, output in card.outputs.items():
        file = bundle.locate(Path(name))
        if _is_shipped(job, name, output, bundle) and describe(file) != output:
            yield f"{file}: differs from what its card says ({size_of(file)} bytes, expected {output.size})"
        elif not file.exists() and _must_be_shipped(job, Path(name)):
            yield f"{file}: missing"


def _is_shipped(job: Job, name: str, output: Output, bundle: Bundle) -> bool:
    """Whether an output is published completely. Figures of photographs that must not be published are left out of their folder.

    The manifest lists which files of such a folder are published.
    """
    file = bundle.locate(Path(name))
    in_part = job.stage.name == "make_figures" and file.is_dir() and size_of(file) < output.size
    return file.exists() and not (in_part and (bundle.root / MANIFEST).is_file())


def _must_be_shipped(job: Job, path: Path) -> bool:
    """Whether every bundle contains it, as with metrics, tables and figures."""
    return any(o.name == path.name and (o.metrics or o.where == "report") for o in job.stage.outputs)


def _parameter_problems(
    job: Job, card: Card, record: RunRecord | None, commits: Commits, remarks: Remarks
) -> Iterator[str]:
    """Nothing if the parameters are the current ones; a note if they are those at the commit of the run.

    Where other parameters than the current ones can only be compared with a commit that is not here, that is not decided.
    """
    try:
        difference = first_difference(card.parameters, job.parameters)
    except ConfigError as error:  # rows of a table for cells that are not published
        difference = first_difference(card.parameters, {"error": str(error)})
    if difference is None and card.code_version == job.stage.version:
        return
    commit = record.git_commit if record else None
    then = parameters_at(commit, job.scale, job.stage.name, job.cell) if commit else None
    what = (
        f"{difference[0]} was {_shown(difference[1])}, is now {_shown(difference[2])} ({job.where})"
        if difference
        else f"the code version of the stage was {card.code_version}, is now {job.stage.version}"
    )
    if commit and then is not None and first_difference(card.parameters, then) is None:
        remarks.notes.append(f"made with the parameters of the commit {commit[:SHORT]}; since then: {what}")
    elif commit and not commits.has(commit):
        remarks.undecided.append(
            f"whether it was made with the parameters of its commit {commit[:SHORT]}, because that commit is not here; "
            f"they are not those in params/: {what}"
        )
    else:
        yield f"made with parameters that are neither those in params/ nor those of its commit: {what}"


def _shown(value: Any) -> str:
    """A parameter in a message, without the end of a long one."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _code_problems(job: Job, record: RunRecord | None, commits: Commits, remarks: Remarks) -> Iterator[str]:
    """Where other code than the present one made a result. Every audit renders tables again, which shows more."""
    if job.stage.name == "make_tables" or version_of(record) is None:  # what is not recorded is reported already
        return
    code = code_state(job, record)
    commit = record.git_commit if record else None
    # Figures hold no number; their data are results of their own.
    if not code.is_current and job.stage.name == "make_figures":
        remarks.notes.append(f"other code drew the figures: {code.reason}")
    elif commit and code.commit_is_absent and not commits.has(commit):
        remarks.undecided.append(
            f"whether the code changed since its commit {commit[:SHORT]}, because that commit is not here"
        )
    elif not code.is_current:
        yield f"code changed: {code.reason}"
    if code.shown:
        remarks.notes.append(
            f"the code changed since, and was shown to give the same bytes ({code.shown}, {paths.SAME})"
        )
    if code.libraries:
        remarks.notes.append(f"made with {', '.join(code.libraries)}")
        remarks.libraries.extend(code.libraries)


def _value_problems(job: Job, record: RunRecord | None, bundle: Bundle) -> Iterator[str]:
    """Where metrics, run record and values per image disagree."""
    folder = bundle.locate(job.card).parent
    try:
        metrics = json.loads((folder / paths.METRICS).read_text(encoding="utf-8"))
        values = {name: metric["value"] for name, metric in metrics.items() if metric["value"] is not None}
    except FileNotFoundError:
        return  # not an evaluation, or reported already
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        yield f"{folder / paths.METRICS}: not a file of metrics ({error})"
        return
    if record is not None:
        for name in sorted(values.keys() | record.metrics.keys()):
            if values.get(name) != record.metrics.get(name):
                yield f"{name} is {values.get(name)!r} in {paths.METRICS}, {record.metrics.get(name)!r} in its run record"
    for name, mean in _means(folder / paths.IMAGES).items():
        value = next((v for metric, v in values.items() if metric.rpartition("_")[0] == name), None)
        if value is not None and not math.isclose(mean, value, rel_tol=_CLOSE):
            yield f"{name} is {value!r} in {paths.METRICS}, the mean over {paths.IMAGES} is {mean!r}"


def _means(path: Path) -> dict[str, float]:
    """Mean of each metric over images; empty if the values per image are not published."""
    if not path.exists():
        return {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return (
            {name: math.fsum(float(row[name]) for row in rows) / len(rows) for name in rows[0] if name != "id"}
            if rows
            else {}
        )
    except (TypeError, ValueError, csv.Error):
        return {}  # the comparison with the card reports the changed file
