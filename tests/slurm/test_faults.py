"""A bad night on a cluster without accounting: everything that can happen to three trainings happens, and Snakemake ends well.

One training (LONG) is stopped by its time limit twice, by a signal, by preemption and by a node that fails; another (CANCELLED) is
cancelled; a third (HUNGRY) asks for too little memory. Meanwhile the controller is unavailable, and at the end the node
is drained.
"""

import json
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from slurm_support import (
    HANGS,
    Cluster,
    Workflow,
    awaits_signal,
    ended,
    hold,
    reached,
    resume,
    set_up,
    until,
)
from tests_support import call, environment

from favae.results.cards import read_card

pytestmark = pytest.mark.slurm
LONG, CANCELLED, HUNGRY = "natural-f4-favae", "natural-f4-vqgan", "natural-f2-favae"
MEMORY = f"50 * 6 ** attempt if wildcards.cell == '{HUNGRY}' else 3000"
STEPS = 150
CHECKPOINT_EVERY = 2


def card(cell: str) -> str:
    return f"data/tiny/train_autoencoder/{cell}/card.json"


def longer(finished: Path, folder: Path) -> Path:
    """A project with prepared data and stale trainings, whose length was increased."""
    project = Path(shutil.copytree(finished, folder / "project", symlinks=True))
    numbers = project / "params/tiny.yaml"
    text = numbers.read_text()
    assert "length: 6 steps" in text
    numbers.write_text(text.replace("length: 6 steps", f"length: {STEPS} steps"))
    set_up(project, rules=f'  train_autoencoder: {{slurm_extra: "--signal=TERM@20", mem_mb: "{MEMORY}"}}\n')
    return project


@dataclass(frozen=True)
class End:
    """The state of an interrupted training, read after the end of its process."""

    saved: int  # step of its newest checkpoint
    done: int  # last step in its learning curve

    @classmethod
    def read(cls, project: Path, cell: str) -> "End":
        (curve,) = (project / "data/state/tiny/train_autoencoder" / cell).glob("*/curves.jsonl")
        lines = curve.read_text().split("\n")[:-1]  # a last line without an end was cut
        return cls(reached(project, cell), max(json.loads(line)["step"] for line in lines))


@dataclass
class Night:
    """The outcome of the night."""

    workflow: Workflow
    uninterrupted: Path
    ends: list["End"]  # of LONG, each for another reason

    def jobs(self, cell: str) -> list[dict[str, str]]:
        found = self.workflow.cluster.jobs(self.workflow.project)
        return [j for j in found if j["Comment"].endswith(f"tiny_{cell}")]

    def log(self, job: dict[str, str]) -> str:
        """What SLURM kept of the output of a job."""
        (path,) = (self.workflow.project / ".snakemake/slurm_logs").rglob(f"{job['JobId']}.log")
        return path.read_text()


