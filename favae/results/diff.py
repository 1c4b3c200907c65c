"""Why a result is not current: the first difference between its card and the current parameters."""

from typing import Any

from favae.config.errors import ConfigError
from favae.jobs.grid import Job, load_grid
from favae.results.bundle import Bundle
from favae.results.cards import input_hashes, read_card
from favae.results.code_state import CodeState, code_state
from favae.results.raw_data import changed_raw_data
from favae.results.run_record import read_record
from favae.results.status import State, code_of_result, state_of
from favae.runtime.paths import run_record


def first_difference(old: Any, new: Any, path: str = "") -> tuple[str, Any, Any] | None:
    """The first difference (in sorted order of keys) between two JSON values, as (path, old, new); None if they are equal."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            below = f"{path}.{key}" if path else key
            found = first_difference(old.get(key, "(absent)"), new.get(key, "(absent)"), below)
            if found:
                return found
        return None
    return None if old == new and type(old) is type(new) else (path, old, new)


def explain(target: str, scale: str | None) -> str:
    """One line about `stage/cell`: its state, or the first field in which its card and the current parameters differ."""
    stage, _, cell = target.partition("/")
    if not cell:
        raise ConfigError(f"{target!r}: expected STAGE/CELL, as `favae status` lists them")
    job = load_grid(scale).job(stage, cell)
    state, reason = state_of(job)
    if state is State.OK:
        return _explain_origin(job)
    if state is State.MISSING and (published := _explain_published(job)):
        return published
    if state is not State.STALE:
        return f"{job.name}: {state.value}{': ' + reason if reason else ''}"
    card = read_card(job.card)
    if found := first_difference(card.parameters, job.parameters):
        return f"{job.name}: stale: {found[0]} was {found[1]!r}, is now {found[2]!r} ({job.where})"
    try:
        found = first_difference(card.inputs, input_hashes(job))
    except FileNotFoundError as error:
        return f"{job.name}: stale: input {error.filename} is missing"
    return f"{job.name}: stale: input {found[0]} changed" if found else f"{job.name}: stale: {reason}"


def _explain_origin(job: Job) -> str:
    """What a result whose key and bytes are right was made from, where that is not what is here."""
    if changes := changed_raw_data(job):
        return "\n".join([f"{job.name}: raw data changed since it was prepared:", *(f"  {line}" for line in changes)])
    remedy = f"to compare both versions: favae same {job.name}; to make it again: snakemake --forcerun {job.card}"
    return _explain_code(job.name, code_of_result(job), remedy)


def _explain_published(job: Job) -> str:
    """The same of a published result, where there is no own one; empty where none is published."""
    bundle = Bundle.of(job.scale)
    try:
        job = job.with_parameters(read_card(bundle.locate(job.card)).parameters)
        record = read_record(bundle.locate(run_record(job.scale, job.stage.name, job.cell)))
    except (FileNotFoundError, ValueError):
        return ""
    remedy = f"to compare both versions: favae same {job.name}; what else holds: favae audit --scale {job.scale}"
    return _explain_code(f"{job.name}, as published in {bundle.root}", code_state(job, record), remedy)


def _explain_code(name: str, code: CodeState, remedy: str) -> str:
    """Whether a result is of the present code, or the units that differ."""
    libraries = [f"  made with {library}" for library in code.libraries]
    if code.is_current:
        shown = f"ok: by other code, which was shown to give the same bytes ({code.shown})" if code.shown else "ok"
        return "\n".join([f"{name}: {shown}", *libraries])
    what = [code.unknown] if code.unknown else list(code.changed)
    return "\n".join([f"{name}: code changed:", *(f"  {line}" for line in what), *libraries, remedy])
