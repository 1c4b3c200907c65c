"""Commands in processes that have already imported what they need: imports take most of the time of a short command."""

import atexit
import importlib
import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

_PROGRAMS = {"favae": "favae.cli:entry", "snakemake": "snakemake.cli:main", "dvc": "dvc.cli:main", "python": ""}
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["favae.cli.main", "favae.stages", "torch", "pandas", "mlflow.tracking", "snakemake.cli", "dvc.cli", "dvc.repo"]
)
# Variables that an interpreter or a library reads when it starts.
_EARLY = ("PYTHON", "LC_", "LANG", "LD_", "HOME", "XDG_", "TMPDIR", "OMP_", "MKL_", "COLUMNS")
_AT_START = {name: value for name, value in os.environ.items() if name.startswith(_EARLY)} | {"OMP_NUM_THREADS": "1"}


def can_run(command: tuple[str, ...], variables: dict[str, str]) -> bool:
    """Whether `run` does the same as a new process would. Jobs below `dvc repro` read its command line."""
    return (
        command[0] in _PROGRAMS
        and command[:2] != ("dvc", "repro")
        and {name: value for name, value in variables.items() if name.startswith(_EARLY)} == _AT_START
    )


def run(
    project: Path, command: tuple[str, ...], variables: dict[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """`favae`, `snakemake`, `dvc` or `python -c`, as `subprocess.run` runs them in the folder `project`."""
    with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as err:
        process = _FORKS.Process(target=_become, args=(project, command, variables, out.name, err.name))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(command, timeout)
        return subprocess.CompletedProcess(command, process.exitcode, out.read(), err.read())


def _become(project: Path, command: tuple[str, ...], variables: dict[str, str], out: str, err: str) -> None:
    for name, descriptor in ((out, 1), (err, 2)):
        with open(name, "w") as file:  # noqa: PTH123 (its descriptor replaces that of this process)
            os.dup2(file.fileno(), descriptor)
    os.chdir(project)
    os.environ.clear()
    os.environ.update(variables)
    sys.argv = list(command)
    module, _, function = _PROGRAMS[command[0]].partition(":")
    try:
        if module:
            sys.exit(getattr(importlib.import_module(module), function)())
        exec(command[2], {"__name__": "__main__"})
    finally:
        atexit._run_exitfuncs()