@pytest.fixture(scope="module")
def night(cluster: Cluster, finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Night:
    reference = longer(finished, tmp_path_factory.mktemp("reference"))
    project = longer(finished, tmp_path_factory.mktemp("night"))
    workflow = Workflow(cluster, project, "--", *map(card, (LONG, CANCELLED, HUNGRY)))
    try:
        ends = _trouble(cluster, project)
        uninterrupted = subprocess.Popen(["favae", "run", "train_autoencoder", LONG], cwd=reference, env=environment())
        assert workflow.wait() == 0, workflow.account
        assert uninterrupted.wait(timeout=HANGS) == 0
    finally:
        workflow.stop()
        cluster.bring_back("gpu1")
    return Night(workflow, reference, ends)


def _trouble(cluster: Cluster, project: Path) -> list[End]:
    """Let everything go wrong; returns the state of LONG after each interruption."""
    cancelled = until(lambda: cluster.job(project, CANCELLED))["JobId"]
    cluster.ask("scancel", cancelled)
    number = until(lambda: cluster.job(project, LONG))["JobId"]
    urgent = ("sbatch", "--partition=urgent", "--gpus=2", "--time=1", "--output=/dev/null", "--wrap=sleep 1")
    events = [
        lambda: _limit(cluster, number),
        lambda: _limit(cluster, number),
        lambda: cluster.ask("scancel", "--signal=TERM", number),
        lambda: cluster.ask(*urgent),
        lambda: cluster.ask("scontrol", "update", "nodename=gpu1", "state=down", "reason=test"),
    ]
    ends = []
    for count, event in enumerate(events):
        process = hold(project, LONG)
        if count == 2:
            cluster.take_away("slurmctld")
            until(lambda: (project / card(CANCELLED)).exists() and (project / card(HUNGRY)).exists())
        event()
        until(lambda process=process: ended(process) or awaits_signal(process, signal.SIGTERM))
        resume(process)
        until(lambda process=process: ended(process))
        ends.append(End.read(project, LONG))
        _start_again(cluster, number)
    process = hold(project, LONG)
    cluster.ask("scontrol", "update", "nodename=gpu1", "state=drain", "reason=test")
    process.resume()
    return ends


def _limit(cluster: Cluster, number: str) -> None:
    """Lower the time limit of a job to the next minute or the one after it; SLURM looks at limits every thirty seconds."""
    spent = cluster.ask("squeue", "--noheader", "--jobs", number, "--format=%M").strip()  # minutes:seconds
    minutes, seconds = map(int, spent.split(":"))
    cluster.ask("scontrol", "update", f"jobid={number}", f"timelimit={minutes + (1 if seconds < 20 else 2)}")


def _start_again(cluster: Cluster, number: str) -> None:
    """Wait until a job is requeued, and skip the two minutes for which SLURM delays it."""
    until(lambda: cluster.ask("squeue", "--noheader", "--jobs", number, "--format=%T").strip() == "PENDING")
    until(lambda: not cluster.still_ending(number))
    cluster.bring_back("gpu1")
    cluster.ask("scontrol", "update", f"jobid={number}", "timelimit=60", "starttime=now")


def test_a_training_longer_than_its_limit_ends_with_the_weights_of_an_uninterrupted_one(night: Night) -> None:
    assert read_card(night.workflow.project / card(LONG)) == read_card(night.uninterrupted / card(LONG))


def test_a_training_resumes_in_one_job_from_its_newest_checkpoint(night: Night) -> None:
    (job,) = night.jobs(LONG)
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "5")
    starts = [int(step) for step in re.findall(r"resuming from step (\d+) of", night.log(job))]
    assert starts == [end.saved for end in night.ends]
    assert starts == sorted(set(starts)), "each start made steps of its own"


def test_a_signal_loses_no_step_and_a_failed_node_at_most_one_checkpoint_interval(night: Night) -> None:
    (job,) = night.jobs(LONG)
    *signalled, failed = night.ends
    stops = [int(step) for step in re.findall(r"stopped by a signal at step (\d+); saved", night.log(job))]
    assert stops[: len(signalled)] == [end.saved for end in signalled]
    assert failed.saved >= failed.done - CHECKPOINT_EVERY


def test_only_the_cancelled_job_was_submitted_again_with_the_same_time_limit(night: Night) -> None:
    jobs = night.jobs(CANCELLED)
    assert [job["JobState"] for job in jobs] == ["CANCELLED", "COMPLETED"]
    assert len({job["TimeLimit"] for job in jobs}) == 1, "a training resumes, so a longer slot is of no use"


def test_a_job_out_of_memory_got_more(night: Night) -> None:
    killed, done = night.jobs(HUNGRY)
    assert (killed["JobState"], done["JobState"]) == ("FAILED", "COMPLETED")
    assert "exceeded memory limit" in night.log(killed)
    assert (killed["MinMemoryNode"], done["MinMemoryNode"]) == ("300M", "1800M")


def test_nothing_is_left_to_do(night: Night) -> None:
    cells = [card(cell) for cell in (LONG, CANCELLED, HUNGRY)]
    again = call(night.workflow.project, "snakemake", "-n", "--", *cells)
    assert "Nothing to be done" in again.stdout + again.stderr
