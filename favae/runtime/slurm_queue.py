"""Says which of a workflow's SLURM jobs wait for what the cluster never gives; Snakemake would wait with them, silently."""

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

# Reasons that no waiting mends (squeue's "job reason codes"); limits of one job of an account or QOS end in PerJobLimit.
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
# SLURM does not start these by itself again: a person did that, or the node could not start the job.
HELD = ("JobHeldAdmin", "JobHeldUser", "launch failed requeued held", "job requeued in held state")


def watch_queue(say: Callable[[str], object], every: float = 15.0) -> None:
    """Look at the queue every `every` seconds, in a thread that ends with this process; `say` each hopeless job once."""

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
    """(number, message) of each job submitted from this folder that can not start as it was asked for."""
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
            advice = "Press Ctrl-C, ask for less in the profile (time, CPUs, memory, GPUs or another partition), and start again."
            yield number, f"SLURM job {number} ({comment}) will not start: {reason}. {advice}"
        elif reason in HELD:
            yield (
                number,
                f"SLURM job {number} ({comment}) is held: {reason}. It goes on after: scontrol release {number}",
            )
