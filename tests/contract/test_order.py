"""Snakemake first or DVC first: each leaves the other with nothing to do."""

from pathlib import Path

from contract_support import change_two_evaluations, edit, started
from tests_support import call, planned, states


def test_dvc_runs_each_of_two_changed_cells_of_a_stage_once(results: Path) -> None:
    expected = change_two_evaluations(results) | {"make_tables/all", "make_figures/all"}
    assert planned(results) == expected
    before = started(results)
    output = call(results, "dvc", "repro").stdout
    lines = [line for line in output.splitlines() if line.startswith("Running stage") and "@" in line]
    assert sorted(line.split("'")[1].replace("@", "/") for line in lines) == sorted(expected)
    after = started(results)
    assert {job for job in after if after[job] != before[job]} == expected
    assert planned(results) == set()
    assert set(states(results).values()) == {"ok"}


def test_snakemake_first_then_lock_leaves_dvc_clean(results: Path) -> None:
    edit(results, "tables.yaml", "held-out photographs", "photographs")
    call(results, "snakemake", "--no-hooks")
    assert "make_tables@all" in call(results, "dvc", "status").stdout
    assert "locked 18 of 18 cells" in call(results, "favae", "lock").stdout
    assert call(results, "dvc", "status").stdout.strip() == "Data and pipelines are up to date."
    assert planned(results) == set()
