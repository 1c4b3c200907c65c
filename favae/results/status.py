"""State of every cell, from contents only."""

from favae.jobs.grid import Job, load_grid
from favae.results.cards import State, state_of


def statuses(scale: str | None, *, verify_bytes: bool = True) -> list[tuple[Job, State, str]]:
    """Every job of a scale with its state and the reason. A cell below a stale or missing one is stale too."""
    rows: list[tuple[Job, State, str]] = []
    bad: dict[str, str] = {}  # card path -> name of the job that is not ok
    for job in load_grid(scale):
        state, reason = state_of(job, verify_bytes=verify_bytes)
        upstream = next((bad[p.as_posix()] for p in job.inputs.values() if p.as_posix() in bad), None)
        if state is State.OK and upstream is not None:
            state, reason = State.STALE, f"its input {upstream} is not ok"
        if state is not State.OK:
            bad[job.card.as_posix()] = job.name
        rows.append((job, state, reason))
    return rows
