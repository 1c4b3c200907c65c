"""The SLURM job of this process: its allocation, and how it is requeued; and which `sacct` and `sbatch` are called."""

import logging
import os
import re
import signal
import subprocess
from pathlib import Path

log = logging.getLogger(__name__)


def describe_job() -> str | None:
    """Number, node and devices of the SLURM job, for the log; None outside of one."""
    if not os.environ.get("SLURM_JOB_ID"):
        return None
    node = os.environ.get("SLURMD_NODENAME", "an unnamed node")
    restarts = int(os.environ.get("SLURM_RESTART_COUNT") or 0)
    again = f", restarted {restarts} times" if restarts else ""
    return f"SLURM job {os.environ['SLURM_JOB_ID']} on {node}, GPUs {os.environ.get('CUDA_VISIBLE_DEVICES') or 'none'}{again}"


def booked_gpus() -> str | None:
    """Numbers of the GPUs that SLURM gave this job on this node; None without a GPU or outside of SLURM."""
    if not os.environ.get("SLURM_JOB_ID"):
        return None
    for name in ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS", "CUDA_VISIBLE_DEVICES"):
        if (found := os.environ.get(name)) and found != "NoDevFiles":  # said by old versions to jobs without a GPU
            return found
    return None


def job_number() -> int:
    """Number of the SLURM job; 0 outside of one."""
    return int(os.environ.get("SLURM_JOB_ID") or 0)


def allocated_nodes() -> list[str]:
    """Names of the nodes of this SLURM job, in its order; empty outside of one.

    Asked from SLURM, because Snakemake's plugin removes SLURM_JOB_NODELIST from the environment of its jobs.
    """
    if not os.environ.get("SLURM_JOB_ID"):
        return []
    hosts = ask("squeue", "--noheader", "--jobs", os.environ["SLURM_JOB_ID"], "--format", "%N")
    return (ask("scontrol", "show", "hostnames", hosts) or "").split() if hosts else []


def address_of(node: str) -> str:
    """Address at which SLURM reaches a node. Other nodes may be unable to resolve the node's name."""
    found = re.search(r"NodeAddr=(\S+)", ask("scontrol", "--oneliner", "show", "node", node) or "")
    return found[1] if found else node


def requeue() -> bool:
    """Requeue this SLURM job under the same number. Returns whether SLURM accepted.

    Only for jobs that a workflow submitted (workflow/slurm-bin/sbatch marks them) and that SLURM reports as running, so a
    cancelled job stays cancelled. For Snakemake the job is still running, and no attempt is used up.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if not job or os.environ.get("FAVAE_REQUEUE") != "allowed":
        return False
    state = ask("squeue", "--noheader", "--jobs", job, "--format", "%T")
    if state != "RUNNING":
        log.warning("SLURM job %s is not requeued: its state is %s", job, state or "unknown to squeue")
        return False
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # sent by SLURM on a requeue; this process ends by itself
    if ask("scontrol", "requeue", job) is None:
        return False
    log.warning("SLURM job %s: requeued; it will resume from here", job)
    return True


def ask(*command: str, quietly: bool = False) -> str | None:
    """Output of a command of SLURM, without blanks around it; None if it fails, which is logged unless `quietly`."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        level = logging.DEBUG if quietly else logging.WARNING
        log.log(level, "%s: %s", " ".join(command), getattr(error, "stderr", None) or error)
        return None
    return done.stdout.strip()


def find_first(*folders: Path) -> None:
    """Let commands be found in `folders` before all others, by this process and those that it starts."""
    os.environ["PATH"] = os.pathsep.join([*map(str, folders), os.environ["PATH"]])
