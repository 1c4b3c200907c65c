"""Another machine or another commit: results come through DVC, and Snakemake accepts those with valid cards."""

import json
import shutil
from pathlib import Path

import pytest
from contract_support import commit, edit
from tests_support import call, planned, planned_by_dvc


@pytest.fixture
def pushed(results: Path) -> Path:
    """A finished project, committed, its results pushed to a remote that is a folder."""
    call(results, "dvc", "remote", "add", "-q", "-d", "store", str(results.parent / "remote"))
    commit(results, "results")
    call(results, "dvc", "push", "-q")
    return results


def clone(project: Path, name: str) -> Path:
    call(project.parent, "git", "clone", "-q", str(project), name)
    return project.parent / name


def test_on_another_machine_nothing_is_left_to_do_after_pull_and_adopt(pushed: Path) -> None:
    other = clone(pushed, "other")
    call(other, "dvc", "pull", "-q")
    assert "adopted 18, to be made again 0, missing 0" in call(other, "favae", "adopt").stdout
    models = list((other / "data").rglob("model.safetensors"))
    assert models and all((path.parent / "README.md").is_file() for path in models)  # no output, so written here anew
    assert planned(other) == set()
    assert planned_by_dvc(other) == set()
    assert not call(other, "git", "status", "--porcelain").stdout
    # and it continues like the machine that made them
    edit(other, "figures.yaml", "dpi: 160", "dpi: 90")
    assert planned(other) == {"make_figures/all"} == planned_by_dvc(other)


def test_tables_regenerate_without_checkpoints_and_data_sets(pushed: Path) -> None:
    other = clone(pushed, "other")
    call(other, "dvc", "pull", "-q", "evaluate_reconstruction", "generate_images", "make_tables")
    shutil.rmtree(other / "data/tiny/reports")
    call(other, "dvc", "repro", "--single-item", "--force", "make_tables@all")
    assert not list((other / "data").rglob("*.safetensors"))
    for table in (pushed / "data/tiny/reports/tables").iterdir():
        assert (other / "data/tiny/reports/tables" / table.name).read_bytes() == table.read_bytes()


def test_adopt_marks_only_current_results(results: Path) -> None:
    corrupt = "evaluate_reconstruction/natural-f2-favae-on-natural"
    spectrum = results / "data/tiny" / corrupt / "spectrum.csv"
    text = spectrum.read_text()
    spectrum.unlink()  # not in place: the file may be a link into DVC's cache
    spectrum.write_text(text.replace("1", "2", 1))
    edit(results, "tiny.yaml", "guidance: [1.0, 3.0]", "guidance: [1.0, 3.0, 5.0]")
    done = call(results, "favae", "adopt")
    assert f"to be made again: {corrupt}: {spectrum.relative_to(results)} does not match its card" in done.stdout
    assert "to be made again: generate_images/natural-f4-cat: parameters" in done.stdout
    assert planned(results) == {corrupt, "generate_images/natural-f4-cat", "make_tables/all", "make_figures/all"}


@pytest.mark.parametrize("with_records", [True, False])
def test_after_an_edit_adopt_keeps_the_cards_of_results_that_snakemake_makes_again(
    results: Path, with_records: bool
) -> None:
    edit(results, "figures.yaml", "dpi: 160", "dpi: 90")
    if not with_records:
        shutil.rmtree(results / ".snakemake")
    call(results, "favae", "adopt")
    assert "stale" in call(results, "favae", "status", check=False).stdout
    assert planned(results) == {"make_figures/all"}
    call(results, "snakemake", "--cores", "2")  # and nothing stands in its way
    assert planned(results) == set()


def test_returning_to_earlier_parameters_or_commits_runs_nothing(pushed: Path) -> None:
    record = pushed / "data/tiny/runs/generate_images/natural-f4-cat.json"
    first = record.read_text()
    edit(pushed, "tiny.yaml", "guidance: [1.0, 3.0]", "guidance: [1.0, 3.0, 5.0]")
    call(pushed, "snakemake", "--cores", "2")
    commit(pushed, "one more guidance scale")
    second = record.read_text()
    assert json.loads(second)["key"] != json.loads(first)["key"]
    for commit_name, expected in (("HEAD~1", first), ("main", second)):
        call(pushed, "git", "checkout", "-q", commit_name)
        call(pushed, "dvc", "checkout", "-q")
        call(pushed, "favae", "adopt")
        assert planned(pushed) == set() == planned_by_dvc(pushed)
        assert record.read_text() == expected
    edit(pushed, "tiny.yaml", "guidance: [1.0, 3.0, 5.0]", "guidance: [1.0, 3.0]")
    done = call(pushed, "dvc", "repro")
    assert "Stage 'generate_images@natural-f4-cat' is cached - skipping run" in done.stdout
    assert record.read_text() == first
    call(pushed, "favae", "adopt")
    assert planned(pushed) == set()
