"""Commands in a place without network, and what they try to reach all the same."""

import functools
import re
import shutil
import subprocess
from pathlib import Path

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


@functools.cache
def can_watch() -> bool:
    """Whether this machine allows a network namespace."""
    return (
        shutil.which("unshare") is not None
        and subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode == 0
    )


def run_watched(project: Path, command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in the project where no network interface is; `folder` keeps what it tries to reach, for `reached_by`."""
    folder.mkdir(parents=True)
    (folder / "sitecustomize.py").write_text(_WATCH)
    # SLURM's own client, where it is installed without a configuration, asks DNS for its cluster.
    (folder / "scontrol").write_text("#!/bin/sh\nexit 1\n")
    (folder / "scontrol").chmod(0o755)
    trace = ["strace", "-fqq", "--seccomp-bpf", "-etrace=connect,sendto", "-esignal=none", f"-o{folder / 'kernel'}"]
    plain = {name: value for name, value in environment().items() if not _TELEMETRY.search(name)}
    watching = {
        "PATH": f"{folder}:{plain['PATH']}",
        "PYTHONPATH": f"{folder}:{plain.get('PYTHONPATH', '')}",
        "WATCHED": str(folder / "python"),
    }
    return subprocess.run(
        ["unshare", "-rn", *(trace if shutil.which("strace") else []), "sh", "-c", command],
        cwd=project,
        env=plain | watching,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def reached_by(folder: Path) -> str:
    """The addresses that a command of `run_watched` asked for, as Python and the kernel saw them; empty if none."""
    python, kernel = ((folder / name).read_text() if (folder / name).exists() else "" for name in ("python", "kernel"))
    return python + "\n".join(filter(_INTERNET.search, kernel.splitlines()))
