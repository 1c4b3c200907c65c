"""Packages have no import circles; models and losses import only torch; planning needs no torch."""

import importlib.util
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from types import ModuleType

import pytest

import favae
from favae.jobs.grid import load_grid
from favae.jobs.resources import resources_of

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
    grid = load_grid("paper")
    grid.check()  # caches the facts of its networks, which are built if none are cached
    [resources_of(job) for job in grid]
    code = (
        "import sys\n"
        "import favae.cli.main\n"
        "assert not {'torch', 'pandas', 'pydantic'} & set(sys.modules), 'the command line imports too much'\n"
        "from favae.jobs.grid import load_grid\n"
        "from favae.jobs.resources import resources_of\n"
        "grid = load_grid('paper'); grid.check(); [resources_of(job) for job in grid]\n"
        "assert not {'torch', 'pandas', 'mlflow'} & set(sys.modules), 'planning imports too much'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=PACKAGE.parent)
    assert done.returncode == 0, done.stderr
