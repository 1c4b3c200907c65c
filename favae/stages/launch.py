"""One training in several processes: torchrun starts the ranks, with one task per node, and rank 0 reports.

The job's own process holds the lock, publishes the result and handles SLURM; the ranks only train.
"""

import json
import logging
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from types import FrameType

import psutil
import torch.distributed as dist
from torch.distributed.run import get_args_parser

from favae.config.training import TrainingConfig
from favae.jobs.grid import Job
from favae.results.publish import Outcome
from favae.runtime.early import SIGNALS, noted_signal
from favae.runtime.files import write_text
from favae.runtime.slurm import address_of, allocated_nodes, job_number
from favae.stages.context import Context, run_stage
from favae.training.loop import Interrupted

log = logging.getLogger(__name__)
_REPORT = "report.json"
# torchrun leaves SIGTERM, SIGUSR1 and SIGINT to the ranks, who save and end; it takes its place among the nodes from PET_NODE_RANK.
_SPARED = ("bash", "-c", "trap '' TERM USR1 INT; PET_NODE_RANK=${SLURM_NODEID:-0} exec \"$@\"", "bash")


def train_on_ranks(job: Job, context: Context, training: TrainingConfig) -> Outcome:
    """Train in `training.ranks` processes, divided evenly among the nodes of the SLURM job, if there is one.

    Raises Interrupted if the training was stopped and saved, ValueError if the ranks cannot be divided evenly among the
    nodes, and RuntimeError if the training failed; the processes have then logged the reason.
    """
    report = context.state / _REPORT
    report.unlink(missing_ok=True)
    nodes = allocated_nodes()
    if noted_signal():
        raise Interrupted(f"{job.name}: stopped by a signal before it began; the next start begins or resumes")
    process = subprocess.Popen(
        _launch(training, nodes, context.threads, rank_command(job, context, training.threads)),
        env=os.environ | {"OMP_NUM_THREADS": str(training.threads)},
    )
    log.info("%s: %d processes on %s", job.name, training.ranks, ", ".join(nodes) or "this machine")
    previous = {number: signal.signal(number, _pass_on) for number in SIGNALS}
    try:
        process.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if not report.exists():
        raise RuntimeError(f"the {training.ranks} training processes ended without a result; see their messages above")
    said = json.loads(report.read_text(encoding="utf-8"))
    if "interrupted" in said:
        raise Interrupted(said["interrupted"])
    return Outcome(**said)


def rank_command(job: Job, context: Context, threads: int) -> list[str]:
    """The command of each rank (`run_rank`), which torchrun starts."""
    command = ["favae", "internal", "rank", job.stage.name, job.cell, "--scale", job.scale]
    command += ["--state", context.state.as_posix(), "--threads", str(threads)]
    # Not `--log`: torchrun takes that for an abbreviation of its own options.
    return command if context.log is None else [*command, "--log-file", context.log.as_posix()]


def _launch(training: TrainingConfig, nodes: list[str], threads: int, rank: list[str]) -> list[str]:
    """The command: torchrun on this machine, or one srun task with torchrun per node, with the first node as master."""
    per_node, rest = divmod(training.ranks, max(len(nodes), 1))
    if rest:
        raise ValueError(f"training.ranks {training.ranks} cannot be divided evenly among {len(nodes)} nodes")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--no-python", f"--nproc-per-node={per_node}"]
    if "--signals-to-handle" in get_args_parser().format_help():  # torch 2.9; before, it gives them thirty seconds
        torchrun.append("--signals-to-handle=SIGHUP,SIGQUIT")
    if len(nodes) < 2:
        return [*_SPARED, *torchrun, "--standalone", *rank]
    cpus = min(training.threads * per_node, threads)
    tasks = [f"--nodes={len(nodes)}", f"--ntasks={len(nodes)}", "--ntasks-per-node=1", f"--cpus-per-task={cpus}"]
    meeting = [f"--nnodes={len(nodes)}", f"--master-addr={address_of(nodes[0])}", f"--master-port={_port()}"]
    return ["srun", *tasks, *_SPARED, *torchrun, *meeting, *rank]


def _port() -> int:
    """A port derived from the job number, so that two jobs on one node use different ports."""
    return 20_000 + job_number() % 10_000


def _pass_on(number: int, _frame: FrameType | None) -> None:
    """Outside of SLURM, which signals all processes of a job by itself.

    Ctrl-C reaches the ranks from the terminal too, where a second one ends them: what is passed on is SIGTERM.
    """
    children = psutil.Process().children(recursive=True)
    if number == signal.SIGINT:
        signal.signal(signal.SIGINT, _leave_at_once)
        number = signal.SIGTERM
    if job_number():
        return
    for process in children:
        process.send_signal(number)


def _leave_at_once(_number: int, _frame: FrameType | None) -> None:
    for process in psutil.Process().children(recursive=True):
        process.kill()
    raise KeyboardInterrupt


def run_rank(job: Job, context: Context) -> None:
    """Run one rank that torchrun started; rank 0 writes the outcome."""
    first = os.environ["RANK"] == "0"
    if not first:
        logging.getLogger().setLevel(logging.WARNING)
    try:
        said = asdict(run_stage(job, context))
    except Interrupted as interrupted:
        said = {"interrupted": str(interrupted)}
    if first:
        write_text(context.state / _REPORT, json.dumps(said) + "\n")
    if dist.is_initialized():
        dist.destroy_process_group()
