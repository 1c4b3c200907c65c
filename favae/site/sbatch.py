"""Asking SLURM whether it would take a job, with the options that Snakemake's plugin makes of a request."""

import re
import subprocess
from collections.abc import Mapping

from favae.jobs.requests import Request

_OPTIONS = {
    "slurm_partition": "--partition",
    "slurm_account": "--account",
    "qos": "--qos",
    "constraint": "--constraint",
    "runtime": "--time",
    "mem_mb": "--mem",
    "mem_mb_per_cpu": "--mem-per-cpu",
    "gres": "--gres",
    "nodes": "--nodes",
    "tasks": "--ntasks",
}


def options_of(request: Mapping[str, object], threads: int) -> tuple[str, ...]:
    """The options of sbatch for a request of a job with `threads` CPUs."""
    options = [f"{option}={request[name]}" for name, option in _OPTIONS.items() if request.get(name)]
    if request.get("gpu"):
        options.append(
            "--gpus=" + "".join((f"{request['gpu_model']}:" if request.get("gpu_model") else "", str(request["gpu"])))
        )
    return (*options, f"--cpus-per-task={threads}")


def refusal(options: tuple[str, ...]) -> str | None:
    """Why SLURM would refuse a job with these options (the last line of its message); None if it would take it."""
    command = ["sbatch", "--test-only", *options, "--wrap=true"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return None
    lines = [line for line in done.stderr.splitlines() if line.strip()] or [f"sbatch ended with {done.returncode}"]
    return re.sub(r"^(sbatch: error: |allocation failure: )+", "", lines[-1])


def gpus_asked(request: Request) -> int:
    """Number of GPUs in a request."""
    return int(request.get("gpu") or str(request.get("gres", "gpu:0")).rpartition(":")[2])
