"""A private SLURM for the tests, and Snakemake that runs on it during failures."""

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil
from tests_support import environment

SCRIPT = Path(__file__).resolve().parent.parent / "slurm" / "cluster.sh"
T = TypeVar("T")
# Seconds after which a test gives up: many times what anything needs, as a machine may be five times slower.
HANGS = 1500.0
_FORGETS = 4  # seconds
_DAEMONS = 20  # number of ports, beginning with the first
_LAST = 60  # lines of the controller's log that are shown if a test fails
_LONG_LINES = ("reason: Params", "input:", "output:", "resources:", "shell:", "exec favae", "(command exited", "data/")


def free_ports() -> int:
    """First of twenty free ports, below those that the kernel hands out."""
    while True:
        first = random.SystemRandom().randrange(20_000, 32_000)
        try:
            for port in range(first, first + _DAEMONS):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return first
        except OSError:
            continue


@dataclass(frozen=True)
class Cluster:
    """Two CPU nodes, cpu1 and cpu2, and gpu1 with two GPUs; partitions cpu, gpu, and urgent, which preempts gpu."""

    folder: Path
    edits: Mapping[str, str] = field(default_factory=dict)  # variables of cluster.sh

    @classmethod
    def start(cls, *how: str, **edits: str) -> "Cluster":
        """Start one with (`accounting`) or without accounting; `edits` are the variables of cluster.sh."""
        # Not in pytest's folder: munge and MariaDB run as other users and need access.
        folder = Path(tempfile.mkdtemp(prefix="favae-slurm-"))
        with (folder / "start.log").open("w") as log:  # a pipe would stay open with the daemons
            done = subprocess.run(
                [SCRIPT, "start", folder, str(free_ports()), *how],
                check=False,
                timeout=HANGS,
                stdout=log,
                stderr=log,
                env=os.environ | edits,
            )
        assert done.returncode == 0, (folder / "start.log").read_text()
        return cls(folder, edits)

    def stop(self) -> None:
        mine = [
            process for process in psutil.process_iter() if self._runs(process)
        ]  # a failed node leaves such processes
        subprocess.run([SCRIPT, "stop", self.folder], check=False, timeout=HANGS, env=os.environ | self.edits)
        for process in mine:
            with contextlib.suppress(psutil.Error):
                process.kill()

    def _runs(self, process: psutil.Process) -> bool:
        """Whether a process belongs to a job of this cluster."""
        try:
            return process.ppid() == 1 and process.environ().get("SLURM_CONF") == str(self.folder / "slurm.conf")
        except psutil.Error:
            return False

    @property
    def variables(self) -> dict[str, str]:
        """Environment of a login node of this cluster."""
        plain = environment()
        return plain | {"PATH": f"{self.folder / 'bin'}{os.pathsep}{plain['PATH']}", "FAVAE_COUNTED_GPUS": "yes"}

    def ask(self, *command: str) -> str:
        done = subprocess.run(command, env=self.variables, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def jobs(self, project: Path) -> list[dict[str, str]]:
        """All jobs submitted from a folder, in the form of `scontrol show job`, oldest first."""
        lines = self.ask("scontrol", "--oneliner", "show", "job").splitlines()
        jobs = [dict(re.findall(r"(\w+)=(\S*)", line)) for line in lines]
        return sorted((j for j in jobs if j.get("WorkDir") == str(project)), key=lambda j: int(j["JobId"]))

    @property
    def state(self) -> str:
        """Nodes, queue, and the messages of the controller about jobs and errors."""
        asked = [self.ask("sinfo"), self.ask("squeue", "--format=%i %T %r %k")]
        log = (self.folder / "log/slurmctld.log").read_text().splitlines()
        told = [line for line in log if not re.search(r"select/cons|MPI|mpi/|Recovered|update_part", line)]
        return "\n".join([*asked, *told[-_LAST:]])

    def job(self, project: Path, cell: str) -> dict[str, str] | None:
        """The newest job of a cell."""
        return next((j for j in reversed(self.jobs(project)) if j["Comment"].endswith(f"_{cell}")), None)

    def start_now(self, project: Path) -> None:
        """Skip the two minutes of waiting of requeued jobs. The call fails for a job that has started, which is fine.

        SLURM waits because after the failure of a node the job may still be ending there: so these jobs wait for that.
        """
        for job in self.jobs(project):
            if job["JobState"] == "PENDING" and job["Reason"] == "BeginTime" and not self.still_ending(job["JobId"]):
                update = ["scontrol", "update", f"jobid={job['JobId']}", "starttime=now"]
                subprocess.run(update, env=self.variables, capture_output=True, timeout=60, check=False)

    def still_ending(self, number: str) -> bool:
        """Whether a node still ends a job: it would refuse to start it again, and SLURM would hold the job and drain the node.

        A step has a socket while it exists. A node looks for the end of the steps about once a second, and forgets the job
        then; SLURM 22.05 says so in its log, newer versions are given some seconds.
        """
        logs = [path.read_text(errors="replace") for path in (self.folder / "log").glob("slurmd-*.log")]
        began, done = (
            sum(log.count(f"{word} processing RPC: REQUEST_TERMINATE_JOB") for log in logs)
            for word in ("Start", "Finish")
        )
        nodes = list((self.folder / "spool").iterdir())
        changed = max(node.stat().st_mtime for node in nodes)  # sockets come and go there
        steps = [step for node in nodes for step in node.glob(f"*_{number}.*")]
        return began > done or bool(steps) or time.time() - changed < _FORGETS

    def close(self, *partitions: str) -> None:
        """Start no further jobs of these partitions; they wait in the queue."""
        for partition in partitions:
            self.ask("scontrol", "update", f"partitionname={partition}", "state=down")

    def open(self, *partitions: str) -> None:
        """Undo `close`."""
        for partition in partitions:
            self.ask("scontrol", "update", f"partitionname={partition}", "state=up")

    def bring_back(self, node: str) -> None:
        """Let a node run jobs again, unless it has come back by itself."""
        state = self.ask("sinfo", "--noheader", f"--nodes={node}", "--format=%T")
        if "down" in state or "drain" in state:
            self.ask("scontrol", "update", f"nodename={node}", "state=resume")

    def take_away(self, daemon: str, seconds: float = 20) -> None:
        """Stop a daemon, and start it again after a while.

        slurmctld is not stopped while a job is starting, because its `srun` would fail without a controller, and at random.
        """
        partitions = self.ask("sinfo", "--noheader", "--format=%R").split() if daemon == "slurmctld" else []
        self.close(*partitions)
        until(lambda: not partitions or self._started())
        process = psutil.Process(int((self.folder / f"run/{daemon}.pid").read_text()))
        process.terminate()
        process.wait(timeout=30)
        time.sleep(seconds)
        subprocess.run([SCRIPT, daemon, self.folder], check=True, timeout=60, env=os.environ | self.edits)
        self.open(*partitions)

    def _started(self) -> bool:
        """Whether the `srun` of every running job has reached the controller."""
        running = self.ask("squeue", "--noheader", "--states=running", "--format=%A").split()
        steps = self.ask("squeue", "--noheader", "--steps", "--format=%i").split()
        return all(f"{job}.0" in steps for job in running)


def set_up(
    project: Path, gpu: str = "", rules: str = "", words: Mapping[str, str] | None = None, site: bool = True
) -> None:
    """Give a project the settings of the private cluster, and short polling intervals for tests.

    `gpu` are further settings of the site for jobs with a GPU; without `site`, its settings stay as they are. `rules` is a block
    `set-resources` of the profile; `words` are texts to replace in the profile.
    """
    if site:
        words_of_site = f"cpu: {{partition: cpu}}\ngpu: {{partition: gpu{gpu}}}\n"
        (project / "workflow/profiles/slurm/site.yaml").write_text(words_of_site)
    path = project / "workflow/profiles/slurm/config.yaml"
    text = path.read_text()
    edits = {
        "config: [scale=paper]": "config: [scale=tiny]",
        "slurm-init-seconds-before-status-checks: 30": "slurm-init-seconds-before-status-checks: 4",
        **(words or {}),
    }
    for old, new in edits.items():
        assert old in text, f"the profile has no {old!r}"
        text = text.replace(old, new)
    path.write_text(text + (f"set-resources:\n{rules}" if rules else ""))


class Workflow:
    """`snakemake --profile slurm ...` in the background, in a separate session."""

    def __init__(self, cluster: Cluster, project: Path, *arguments: str, **extra: str) -> None:
        self.cluster, self.project = cluster, project
        self.log = project / f"snakemake-{time.monotonic_ns()}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                ["snakemake", "--profile", "slurm", *arguments],
                cwd=project,
                env=cluster.variables | extra,
                stdout=log,
                stderr=log,
                start_new_session=True,
                # Restore SIGINT, which is ignored if the tests run in the background of a shell.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def wait(self) -> int:
        """Exit status; a workflow that hangs is stopped, and the test fails with its output."""
        end = time.monotonic() + HANGS
        while self.process.poll() is None and time.monotonic() < end:
            self.cluster.start_now(self.project)
            time.sleep(1)
        if self.process.poll() is None:
            found = self.account
            self.stop()
            raise AssertionError(f"still running after {HANGS} s:\n{found}")
        return self.process.returncode

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    @property
    def account(self) -> str:
        """The information about a failed workflow: the cluster's state, the end of its log, and the output of Snakemake."""
        return f"{self.cluster.state}\n{self.said}"

    @property
    def said(self) -> str:
        """The output of Snakemake, without long parts that are the same for every job."""
        lines = self.log.read_text().splitlines()
        return "\n".join(line for line in lines if not line.lstrip().startswith(_LONG_LINES))


def until(what: Callable[[], T | None], every: float = 0.3) -> T:
    """The first value of `what` that is true."""
    end = time.monotonic() + HANGS
    while not (value := what()):
        assert time.monotonic() < end, "it never came"
        time.sleep(every)
    return value


def reached(project: Path, cell: str) -> int:
    """Step of the last checkpoint of a running training; 0 before the first."""
    saved = (project / "data/state/tiny/train_autoencoder" / cell).glob("*/step-*.pt")
    return max((int(path.stem.removeprefix("step-")) for path in saved), default=0)


def hold(project: Path, cell: str) -> psutil.Process:
    """Suspend a training in the middle of new steps, so that a test can interrupt it.

    `process.resume()` continues it, and so does SLURM when it ends a job: what a training has saved is known only after
    its process has ended (`ended`). A signal that is sent meanwhile is pending (`awaits_signal`).
    """
    before = reached(project, cell)
    process = until(lambda: _training(project, cell))
    until(lambda: reached(project, cell) > before, every=0.02)
    process.suspend()
    return process


def run_with_a_failed_node(cluster: Cluster, project: Path, cell: str, target: str) -> list[dict[str, str]]:
    """Make a result while gpu1 fails during the training of its model, and comes back; returns the jobs of SLURM."""
    workflow = Workflow(cluster, project, "--", target)
    try:
        process = hold(project, cell)
        cluster.ask("scontrol", "update", "nodename=gpu1", "state=down", "reason=test")
        until(lambda: ended(process) or awaits_signal(process, signal.SIGTERM))
        resume(process)
        until(lambda: "NODE_FAIL" in workflow.said)  # the plugin has seen it, and has asked for the node
        cluster.bring_back("gpu1")
        assert workflow.wait() == 0, workflow.account
    finally:
        workflow.stop()
    return cluster.jobs(project)


def ended(process: psutil.Process) -> bool:
    """Whether a process has ended, including processes that were not waited for."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def resume(process: psutil.Process) -> None:
    """Continue a suspended process, if it still exists."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.resume()


def awaits_signal(process: psutil.Process, number: signal.Signals) -> bool:
    """Whether a suspended process has a pending signal."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return False
    pending = re.findall(r"(?:SigPnd|ShdPnd):\s*([0-9a-f]+)", status)
    return any(int(mask, 16) >> (number - 1) & 1 for mask in pending)


def _training(project: Path, cell: str) -> psutil.Process | None:
    """The `favae run` of a cell."""
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            # Seen from outside of a chroot, the folder has the chroot's path before it.
            if words[2:5] == ["run", "train_autoencoder", cell] and process.cwd().endswith(str(project)):
                return process
        except psutil.Error:
            continue
    return None
