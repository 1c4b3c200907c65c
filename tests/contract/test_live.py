"""What runs, what failed and what was stopped is told from the files that jobs write, and never wrongly as running."""

import json
from pathlib import Path

import pytest
from filelock import FileLock
from tests_support import write_params

from favae.jobs.grid import Grid
from favae.results.cards import content_key, write_card
from favae.results.live import Phase, last_losses, look, rows_after
from favae.runtime import paths

CELL = ("train_autoencoder", "natural-f4-favae")


@pytest.fixture
def grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Grid:
    write_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    return Grid("tiny")


def write_state(rows: list[dict[str, float]], log: str = "") -> Path:
    state = paths.state_dir("tiny", *CELL, key="k" * 64)
    state.mkdir(parents=True)
    (state / "curves.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = paths.log("tiny", *CELL)
    file.parent.mkdir(parents=True)
    file.write_text(log)
    return state


ROWS = [{"step": 5, "train/l1": 0.5}, {"step": 10, "train/l1": 0.25}, {"step": 10, "val/l1": 0.3}]


def test_a_job_whose_lock_is_held_runs_with_its_last_losses(grid: Grid) -> None:
    state = write_state(ROWS, "2026-01-02 03:04:05,678 INFO natural-f4-favae: 10/40  2.5/s  ETA 00:12  l1 0.25\n")
    (state / "samples.png").write_bytes(b"")
    with FileLock(paths.cell_lock("tiny", *CELL)):
        live = look(grid, grid.job(*CELL))
    assert (live.phase, live.step, live.eta) == (Phase.RUNNING, 10, "00:12")
    assert live.losses == {"train/l1": 0.25, "val/l1": 0.3}
    assert live.image == state / "samples.png"


def test_looking_at_a_lock_does_not_keep_the_job_from_it(grid: Grid) -> None:
    write_state(ROWS)
    lock = FileLock(paths.cell_lock("tiny", *CELL), timeout=0)
    with lock:
        pass
    assert look(grid, grid.job(*CELL)).phase is Phase.STOPPED
    with lock:  # the look gave it back
        assert look(grid, grid.job(*CELL)).phase is Phase.RUNNING


@pytest.mark.parametrize(
    ("log", "phase", "reason"),
    [
        (
            "2026-01-02 03:04:05,678 ERROR x: step 12: a loss is not finite: l1 nan\n",
            Phase.FAILED,
            "step 12: a loss is not finite",
        ),
        (
            "2026-01-02 03:04:05,678 WARNING x: stopped by a signal at step 10; saved\n",
            Phase.STOPPED,
            "stopped by a signal",
        ),
        ("", Phase.STOPPED, "ended without a message"),
    ],
)
def test_a_job_that_does_not_run_says_why(grid: Grid, log: str, phase: Phase, reason: str) -> None:
    write_state(ROWS, log)
    live = look(grid, grid.job(*CELL))
    assert live.phase is phase
    assert reason in live.reason
    assert live.step == 10


def test_a_job_that_never_began_waits_and_one_with_a_result_is_done(grid: Grid) -> None:
    job = grid.job("prepare_dataset", "natural")
    assert look(grid, job).phase is Phase.WAITING
    job.card.parent.mkdir(parents=True)
    write_card(job, content_key(job, {}), {}, [], {"counts": {"train": 80}})
    assert look(grid, job).phase is Phase.DONE
    write_state(ROWS)
    training = grid.job(*CELL)
    config = training.config.training  # type: ignore[attr-defined]
    assert look(grid, training).total == config.length.in_steps(80, config.batch_size)


def test_a_job_that_was_killed_before_its_first_losses_shows_as_stopped(grid: Grid) -> None:
    paths.state_dir("tiny", *CELL, key="k" * 64).mkdir(parents=True)
    live = look(grid, grid.job(*CELL))
    assert (live.phase, live.step) == (Phase.STOPPED, 0)
    assert "ended without a message" in live.reason


def test_a_row_that_is_being_written_is_not_read(grid: Grid) -> None:
    file = write_state(ROWS) / "curves.jsonl"
    with file.open("a") as handle:
        handle.write('{"step": 15, "train/l')
    assert last_losses(file)["step"] == 10
    assert list(rows_after(file, 5)) == [(10, {"train/l1": 0.25}), (10, {"val/l1": 0.3})]
