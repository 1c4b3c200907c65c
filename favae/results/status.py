"""State of every cell, from file contents only."""

from enum import StrEnum
from pathlib import Path
from typing import Literal

from favae.jobs.grid import Job, load_grid
from favae.results.cards import Output, content_key, describe, input_hashes, read_card, size_of
from favae.results.code_state import CodeState, code_state
from favae.results.raw_data import changed_raw_data
from favae.results.run_record import read_run_record


class State(StrEnum):
    """State of a cell's result under the current parameters."""

    OK = "ok"
    MISSING = "missing"
    STALE = "stale"
    CORRUPT = "corrupt"
    CODE = "code changed"  # what is there has the key and the bytes of its card, but other code made it
    RAW = "raw data changed"


Check = Literal["sizes", "remembered", "bytes"]
INPUT = "its input"  # begins the reason where an input is not ok


def state_of(job: Job, *, check: Check = "remembered") -> tuple[State, str]:
    """State of the result of `job`, and the reason. Compares contents, never times.

    Args:
        job: whose result.
        check: how outputs are compared with the card: by size alone, by hash (a large file that was not touched since it
            was hashed last is not hashed again), or by the hash of all bytes in any case.
    """
    try:
        card = read_card(job.card)
    except FileNotFoundError:
        former = _former_name(job)
        return (
            State.MISSING,
            f"no card (renamed? {former} left the grid and has the same parameters)" if former else "no card",
        )
    except ValueError as error:
        return State.CORRUPT, str(error)
    try:
        hashes = input_hashes(job)
    except OSError as error:
        what = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        return State.STALE, f"input {error.filename} {what}"
    if card.key != content_key(job, hashes):
        return State.STALE, "parameters or an input changed"
    for name, output in card.outputs.items():
        path = Path(name)
        if not path.exists():
            return State.MISSING, f"{name} is missing"
        try:
            if _differs(path, output, check):
                return State.CORRUPT, f"{name} does not match its card"
        except OSError as error:
            return State.CORRUPT, f"{error.filename} cannot be read ({error.strerror})"
    return State.OK, ""


def _former_name(job: Job) -> str | None:
    """A cell of the same stage that left the grid, and whose result has the parameters of `job`: it was renamed."""
    known = job.cells[job.stage.name]
    for path in sorted(job.card.parent.parent.glob(f"*/{job.card.name}")):
        try:
            if path.parent.name not in known and read_card(path).parameters == job.parameters:
                return path.parent.name
        except (OSError, ValueError):
            continue
    return None


def _differs(path: Path, output: Output, check: Check) -> bool:
    if check == "sizes":
        return size_of(path) != output.size
    if check == "remembered" and describe(path) == output:
        return False
    return describe(path, again=True) != output  # no result is called corrupt from memory


def statuses(scale: str | None, *, check: Check = "remembered", origin: bool = True) -> list[tuple[Job, State, str]]:
    """Every job of a scale with its state and the reason. A cell is also stale if one of its inputs is not ok.

    `check` is that of `state_of`. With `origin`, the code that made a result is compared with the present one, and, unless
    only sizes are compared, raw data with those that were prepared.
    """
    rows: list[tuple[Job, State, str]] = []
    bad: dict[str, tuple[str, State]] = {}  # card path -> name and state of the job that is not ok
    for job in load_grid(scale):
        state, reason = state_of(job, check=check)
        upstream = next((bad[p.as_posix()] for p in job.inputs.values() if p.as_posix() in bad), None)
        if state is State.OK and upstream is not None:
            of_origin = upstream[1] in (State.CODE, State.RAW)
            state, reason = upstream[1] if of_origin else State.STALE, f"{INPUT} {upstream[0]} is not ok"
        if state is State.OK and origin:
            state, reason = _origin(job, raw=check != "sizes")
        if state is not State.OK:
            bad[job.card.as_posix()] = job.name, state
        rows.append((job, state, reason))
    return rows


def code_of_result(job: Job) -> CodeState:
    """How the code of the result in `data/` relates to the present one."""
    try:
        return code_state(job, read_run_record(job.scale, job.stage.name, job.cell))
    except ValueError:
        return code_state(job, None)


def _origin(job: Job, *, raw: bool) -> tuple[State, str]:
    """The state of a result whose key and bytes are right, by what it was made from."""
    if raw and (changes := changed_raw_data(job)):
        more = f" and {len(changes) - 1} more" if len(changes) > 1 else ""
        return State.RAW, f"{changes[0]}{more}"
    code = code_of_result(job)
    if not code.is_current:
        return State.CODE, code.reason
    return State.OK, f"made with {', '.join(code.libraries)}" if code.libraries else ""
