"""No command of a user contacts anything: neither a job, nor DVC, MLflow or Snakemake, nor `favae` however it is started."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests_support import environment

# Python itself says which address it asks for; imported by every process of Python.
_WATCH = """
import os, sys
def _watch(event, arguments):
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        address = arguments[:2]
    else:
        return
    if not isinstance(address, (str, bytes)):
        with open(os.environ["WATCHED"], "a") as file:
            file.write(f"{' '.join(sys.orig_argv)[:200]}: {event} {address}\\n")
sys.addaudithook(_watch)
"""
_TELEMETRY = re.compile("TELEMETRY|NO_ANALYTICS|DO_NOT_TRACK|OFFLINE")
_INTERNET = re.compile(r"(?:connect|sendto)\(.*AF_INET")
COMMANDS = (
    "snakemake --cores 2",
    "snakemake -n",
    "favae check",
    "favae plan",
    "favae status --full",
    "favae why train_autoencoder/natural-f4-favae",
    "favae mlflow-sync",
    "favae audit",
    "favae adopt",
    "favae lock",
    "favae prune",
    "dvc status --quiet",
    "dvc repro --single-item --force make_tables@all",
    "favae publish tiny",
    "favae compare tiny",
    "favae same",
    "favae graph --check",
    "favae watch --once",
    "favae page tiny",
    "favae study tiny",
    "favae site",
    "favae bench --quick quantizer",
    "favae reconstruct samples.png --model data/tiny/train_autoencoder/natural-f4-favae --out out",
    f"{sys.executable} -c 'import favae.cli; favae.cli.entry()' mlflow-sync",
)
MAY_FIND_PROBLEMS = ("favae plan", "favae audit", "favae publish tiny", "favae compare tiny", "favae site")


def _inside(project: Path, command: str, watched: Path) -> subprocess.CompletedProcess[str]:
    """Run a command where no network interface is, recording what it tries to reach."""
    trace = ["strace", "-fqq", "--seccomp-bpf", "-etrace=connect,sendto", "-esignal=none", f"-o{watched}.kernel"]
    # SLURM's own client, where it is installed without a configuration, asks DNS for its cluster.
    no_slurm = watched.parent / "no-slurm"
    no_slurm.mkdir(exist_ok=True)
    (no_slurm / "scontrol").write_text("#!/bin/sh\nexit 1\n")
    (no_slurm / "scontrol").chmod(0o755)
    plain = {name: value for name, value in environment().items() if not _TELEMETRY.search(name)}
    return subprocess.run(
        ["unshare", "-rn", *(trace if shutil.which("strace") else []), "sh", "-c", command],
        cwd=project,
        env=plain
        | {
            "PATH": f"{no_slurm}:{plain['PATH']}",
            "PYTHONPATH": f"{watched.parent}:{plain.get('PYTHONPATH', '')}",
            "WATCHED": str(watched),
        },
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


@pytest.mark.slow
def test_no_command_of_a_user_tries_to_reach_a_network(project: Path, tmp_path: Path) -> None:
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode:
        pytest.skip("this machine does not allow a network namespace (unshare -rn)")
    watch = tmp_path / "watch"
    watch.mkdir()
    (watch / "sitecustomize.py").write_text(_WATCH)
    for number, command in enumerate(COMMANDS):
        watched = watch / f"{number}.txt"
        done = _inside(project, command, watched)
        assert "Traceback" not in done.stderr, f"{command}\n{done.stdout}\n{done.stderr}"
        assert done.returncode == 0 or command in MAY_FIND_PROBLEMS, f"{command}\n{done.stdout}\n{done.stderr}"
        said = watched.read_text() if watched.exists() else ""
        kernel = Path(f"{watched}.kernel")
        said += "\n".join(filter(_INTERNET.search, kernel.read_text().splitlines())) if kernel.exists() else ""
        assert said == "", f"{command}\n{said}"
        if number == 0:
            shutil.copy(project / "data/tiny/train_autoencoder/natural-f4-favae/samples.png", project)
