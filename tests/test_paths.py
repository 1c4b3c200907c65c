"""Names of folders and shared files are only in `favae.runtime.paths`."""

import ast
from pathlib import Path

import pytest

import favae
from favae.runtime import paths

PACKAGE = Path(favae.__file__).parent
NAMES = {value for name, value in vars(paths).items() if name.isupper() and isinstance(value, str)} | {
    folder.name
    for file in (paths.run_record, paths.curves, paths.log)
    for folder in file("scale", "stage", "cell").parents[1:2]
}


def joined(file: Path) -> set[str]:
    """Words that a module joins to a path with `/`."""
    divisions = [
        node
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
    ]
    return {side.value for node in divisions for side in (node.left, node.right) if isinstance(side, ast.Constant)}


def test_no_other_module_joins_a_path_of_such_a_name() -> None:
    assert {"shards", "statistics", "metrics.json", "runs", "curves", "logs"} <= NAMES
    spelt = {str(file.relative_to(PACKAGE)): joined(file) & NAMES for file in PACKAGE.rglob("*.py")}
    del spelt["runtime/paths.py"]
    assert {file: names for file, names in spelt.items() if names} == {}


def test_a_variable_that_is_set_to_nothing_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAVAE_RAW", "")
    assert paths.raw_root() == Path("data/raw")
