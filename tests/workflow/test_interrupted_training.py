"""A training killed by the operating system and started again ends with the same bytes as an uninterrupted one."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from filelock import FileLock
from slurm_support import reached, until
from tests_support import call, environment

from favae.results.cards import read_card

CELL = ("train_autoencoder", "natural-f4-favae")


def longer(project: Path) -> None:
    """Enough steps for an interruption in the middle; the discriminator starts half-way."""
    numbers = project / "params/tiny.yaml"
    text = (
        numbers.read_text().replace("length: 6 steps", "length: 60 steps").replace("start: 3 steps", "start: 30 steps")
    )
    numbers.write_text(text)


def forget(project: Path) -> None:
    """Remove the result and its spare copy, so that it must be trained again."""
    shutil.rmtree(project / "data/tiny" / "/".join(CELL))
    shutil.rmtree(project / "data/state/tiny" / "/".join(CELL))


def start(project: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["favae", "run", *CELL], cwd=project, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


PAUSED = """
import os, runpy, shutil, signal, sys
from favae.training.autoencoder import AutoencoderTask
pause, train_step = int(sys.argv.pop(1)), AutoencoderTask.train_step
def pausing(task, batch, step):
    if step == pause:
        os.kill(os.getpid(), signal.SIGSTOP)
    return train_step(task, batch, step)
AutoencoderTask.train_step = pausing
runpy.run_path(shutil.which("favae"), run_name="__main__")
"""


def start_and_pause(project: Path, step: int) -> subprocess.Popen[bytes]:
    """A training that stops, on a machine of any speed, after `step` steps and the start of the next."""
    process = subprocess.Popen(
        [sys.executable, "-c", PAUSED, str(step), "run", *CELL],
        cwd=project,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: psutil.Process(process.pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE))
    assert process.poll() is None, f"training never reached step {step}"
    return process


@pytest.fixture(scope="module")
def prepared(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared data, and an uninterrupted longer training."""
    folder = tmp_path_factory.mktemp("prepared") / "project"
    shutil.copytree(finished, folder, symlinks=True)
    longer(folder)
    call(folder, "favae", "run", *CELL)
    return folder


@pytest.mark.parametrize(
    ("number", "step", "saved"), [(signal.SIGKILL, 11, 10), (signal.SIGTERM, 20, 21), (signal.SIGKILL, 41, 40)]
)
def test_a_killed_preparation_that_is_started_again_ends_with_the_same_bytes(
    prepared: Path, tmp_path: Path, number: signal.Signals, step: int, saved: int
) -> None:
    whole = read_card(prepared / "data/tiny" / "/".join(CELL) / "card.json")
    project = tmp_path / "project"
    shutil.copytree(prepared, project, symlinks=True)
    forget(project)
    process = start_and_pause(project, step)
    process.send_signal(number)
    process.send_signal(signal.SIGCONT)
    assert process.wait(timeout=60) == (-signal.SIGKILL if number == signal.SIGKILL else 75)
    assert not (project / "data/tiny" / "/".join(CELL) / "card.json").exists()
    done = call(project, "favae", "run", *CELL)
    assert f"resuming from step {saved} of" in done.stderr
    again = read_card(project / "data/tiny" / "/".join(CELL) / "card.json")
    assert again == whole


def test_on_a_full_disk_the_previous_checkpoint_stays_intact(prepared: Path, tmp_path: Path) -> None:
    whole = read_card(prepared / "data/tiny" / "/".join(CELL) / "card.json")
    project = tmp_path / "project"
    shutil.copytree(prepared, project, symlinks=True)
    forget(project)
    process = start_and_pause(project, 11)
    process.kill()
    process.wait()
    states = project / "data/state/tiny" / "/".join(CELL)
    before = {path.name: path.read_bytes() for path in states.glob("*/step-*.pt")}
    full = subprocess.run(  # no file may grow beyond 40 kB: writing fails as on a full disk, whoever runs this
        ["bash", "-c", 'ulimit -f 40; exec "$@"', "bash", "favae", "run", *CELL],
        cwd=project,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert full.returncode == 1
    assert "cannot be written" in full.stderr
    assert "make room and start again" in full.stderr
    assert {path.name: path.read_bytes() for path in states.glob("*/step-*.pt")} == before
    call(project, "favae", "run", *CELL)
    assert read_card(project / "data/tiny" / "/".join(CELL) / "card.json") == whole


def test_a_training_stopped_with_two_processes_resumes_with_one(prepared: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(prepared, project, symlinks=True)
    forget(project)
    numbers = project / "params/tiny.yaml"
    one = numbers.read_text()
    numbers.write_text(one.replace("  threads: 1\n", "  threads: 1\n  ranks: 2\n", 1))
    process = start(project)
    until(lambda: reached(project, CELL[1]) or process.poll() is not None, every=0.02)
    process.terminate()
    assert process.wait(timeout=120) == 75
    numbers.write_text(one)
    done = call(project, "favae", "run", *CELL)
    assert "resuming from step" in done.stderr
    alone, card = (read_card(p / "data/tiny" / "/".join(CELL) / "card.json") for p in (prepared, project))
    assert card.key == alone.key
    assert card.summary["best_objective"] == pytest.approx(alone.summary["best_objective"], rel=0.05)


def test_a_second_copy_of_a_job_exits_with_a_clear_message(prepared: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(prepared, project, symlinks=True)
    forget(project)
    lock = project / "data/state/tiny" / "/".join(CELL) / "lock"
    lock.parent.mkdir(parents=True)
    with FileLock(lock):
        second = call(project, "favae", "run", *CELL, check=False)
    assert second.returncode == 1
    assert "another process is working on this cell" in second.stderr
    assert "Traceback" not in second.stderr
    assert call(project, "favae", "run", *CELL).returncode == 0
