"""The state of a cell is computed from contents; `--fast` compares only sizes; overheads are printed without touching
the project."""

import contextlib
import json
from pathlib import Path

import pytest
from contract_support import replace
from tests_support import call, jobs

from favae.jobs.grid import Grid
from favae.results.status import Check, State, statuses

MODEL = "train_autoencoder/natural-f2-favae"
EVALUATIONS = {f"evaluate_reconstruction/natural-f2-favae-on-{data}" for data in ("natural", "scientific")}


def states(check: Check) -> dict[str, State]:
    return {job.name: state for job, state, _ in statuses(None, check=check)}


def test_changed_truncated_and_missing_files_are_not_ok(here: Path) -> None:
    weights = here / "data/tiny" / MODEL / "model.safetensors"
    content = weights.read_bytes()
    replace(weights, content[:-1] + bytes([content[-1] ^ 1]))
    assert set(states("sizes").values()) == {State.OK}
    assert states("remembered")[MODEL] is states("bytes")[MODEL] is State.CORRUPT
    replace(weights, content[:-1])
    assert states("sizes")[MODEL] is State.CORRUPT
    weights.unlink()
    found = states("sizes")
    assert found[MODEL] is State.MISSING
    assert all(found[job] is State.STALE for job in EVALUATIONS)
    assert found["train_autoencoder/natural-f4-vqgan"] is State.OK


def test_times_of_files_do_not_matter(here: Path) -> None:
    for path in (here / "data/tiny").rglob("*"):
        path.touch()
    assert set(states("remembered").values()) == {State.OK}


def test_a_result_of_other_code_is_refused_by_lock_and_audit_until_it_is_made_again(results: Path) -> None:
    stage, cell = MODEL.split("/")
    record = results / f"data/tiny/runs/{stage}/{cell}.json"
    tree = json.loads(record.read_text())
    tree["code"]["units"]["favae.losses.frequency"]["FocalFrequencyLoss.__init__"] = "0" * 10
    replace(record, json.dumps(tree).encode())
    expected = {MODEL, *EVALUATIONS, "make_tables/all", "make_figures/all"}
    lines = call(results, "favae", "status", check=False).stdout.splitlines()
    assert {line.split()[2] for line in lines if line.startswith("code changed")} == expected
    lock = call(results, "favae", "lock", check=False)
    assert lock.returncode == 1 and f"{MODEL} (code changed)" in lock.stdout
    assert "to be made again 0" in call(results, "favae", "adopt").stdout  # nothing is lost
    audit = call(results, "favae", "audit", check=False).stdout
    assert f"{MODEL}: code changed: losses.frequency.FocalFrequencyLoss.__init__" in audit
    call(results, "snakemake", "--cores", "2", "--quiet", "all", "--forcerun", f"data/tiny/{MODEL}/card.json")
    lines = call(results, "favae", "status").stdout.splitlines()
    assert all(line.startswith("ok") for line in lines)


def test_a_card_cut_short_is_corrupt_not_a_crash(here: Path) -> None:
    card = here / "data/tiny" / MODEL / "card.json"
    replace(card, card.read_bytes()[:100])
    assert states("remembered")[MODEL] is State.CORRUPT


def test_a_renamed_cell_is_reported(here: Path) -> None:
    folder = here / "data/tiny" / MODEL
    folder.rename(folder.with_name("called-otherwise-before"))
    reasons = {job.name: reason for job, _, reason in statuses(None, check="sizes")}
    assert reasons[MODEL] == "no card (renamed? called-otherwise-before left the grid and has the same parameters)"


@pytest.mark.rare
def test_overheads_are_printed_and_nothing_is_changed(results: Path) -> None:
    before = call(results, "git", "status", "--porcelain").stdout
    printed = call(results, "favae", "bench", "overheads", "--repeats", "1").stdout.splitlines()
    rows = [line for line in printed if line.startswith("|")][2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [c[0] for c in cells][:3] == ["favae --help", "snakemake -n, scale paper", "snakemake -n, many cells"]
    with contextlib.chdir(results):
        paper = len(Grid("paper").jobs)
    assert [c[1] for c in cells] == ["", str(paper), "2000", *[str(len(jobs(results)))] * 3]
    assert all(float(c[2]) > 0 for c in cells)
    assert call(results, "git", "status", "--porcelain").stdout == before
