"""Why a result is not current: the first difference between its card and the current parameters."""

from typing import Any

from favae.config.errors import ConfigError
from favae.jobs.grid import Job, load_grid
from favae.results.cards import input_hashes, read_card
from favae.results.raw_data import changed_raw_data
from favae.results.status import State, code_of_result, state_of


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
    code = code_of_result(job)
    libraries = [f"  made with {library}" for library in code.libraries]
    if code.is_current:
        shown = f"ok: by other code, which was shown to give the same bytes ({code.shown})" if code.shown else "ok"
        return "\n".join([f"{job.name}: {shown}", *libraries])
    what = [code.unknown] if code.unknown else list(code.changed)
    remedy = f"to compare both versions: favae same {job.name}; to make it again: snakemake --forcerun {job.card}"
    return "\n".join([f"{job.name}: code changed:", *(f"  {line}" for line in what), *libraries, remedy])
