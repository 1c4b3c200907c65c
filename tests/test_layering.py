"""Packages have no import circles; models and losses import only torch; planning needs no torch."""

import importlib.util
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from types import ModuleType

import pytest

import favae

PACKAGE = Path(favae.__file__).parent
SCRIPT = PACKAGE.parent / "workflow" / "scripts" / "draw_packages.py"


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def package_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def script() -> ModuleType:
    """The script that draws the packages. It reads the imports, so the tests hold for what the page shows."""
    spec = importlib.util.spec_from_file_location("draw_packages", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def graph() -> dict[str, set[str]]:
    """Package -> packages that it imports, imports inside functions included."""
    return script().package_graph(PACKAGE)


def test_no_circle_among_packages() -> None:
    TopologicalSorter(graph()).prepare()  # raises CycleError, which names the circle


def test_the_diagram_of_the_packages_is_up_to_date() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("package", ["runtime", "config", "models", "losses"])
def test_the_lowest_packages_import_only_each_other(package: str) -> None:
    allowed = {"config": {"runtime"}, "models": {"losses"}, "losses": {"models"}}
    assert graph()[package] <= allowed.get(package, set())


@pytest.mark.parametrize("path", [p for p in modules() if package_of(p) in ("models", "losses")], ids=lambda p: p.name)
def test_models_and_losses_import_only_torch(path: Path) -> None:
    allowed = set(sys.stdlib_module_names) | {"torch"}
    for name in script().imported(path):
        top = name.split(".")[0]
        assert top in allowed or name.startswith(("favae.models", "favae.losses")), f"{path.name} imports {name}"


def test_only_the_command_line_uses_the_benchmarks() -> None:
    assert {package for package, below in graph().items() if "bench" in below} <= {"cli"}


def test_models_and_losses_load_nothing_of_the_workflow() -> None:
    code = (
        "import sys, favae.models, favae.losses\n"
        "heavy = {'snakemake', 'dvc', 'mlflow', 'pandas', 'pydantic', 'torchvision'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_and_planning_do_not_import_torch() -> None:
    """Once the facts about networks are cached. A traceback shows who imports something else."""
    plan = (
        "import sys\n"
        "refused = {'torch', 'pandas', 'pydantic'}\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        assert name not in refused, f'{name} is imported'\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "import favae.cli.main\n"
        "refused.clear(); refused |= {'torch', 'pandas', 'mlflow'} - set(sys.argv[1:])\n"
        "from favae.jobs.grid import load_grid\n"
        "from favae.jobs.resources import resources_of\n"
        "grid = load_grid('paper'); grid.check(); [resources_of(job) for job in grid]\n"
    )
    for allowed in (["torch", "pandas"], []):  # the first run builds the networks of which no facts are cached
        command = [sys.executable, "-c", plan, *allowed]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PACKAGE.parent)
        assert done.returncode == 0, done.stderr
