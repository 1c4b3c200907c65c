"""`kill -9` of any process at any moment: the next plain command resumes, and finished results are not made again."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from contract_support import edit, started
from tests_support import call, environment, planned

FIGURES = "make_figures/all"


def start(project: Path, *command: str) -> subprocess.Popen[bytes]:
    """A command in a separate session, so that only the intended process gets the signal."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, cwd=project, env=environment(), start_new_session=True, **quiet)


def command_of(parent: subprocess.Popen[bytes], *words: str) -> psutil.Process | None:
    """The running `favae WORDS` that a workflow started, or None."""
    try:
        below = psutil.Process(parent.pid).children(recursive=True)
        return next((child for child in below if tuple(child.cmdline()[2 : 2 + len(words)]) == words), None)
    except psutil.NoSuchProcess:
        return None


def wait_for(what: Callable[[], object], seconds: float = 120) -> object:
    end = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.1)
    return value


def test_a_job_that_outlives_its_snakemake_is_not_run_again(results: Path) -> None:
    edit(results, "figures.yaml", "dpi: 160", "dpi: 90")
    workflow = start(results, "snakemake")
    job = wait_for(lambda: command_of(workflow, "run"))
    assert isinstance(job, psutil.Process)
    job.suspend()
    second = call(results, "snakemake", check=False)
    assert second.returncode == 1
    assert "another Snakemake runs in this folder" in second.stdout + second.stderr
    workflow.kill()
    workflow.wait()
    job.resume()
    wait_for(lambda: not job.is_running())
    record = started(results)[FIGURES]
    call(results, "snakemake")
    assert started(results)[FIGURES] == record
    assert planned(results) == set()
    assert call(results, "dvc", "status").stdout.strip() == "Data and pipelines are up to date."
    assert not list((results / "data/state").rglob("spare")), "a spare copy of a locked result that is not only kept"


def test_a_requested_rerun_really_runs(results: Path) -> None:
    before = started(results)["make_tables/all"]
    call(results, "snakemake", "--no-hooks", "--forcerun", "make_tables")
    assert started(results)["make_tables/all"] != before


def test_two_locks_at_once(results: Path) -> None:
    edit(results, "tables.yaml", "held-out photographs", "photographs")
    call(results, "snakemake", "--no-hooks")
    locks = [start(results, "favae", "lock") for _ in range(2)]
    assert [lock.wait(timeout=300) for lock in locks] == [0, 0]
    assert call(results, "dvc", "status").stdout.strip() == "Data and pipelines are up to date."


def test_results_of_a_run_killed_before_it_recorded_them_are_recorded_by_the_next(results: Path) -> None:
    edit(results, "figures.yaml", "dpi: 160", "dpi: 90")
    workflow = start(results, "snakemake")
    wait_for(lambda: command_of(workflow, "internal", "finish"))
    os.killpg(workflow.pid, signal.SIGKILL)
    workflow.wait()
    assert planned(results) == set()
    assert "check_parameters" in call(results, "dvc", "status").stdout
    said = call(results, "snakemake").stderr
    assert "Nothing to be done" in said and "locked 18 of 18 cells" in said
    assert call(results, "dvc", "status").stdout.strip() == "Data and pipelines are up to date."
    assert "locked" not in call(results, "snakemake").stderr


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_workflow_killed_at_random_moments_ends_with_the_same_results(results: Path) -> None:
    chance = random.Random(0)
    heavy = {job: when for job, when in started(results).items() if not job.startswith("make_")}
    dpi, kills = 160, int(os.environ.get("FAVAE_KILLS", "4"))
    for attempt in range(kills):
        edit(results, "figures.yaml", f"dpi: {dpi}", f"dpi: {90 + attempt}")
        dpi = 90 + attempt
        victim = ("job", "snakemake", "dvc", "lock")[attempt % 4]
        _kill(results, victim, chance.uniform(0.5, 12))
        command = {"dvc": ("dvc", "repro"), "lock": ("favae", "lock")}.get(victim, ("snakemake",))
        wait_for(lambda command=command: _goes_on(results, *command), 300)
        said = call(results, "snakemake").stderr
        where = f"attempt {attempt}, {victim}:\n{said}"
        assert call(results, "favae", "status").returncode == 0, where
        assert call(results, "dvc", "status").stdout.strip() == "Data and pipelines are up to date.", where
        assert planned(results) == set(), where
        assert {job: when for job, when in started(results).items() if job in heavy} == heavy, where
    print(f"{kills} kills, each mended by the next plain command; {len(heavy)} results were never made again")


def _kill(project: Path, victim: str, delay: float) -> None:
    if victim == "lock":
        call(project, "snakemake", "--no-hooks")
    command = {"dvc": ("dvc", "repro"), "lock": ("favae", "lock")}.get(victim, ("snakemake",))
    running = start(project, *command)
    if victim == "job":
        if isinstance(
            job := wait_for(lambda: command_of(running, "run") or running.poll() is not None), psutil.Process
        ):
            time.sleep(delay / 4)
            if job.is_running():
                job.send_signal(signal.SIGKILL)
    else:
        time.sleep(delay)
        running.kill()
    running.wait()


def _goes_on(project: Path, *command: str) -> bool:
    """Whether a plain command succeeds; it may fail only because of processes that survived the killed one.

    Or because of a file that DVC writes in place, and then says to be damaged: a survivor or the remedy of contract.md mends it.
    """
    done = call(project, *command, check=False)
    said = done.stdout + done.stderr
    if "RWLock-file" in said:
        call(project, "favae", "lock", check=False)
        return False
    still_there = ("another Snakemake runs in this folder", "another process is working on this cell")
    assert done.returncode == 0 or any(line in said for line in still_there), said
    return done.returncode == 0
