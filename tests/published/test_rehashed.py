"""An edit of published files is found even if all hashes are written again: files of a bundle contradict each other."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from published_support import git

from favae.jobs.grid import load_grid
from favae.results.bundle import CRATE, MANIFEST, WORKFLOW, Bundle
from favae.results.cards import describe
from favae.sync.audit import audit_bundle
from favae.sync.crate import write_crate

REPOSITORY = Path(__file__).parents[2]
TRAINING = "train_autoencoder/natural-f4-favae"
SHARDS = "data/demo/prepare_dataset/natural/shards"
Tree = dict[str, Any]


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """A copy of the committed bundle of the demo; the parameters are those of this repository."""
    monkeypatch.chdir(REPOSITORY)
    load_grid.cache_clear()
    shutil.copytree(REPOSITORY / "reports/demo", tmp_path / "demo")
    return Bundle("demo", tmp_path / "demo")


def edit(bundle: Bundle, name: str, change: Callable[[Tree], object]) -> None:
    path = bundle.root / name
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree, indent=1, sort_keys=True) + "\n")


def rehash(bundle: Bundle, crate: bool = True) -> None:
    """Write hashes and sizes again, as somebody who hides an edit does, and the crate."""
    manifest = json.loads((bundle.root / MANIFEST).read_text())
    for again in [False, True] if crate else [True]:
        shipped = {path.relative_to(bundle.root).as_posix(): describe(path) for path in bundle.files()}
        if not again:
            write_crate(bundle.part_of(load_grid("demo")), bundle, {k: v for k, v in shipped.items() if k != CRATE})
    manifest["shipped"] = {name: output.model_dump() for name, output in shipped.items()}
    (bundle.root / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")


def problems(bundle: Bundle) -> list[str]:
    return [problem.replace(f"{bundle.root}/", "") for problem in audit_bundle("demo", bundle).problems]


def test_hashes_that_are_written_again_without_an_edit_are_no_problem(demo: Bundle) -> None:
    before = {path: path.read_bytes() for path in demo.root.rglob("*") if path.is_file()}
    rehash(demo)
    assert problems(demo) == []
    assert {path: path.read_bytes() for path in demo.root.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda tree: tree["not_shipped"].pop(SHARDS), f"{SHARDS} is not shipped, and its hash is not listed"),
        (
            lambda tree: tree["not_shipped"].update({"data/demo/x.bin": {"sha256": "0" * 64, "size": 1}}),
            "data/demo/x.bin is listed as not shipped, but no card names it",
        ),
        (lambda tree: tree["not_shipped"].clear(), f"{SHARDS} is not shipped, and its hash is not listed"),
        (lambda tree: tree["not_shipped"][SHARDS].update({"size": 1}), f"{SHARDS} is not what its card says"),
        (
            lambda tree: tree["not_shipped"].update({"data/demo/reports/tables": {"sha256": "0" * 64, "size": 1}}),
            "data/demo/reports/tables is listed as not shipped, but it is shipped",
        ),
    ],
    ids=["one removed", "one added", "all removed", "another size", "shipped too"],
)
def test_the_list_of_what_is_not_shipped_is_that_of_the_cards(
    demo: Bundle, change: Callable[[Tree], object], expected: str
) -> None:
    edit(demo, MANIFEST, change)
    assert f"{MANIFEST}: {expected}" in problems(demo)


def test_an_edited_crate_is_found(demo: Bundle) -> None:
    path = demo.root / CRATE
    path.write_text(path.read_text().replace('"endTime": "2026', '"endTime": "2027'))
    rehash(demo, crate=False)
    (problem,) = problems(demo)
    assert problem.startswith(f"{CRATE}: #") and problem.endswith(f"not agree with cards, run records and {MANIFEST}")
    path.write_text("[]")
    rehash(demo, crate=False)
    assert problems(demo) == [f"{CRATE}: is no RO-Crate"]
    path.unlink()
    rehash(demo, crate=False)
    assert problems(demo) == [f"{CRATE}: missing"]


def test_a_file_that_the_crate_describes_otherwise_is_found(demo: Bundle) -> None:
    path = demo.root / "results/runs" / f"{TRAINING}.json"
    path.write_text(path.read_text().replace('"host": "vm"', '"host": "other"'))
    rehash(demo, crate=False)
    assert any(problem.startswith(f"{CRATE}: ") for problem in problems(demo))


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        (
            f"results/runs/{TRAINING}.json",
            lambda tree: tree["metrics"].update({"val/l1": 0.01}),
            f"{TRAINING}: val/l1 is 0.01 in its run record, 0.08568272865735567 in its card and curves",
        ),
        (
            f"results/runs/{TRAINING}.json",
            lambda tree: tree["metrics"].update({"best_step": 600.0, "psnr": 40.0}),
            f"{TRAINING}: best_step is 600.0 in its run record, 1200.0 in its card and curves",
        ),
        (
            "results/runs/prepare_dataset/natural.json",
            lambda tree: tree["metrics"].update({"images/test": 5000.0}),
            "prepare_dataset/natural: images/test is 5000.0 in its run record",
        ),
        (
            "results/make_tables/all/card.json",
            lambda tree: tree["summary"]["rows"].update({"reconstruction": 9}),
            "results/make_tables/all/card.json: its summary does not agree with its parameters",
        ),
        (
            "results/make_figures/all/card.json",
            lambda tree: tree["summary"].update({"figures": ["sigma"]}),
            "results/make_figures/all/card.json: its summary does not agree with its parameters",
        ),
        (
            "results/make_figures/all/card.json",
            lambda tree: tree["outputs"]["data/demo/reports/figures"].update({"sha256": "0" * 64}),
            "figures: differs from what its card says",
        ),
        (
            "results/make_figures/all/card.json",
            lambda tree: tree.update({"schema_version": 2}),
            "results/make_figures/all/card.json: is a card of the version 2, expected 1",
        ),
        (
            "results/prepare_dataset/natural/croissant.json",
            lambda tree: tree.update({"license": "CC0"}),
            "results/prepare_dataset/natural/croissant.json: license does not agree with card, run record and terms",
        ),
        (
            "results/prepare_dataset/natural/croissant.json",
            lambda tree: tree.pop("distribution"),
            "results/prepare_dataset/natural/croissant.json: does not describe a prepared data set",
        ),
    ],
    ids=[
        *("curve", "step", "images", "rows of tables", "figures", "hash of figures", "version of a card", "licence"),
        "no data set",
    ],
)
def test_an_edited_number_contradicts_other_files(
    demo: Bundle, name: str, change: Callable[[Tree], object], expected: str
) -> None:
    edit(demo, name, change)
    rehash(demo)
    assert any(expected in problem for problem in problems(demo)), problems(demo)


def test_a_workflow_is_that_of_a_commit(clone: Path) -> None:
    path = clone / "reports/tiny" / WORKFLOW

    def said() -> list[str]:
        return [problem for problem in audit_bundle("tiny").problems if problem.endswith("one that was committed")]

    path.write_text(path.read_text() + "# edited\n")
    assert said() == []  # no git that could say
    git("init", "-q")
    git("add", "params", WORKFLOW)
    git("commit", "-qm", "Begin")
    assert said() == [f"reports/tiny/{WORKFLOW}: is neither the {WORKFLOW} here nor one that was committed"]
    before = Path(WORKFLOW).read_text()
    for text in (path.read_text(), before):
        Path(WORKFLOW).write_text(text)
        git("commit", "-qam", "Edit")
    assert said() == []
