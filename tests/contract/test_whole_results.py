"""What is finished and whole stays: without DVC's cache, without git, unrecorded, in a copy; and recording it twice is quick."""

import hashlib
import os
import re
import shutil
import time
from pathlib import Path

import pytest
from contract_support import edit
from tests_support import call, planned

CELL = "train_autoencoder/natural-f2-favae"


def records(project: Path) -> dict[str, str]:
    return {p.name: p.read_text() for p in sorted((project / "data/tiny/runs").rglob("*.json"))}


def test_with_nothing_new_a_lock_does_not_ask_dvc_and_with_one_new_cell_records_that(results: Path) -> None:
    call(results, "favae", "lock")
    held = (results / ".dvc/tmp/lock").stat().st_mtime_ns  # by each DVC command; comparing takes it 14 s
    assert call(results, "favae", "lock").stdout == "locked 18 of 18 cells\n"
    assert (results / ".dvc/tmp/lock").stat().st_mtime_ns == held
    edit(results, "figures.yaml", "dpi: 160", "dpi: 90")
    call(results, "snakemake", "--no-hooks")
    said = call(results, "favae", "status").stderr
    assert "results not recorded in DVC (1, such as make_figures/all): favae lock" in said
    call(results, "favae", "lock")
    assert not call(results, "favae", "status").stderr
    assert call(results, "dvc", "status").stdout.strip() == "Data and pipelines are up to date."


def test_without_its_cache_dvc_repro_puts_back_what_it_deletes(results: Path) -> None:
    call(results, "favae", "lock")
    before = records(results)
    shutil.rmtree(results / ".dvc/cache")
    assert "results not recorded in DVC (18," in call(results, "favae", "status").stderr
    done = call(results, "dvc", "repro", CELL.replace("/", "@"))
    assert f"{CELL}: whole, but not in DVC's cache; put back instead of made again" in done.stdout + done.stderr
    assert records(results) == before
    call(results, "favae", "lock")
    assert not call(results, "favae", "status").stderr
    assert call(results, "dvc", "status").stdout.strip() == "Data and pipelines are up to date."
    assert records(results) == before
    call(results, "dvc", "repro", "--single-item", "--force", "make_tables@all")  # who asks for a rerun gets one
    assert {name for name, text in records(results).items() if before[name] != text} == {"all.json"}


def test_without_git_a_finished_run_ends_well_and_says_what_is_missing(results: Path) -> None:
    shutil.rmtree(results / ".git")
    (results / "data/state/tiny/locked.json").unlink()  # else nothing is new, and DVC is not asked
    done = call(results, "favae", "internal", "finish")
    assert "results not recorded in DVC (" in done.stderr
    assert "mlflow: 0 new of 18 runs" in done.stderr


def test_after_the_clock_was_set_back_jobs_that_read_older_results_run(results: Path) -> None:
    later = time.time() + 2 * 24 * 3600
    for path in (results / "data/tiny/evaluate_reconstruction").glob("*/card.json"):
        os.utime(path, (later, later))
    assert planned(results) == set()
    edit(results, "tables.yaml", "held-out photographs", "photographs")
    assert "are from the future" in call(results, "snakemake").stderr
    assert planned(results) == set()


def test_a_merge_conflict_is_one_line_that_says_what_to_type(results: Path) -> None:
    lock = results / "dvc.lock"
    lock.write_text("<<<<<<< HEAD\n" + lock.read_text() + "=======\n>>>>>>> other\n")
    for command in (("snakemake",), ("favae", "lock"), ("favae", "status")):
        done = call(results, *command, check=False)
        lines = [line for line in (done.stdout + done.stderr).splitlines() if "merge conflict in dvc.lock" in line]
        assert len(lines) == 1 and "git checkout --ours dvc.lock reports/" in lines[0]
        assert "Traceback" not in done.stderr


def test_a_record_of_dvc_that_was_cut_short_is_made_again(results: Path) -> None:
    lock = results / "dvc.lock"
    whole = lock.read_text()
    lock.write_text(whole[: whole.index("    cmd:", len(whole) // 2) + len("    cmd:")])
    call(results, "favae", "lock")
    assert lock.read_text() == whole
    assert call(results, "dvc", "status").stdout.strip() == "Data and pipelines are up to date."


def test_stale_results_in_a_copy_without_hidden_folders_are_reported(results: Path) -> None:
    shutil.rmtree(results / ".snakemake")
    assert planned(results) == set()
    edit(results, "figures.yaml", "dpi: 160", "dpi: 90")
    done = call(results, "snakemake", check=False)
    assert done.returncode
    assert re.search(r"1 results? .*make_figures/all.*: favae adopt", done.stdout + done.stderr)
    call(results, "favae", "adopt")
    assert planned(results) == {"make_figures/all"}


@pytest.mark.parametrize("command", [("status",), ("why", CELL), ("plan", CELL), ("check",)])
def test_a_check_needs_no_write_access_and_changes_nothing(results: Path, command: tuple[str, ...]) -> None:
    def content() -> dict[str, str]:
        files = sorted(p for p in results.rglob("*") if p.is_file() and ".git/" not in p.as_posix())
        files = [path for path in files if path.name != "hashes.txt"]  # a cache of hashes, which may be absent
        return {p.as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    call(results, "favae", "plan", check=False)  # remembers what the networks are
    before = content()
    done = call(results, "favae", *command, check=False)
    assert "Traceback" not in done.stderr
    assert content() == before
