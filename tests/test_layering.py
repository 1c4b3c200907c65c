"""Imports point down only; models and losses need torch and nothing else."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import favae

PACKAGE = Path(favae.__file__).parent
LAYERS = [
    {"cli"},
    {"stages", "contract", "reporting", "tracking", "inference", "bench"},
    {"training", "evaluation", "model_io"},
    {"data", "text"},
    {"models", "losses"},
    {"config", "provenance", "slurm", "paths", "progress", "compat", "cpu"},
]
LEVEL = {name: depth for depth, names in enumerate(LAYERS) for name in names}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    own = room(path)
    if own == "__init__":
        return
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "favae" and len(parts) > 1:
            assert LEVEL[parts[1]] >= LEVEL[own], f"{own} imports {name}, which lies above it"


@pytest.mark.parametrize("path", [p for p in modules() if room(p) in ("models", "losses")], ids=lambda p: p.name)
def test_models_and_losses_import_only_torch(path: Path) -> None:
    allowed = set(sys.stdlib_module_names) | {"torch"}
    for name in imported(path):
        top = name.split(".")[0]
        assert top in allowed or name.startswith(("favae.models", "favae.losses")), f"{path.name} imports {name}"


def test_models_and_losses_load_nothing_of_the_workflow() -> None:
    code = (
        "import sys, favae.models, favae.losses\n"
        "heavy = {'snakemake', 'dvc', 'mlflow', 'pandas', 'pydantic', 'torchvision'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_and_planning_do_not_import_torch() -> None:
    code = (
        "import sys\n"
        "import favae.cli.main\n"
        "assert not {'torch', 'pandas', 'pydantic'} & set(sys.modules), 'the command line imports too much'\n"
        "from favae.config.grid import load_grid\n"
        "from favae.config.resources import resources_of\n"
        "grid = load_grid('paper'); grid.check(); [resources_of(job) for job in grid]\n"
        "assert not {'torch', 'pandas', 'mlflow'} & set(sys.modules), 'planning imports too much'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=PACKAGE.parent)
    assert done.returncode == 0, done.stderr
