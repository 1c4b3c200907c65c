"""Imported packages are declared, declared packages are used, and models and losses need only three packages."""

import ast
import functools
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
ALL = [*PROJECT["dependencies"], *(text for extra in EXTRAS.values() for text in extra)]
# Part of a declared distribution with a separate import name: it has the error types of pydantic.
PART_OF = {"pydantic-core": "pydantic"}
# Used without an import: distribution -> (file, what uses it there).
USED_OTHERWISE = {
    "tabulate": ("favae/reporting/markup.py", "to_markdown"),
    "dvc": ("favae/sync/dvc.py", '"-m", "dvc"'),
    "scikit-learn": ("favae/data/shipped.py", '"sklearn"'),
    "scikit-image": ("favae/data/shipped.py", '"skimage"'),
    "scipy": ("favae/evaluation/frechet.py", "calculate_frechet_distance"),
    "axe-core-python": ("tests/support/page_support.py", "axe.min.js"),
    "snakemake-executor-plugin-slurm": ("workflow/profiles/slurm/config.yaml", "executor: slurm"),
    "pytest-timeout": ("pyproject.toml", "timeout = "),
    "pytest-xdist": ("Makefile", " -n "),
    "ruff": ("Makefile", "ruff check"),
    "mypy": ("Makefile", "mypy"),
    "uv": ("Makefile", "uv pip install"),
    "snakefmt": ("Makefile", "snakefmt"),
}


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def modules_of_python(path: Path) -> Iterator[str]:
    """Top-level modules that a file imports anywhere, except in strings of code that tests run."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


def modules_of_snakemake(path: Path) -> Iterator[str]:
    """The same for a Snakemake file, which is not plain Python."""
    yield from re.findall(r"^\s*(?:from|import) (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)


@functools.cache
def distributions(*folders: str) -> dict[str, str]:
    """Distribution -> a file that imports it, over the Python files and Snakemake files of folders."""
    own = {"favae", *(path.stem for path in (ROOT / "tests").rglob("*.py"))}
    provided = importlib.metadata.packages_distributions()
    found: dict[str, str] = {}
    files = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    for path in [*files, ROOT / "Snakefile"]:
        read = {".py": modules_of_python, ".smk": modules_of_snakemake, "": modules_of_snakemake}.get(path.suffix)
        if read is None or not path.is_file() or (path.suffix == "" and path.name != "Snakefile"):
            continue
        for module in set(read(path)) - own - set(sys.stdlib_module_names):
            candidates = [canonicalize_name(name) for name in provided.get(module, [module])]
            known = [name for name in candidates if name in names(ALL)]  # mlflow-skinny has the same modules as mlflow
            name = (known or candidates)[0]
            found[PART_OF.get(name, name)] = str(path.relative_to(ROOT))
    return found


def test_every_import_is_declared() -> None:
    declared = names(ALL)
    found = distributions("favae", "workflow", "tests")
    # packaging is used by these tests only, and is a dependency of pytest.
    assert {name: file for name, file in found.items() if name not in declared | {"packaging"}} == {}


def test_imports_of_the_package_are_not_test_dependencies() -> None:
    runtime = names([*PROJECT["dependencies"], *EXTRAS["workflow"], *EXTRAS["metrics"]])
    for name, file in distributions("favae", "workflow").items():
        assert name in runtime or file.startswith("favae/bench/"), f"{file} imports {name}"


@pytest.mark.parametrize("name", sorted(names(ALL)))
def test_every_declared_package_is_used(name: str) -> None:
    if name in USED_OTHERWISE:
        file, use = USED_OTHERWISE[name]
        assert use in (ROOT / file).read_text()
    else:
        assert name in distributions("favae", "workflow", "tests")


def closure(requirements: list[str]) -> set[str]:
    """Distributions that are installed with `requirements`, here."""
    found: set[tuple[str, str]] = set()
    waiting = [(Requirement(text), "") for text in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        for inner in ("", *requirement.extras):
            if (node := (canonicalize_name(requirement.name), inner)) not in found:
                found.add(node)
                waiting += [(Requirement(text), inner) for text in importlib.metadata.requires(node[0]) or []]
    return {name for name, _ in found}


def test_models_and_losses_import_where_only_the_core_is_installed() -> None:
    assert names(PROJECT["dependencies"]) == {"torch", "numpy", "safetensors"}
    core = closure(PROJECT["dependencies"]) | {"favae", "setuptools"}
    provided = importlib.metadata.packages_distributions()
    absent = [module for module, by in provided.items() if not core & {canonicalize_name(name) for name in by}]
    assert {"pydantic", "pandas", "torchvision", "tqdm"} <= set(absent)
    code = f"import sys; sys.modules.update(dict.fromkeys({absent!r})); import favae.models, favae.losses"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_the_workflow_the_command_line_says_what_to_install() -> None:
    code = "import sys; sys.modules['typer'] = None; from favae.cli import entry; entry()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "favae: the Python package typer is missing; install 'favae[workflow,metrics]'\n"


LOCK_AGAIN = "run `make lock` after a change of pyproject.toml"
# torch's builds for a CPU, for each CUDA and for ROCm differ: which libraries it needs depends on the one that is installed.
OF_TORCH = re.compile(r"triton|cuda-[a-z]+|nvidia-[a-z0-9-]+")


def locked() -> dict[str, tuple[Requirement, list[str]]]:
    """Name -> (requirement, hashes) of each entry of constraints.txt."""
    text = (ROOT / "constraints.txt").read_text()
    entries = [
        entry.split() for entry in re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", "").splitlines()
    ]
    found = {}
    for words in entries:
        hashes = [word for word in words if word.startswith("--hash=sha256:")]
        requirement = Requirement(" ".join(word for word in words if word not in hashes))
        found[canonicalize_name(requirement.name)] = requirement, hashes
    return found


def test_every_package_is_locked_to_one_version_and_its_hashes() -> None:
    for name, (requirement, hashes) in locked().items():
        assert [specifier.operator for specifier in requirement.specifier] == ["=="], name
        assert hashes, name
        assert all(re.fullmatch("--hash=sha256:[0-9a-f]{64}", each) for each in hashes), name


def test_the_lock_has_all_that_this_project_installs_and_nothing_else() -> None:
    wanted, lock = closure(ALL), locked()
    assert wanted - lock.keys() == set(), LOCK_AGAIN
    here = {name for name, (requirement, _) in lock.items() if not requirement.marker or requirement.marker.evaluate()}
    assert {name for name in here - wanted if not OF_TORCH.fullmatch(name)} <= {"setuptools"}, LOCK_AGAIN


def test_locked_versions_are_those_that_pyproject_allows_and_that_are_installed_here() -> None:
    lock = locked()
    for text in ALL:
        wanted = Requirement(text)
        (pin,) = lock[canonicalize_name(wanted.name)][0].specifier
        assert wanted.specifier.contains(pin.version), f"{text}: {LOCK_AGAIN}"
        installed = importlib.metadata.version(wanted.name).partition("+")[0]
        assert installed == pin.version, f"{wanted.name}: `make setup` installs what is locked"


def test_setup_installs_with_hashes_everything_but_torch() -> None:
    makefile = (ROOT / "Makefile").read_text()
    lines = [line for line in makefile.splitlines() if re.search(r"pip install", line)]
    (torch,) = (line for line in lines if "^torch==" in line)
    without = [line for line in lines if "--require-hashes" not in line]
    assert without == [torch, next(line for line in lines if line.endswith("-e ."))]
    excluded = re.search(r"grep -oE '([^']+)' \$\(LOCKED\)", makefile)
    assert excluded is not None
    names_excluded = {name for name in locked() if re.match(excluded[1], f"{name}==")}
    assert "torch" in names_excluded
    assert all(OF_TORCH.fullmatch(name) for name in names_excluded - {"torch"})
