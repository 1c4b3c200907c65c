"""Reports SLURM jobs of a workflow that can never start, for which Snakemake would silently wait."""

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

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
HELD = ("JobHeldAdmin", "JobHeldUser", "launch failed requeued held", "job requeued in held state")


def watch_queue(say: Callable[[str], object], every: float = 15.0) -> None:
    """Check the queue every `every` seconds in a daemon thread; report each job that cannot start once, through `say`."""

    def watch() -> None:
        said: set[str] = set()
        while True:
            pause.wait(every)
            for number, message in hopeless_jobs():
                if number not in said:
                    say(message)
                    said.add(number)

    pause = threading.Event()
    threading.Thread(target=watch, name="queue watch", daemon=True).start()


def hopeless_jobs() -> Iterator[tuple[str, str]]:
    """(number, message) of each job submitted from this folder that cannot start with the resources it requested."""
    command = ["squeue", "--noheader", "--states=PENDING", f"--user={os.getuid()}", "--format=%i|%r|%Z|%k"]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return  # asked again later
    for line in lines:
        number, reason, folder, comment = line.split("|", 3)
        if Path(folder) != Path.cwd():
            continue
        if reason.endswith(NEVER):
            advice = "Press Ctrl-C, request less in the profile (time, CPUs, memory, GPUs, or another partition), and start again."
            yield number, f"SLURM job {number} ({comment}) will not start: {reason}. {advice}"
        elif reason in HELD:
            yield (
                number,
                f"SLURM job {number} ({comment}) is held: {reason}. To release it: scontrol release {number}",
            )
