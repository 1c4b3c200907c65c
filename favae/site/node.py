"""One short job on a GPU node: whether nodes see this folder and its environment, and whether torch finds the GPU there."""

import subprocess
import sys
from pathlib import Path

from favae.jobs.requests import Request, gpu_resources, read_site
from favae.site.sbatch import options_of

_PROGRAM = (
    "import os, socket, torch; found = torch.cuda.is_available(); "
    "print(socket.gethostname(), os.getcwd(), 'torch', torch.__version__, "
    "torch.cuda.get_device_name() if found else 'finds no GPU')"
)
_WAIT = 540  # seconds: a busy queue may keep a job longer


class NodeFailed(RuntimeError):
    """The job did not do what jobs of the workflow must."""


def run_on_node() -> str:
    """Run it with the settings of this site for GPU jobs; returns what it found. Raises NodeFailed."""
    queue = read_site().gpu
    request: Request = {
        name: value
        for name, value in {
            "slurm_partition": queue.partition,
            "slurm_account": queue.account,
            "qos": queue.qos,
            "constraint": queue.constraint,
            "runtime": 1,
            "mem_mb": 2000,
            **gpu_resources(queue, 1),
        }.items()
        if value is not None
    }
    command = ["srun", "--ntasks=1", f"--chdir={Path.cwd()}", *options_of(request, 1), sys.executable, "-c", _PROGRAM]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_WAIT, check=False)
    except subprocess.TimeoutExpired:
        raise NodeFailed(
            f"the job was still waiting after {_WAIT} seconds; the queue is full: {' '.join(command[:-1])}"
        ) from None
    if done.returncode:
        raise NodeFailed(f"the job on a node failed: {(done.stderr.strip() or 'without a message').splitlines()[-1]}")
    return f"on a node: {done.stdout.strip()}"
