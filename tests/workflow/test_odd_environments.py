"""A training gives the same bytes in every environment that people really have, and no file of a model runs code."""

import builtins
import io
import os
import pickle
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests_support import call, environment

from favae.config.evaluation import WeightsConfig
from favae.inference.export import load_any_autoencoder
from favae.pretrained.weights import load_weights
from favae.runtime.hashes import sha256_file
from favae.runtime.paths import MODEL_CARD, MODEL_CONFIG, WEIGHTS
from favae.training.checkpoint import load_whole

CELL = "train_autoencoder/natural-f4-favae"
NOWHERE = "/proc/nowhere"
PROJECT = "a project, ü 'quotes' \"$(touch ran)\" `touch ran`; touch ran & touch ran | touch ran > ran"
# Each of these holds conditions that do not touch each other, as a training takes as long as all of its conditions together.
ENVIRONMENTS = {
    "no variables but PATH, closed input": "env -i PATH=$PATH PYTHONPATH=$PYTHONPATH {} <&-",
    "no HOME, the locale C, 32 descriptors, low priority": (
        "ulimit -n 32; env -u HOME -u USER -u LOGNAME -u PYTHONUTF8 LC_ALL=C LANG=C nice -n 19 {}"
    ),
    "a home that cannot be written, the locale C without UTF-8, umask 077, a clock of another day": (
        f"umask 077; HOME={NOWHERE} XDG_CACHE_HOME={NOWHERE} LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 TZ=Pacific/Kiritimati {{}}"
    ),
    "1.2 GB of memory, many threads asked for, no terminal, no git": (
        "rm -rf .git; ulimit -v 1200000; OMP_NUM_THREADS=7 TERM=dumb {} < /dev/null"
    ),
}


@pytest.mark.slow
@pytest.mark.rare
def test_an_odd_environment_changes_no_byte_of_a_model(finished: Path, tmp_path: Path) -> None:
    project = tmp_path / PROJECT
    shutil.copytree(finished, project, symlinks=True)

    def files() -> dict[str, bytes]:
        """What the card covers, and the card; README.md also says when and where it was made."""
        folder = project / "data/tiny" / CELL
        return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != MODEL_CARD}

    expected = files()
    for name, form in ENVIRONMENTS.items():
        shutil.rmtree(project / "data/tiny" / CELL)
        shutil.rmtree(project / "data/state/tiny" / CELL)
        command = form.format("favae run " + CELL.replace("/", " "))
        done = subprocess.run(
            ["bash", "-c", command], cwd=project, env=environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{name}: {done.stderr}"
        assert files() == expected, name
    print(f"{len(ENVIRONMENTS)} environments, the same {len(expected)} files")
    assert not list(tmp_path.rglob("ran")), "a shell read the project's name"
    call(project, "snakemake", "--forcerun", "make_tables", XDG_CACHE_HOME=str(tmp_path / "cache"), HOME=NOWHERE)
    assert "corrupt" not in call(project, "favae", "status", check=False).stdout


TARGETS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "shell": (os.system, ("touch ran",)),
    "process": (subprocess.check_output, (["touch", "ran"],)),
    "eval": (eval, ("open('ran', 'w')",)),
    "exec": (exec, ("open('ran', 'w')",)),
    "open": (builtins.open, ("ran", "w")),
    "makedirs": (os.makedirs, ("ran",)),
    "import": (__import__, ("antigravity_that_does_not_exist",)),
    "getattr": (getattr, (os, "system")),
    "load": (torch.load, ("ran",)),
}


class _Runs:
    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        function, arguments = TARGETS[self.target]
        return (function, ("os",)) if self.target == "getattr" else (function, arguments)


def _pickled(value: Any, protocol: int) -> bytes:
    return pickle.dumps(value, protocol)


def _saved(value: Any, protocol: int) -> bytes:
    out = io.BytesIO()
    torch.save(value, out, pickle_protocol=max(protocol, 2), _use_new_zipfile_serialization=protocol != 0)
    return out.getvalue()


def _zipped(value: Any, protocol: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(value, protocol))
        archive.writestr("archive/version", "3")
    return out.getvalue()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("pack", [_pickled, _saved, _zipped])
@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("target", TARGETS)
def test_no_file_of_a_model_runs_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, protocol: int, pack: Callable[[Any, int], bytes]
) -> None:
    monkeypatch.chdir(tmp_path)
    file, folder = tmp_path / "x.pt", tmp_path / "model"
    folder.mkdir()
    data = pack({"step": 1, "modules": _Runs(target)}, protocol)
    file.write_bytes(data)
    (folder / MODEL_CONFIG).write_text('{"kind": "autoencoder", "model": {}}')
    (folder / WEIGHTS).write_bytes(data)
    declared = {"purpose": "test", "files": [{"file": "x.pt", "sha256": sha256_file(file), "source": "none"}]}
    catalogue = WeightsConfig.model_validate({"folder": str(tmp_path), "weights": {"net": declared}})
    for read, argument in ((load_whole, file), (load_any_autoencoder, folder)):
        with pytest.raises(ValueError, match=str(argument)):
            read(argument)
    with pytest.raises(ValueError, match=r"x\.pt holds no tensors"):
        load_weights("net", catalogue)
    assert not (tmp_path / "ran").exists()
