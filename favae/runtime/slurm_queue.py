"""Jobs of a workflow that SLURM keeps waiting, for which Snakemake would silently wait: reported, or released."""

import os
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from favae.runtime.slurm import ask

# squeue's reason codes of jobs that will never start. The codes for per-job limits of an account or QOS end in PerJobLimit.
NEVER = (
    "AccountNotAllowed",
    "BadConstraints",
    "InvalidAccount",
    "InvalidQOS",
    "PartitionConfig",
    "PartitionNodeLimit",
    "PartitionTimeLimit",
    "PerJobLimit",
    "QOSNotAllowed",
)
# Held jobs, which SLURM does not start by itself: a person held the job, or its node could not start it.
HELD = ("JobHeldAdmin", "JobHeldUser", "job requeued in held state")
LAUNCH_FAILED = "launch failed requeued held"
# How often a job whose launch failed is released. SLURM starts a released job two minutes later, so over six minutes and more.
RELEASES = 3


@dataclass(frozen=True)
class WaitingJob:
    """A pending job that was submitted from this folder."""

    number: str
    reason: str  # of squeue
    comment: str  # names rule and cell

    @classmethod
    def all(cls) -> Iterator["WaitingJob"]:
        """Those of this user; none while the controller does not answer."""
        command = ["squeue", "--noheader", "--states=PENDING", f"--user={os.getuid()}", "--format=%i|%r|%Z|%k"]
        try:
            lines = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=60, check=True
            ).stdout.splitlines()
        except (OSError, subprocess.SubprocessError):
            return  # asked again later
        for line in lines:
            number, reason, folder, comment = line.split("|", 3)
            if Path(folder) == Path.cwd():
                yield cls(number, reason.replace("_", " "), comment)

    def __str__(self) -> str:
        return f"SLURM job {self.number} ({self.comment})"


@dataclass
class QueueWatch:
    """Looks at the queue again and again, and remembers what was said and released."""

    said: set[str] = field(default_factory=set)
    releases: Counter[str] = field(default_factory=Counter)  # per job

    def look(self) -> Iterator[str]:
        """New messages: each job that cannot start once, and each release of a job whose node failed to start it."""
        for job in WaitingJob.all():
            if job.reason == LAUNCH_FAILED and (message := self._release(job)):
                yield message
            elif job.number not in self.said and (message := hopeless(job)):
                self.said.add(job.number)
                yield message

    def _release(self, job: WaitingJob) -> str | None:
        """Release a job; None if that was done often enough, or is refused."""
        if self.releases[job.number] == RELEASES or ask("scontrol", "release", job.number, quietly=True) is None:
            return None
        self.releases[job.number] += 1
        count = self.releases[job.number]
        return f"{job} could not be started by its node, and was held: {job.reason}. Released, {count} of at most {RELEASES} times"


def hopeless(job: WaitingJob) -> str | None:
    """Why a job will not start, and what to do about it; None if it may start."""
    if job.reason.endswith(NEVER):
        advice = "Press Ctrl-C, request less in the profile (time, CPUs, memory, GPUs, or another partition), and start again."
        return f"{job} will not start: {job.reason}. {advice}"
    if job.reason in (*HELD, LAUNCH_FAILED):
        return f"{job} is held: {job.reason}. To release it: scontrol release {job.number}"
    return None


def watch_queue(say: Callable[[str], object], every: float = 15.0) -> None:
    """Look at the queue every `every` seconds in a daemon thread; say what is new through `say`."""

    def watch() -> None:
        queue = QueueWatch()
        while True:
            pause.wait(every)
            for message in queue.look():
                say(message)

    pause = threading.Event()
    threading.Thread(target=watch, name="queue watch", daemon=True).start()
