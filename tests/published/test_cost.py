"""The cost of a number is that of its chain, each result once; what is not known makes it a lower bound."""

import json
import shutil
from pathlib import Path

import pytest

from favae.results.bundle import MANIFEST
from favae.results.cost import cost_of
from favae.results.run_record import RunRecord, read_record
from favae.runtime.paths import MODEL_CARD
from favae.sync.audit import audit, audit_bundle, describe, find
from favae.sync.publish import publish

BUNDLE = Path("reports/tiny")
NUMBER = "reconstruction/natural-f4-favae-on-natural/psnr_test"


def record(clone: Path, **changes: object) -> RunRecord:
    found = read_record(clone / "reports/tiny/results/runs/train_autoencoder/natural-f4-favae.json")
    assert found is not None
    return found.model_copy(update=changes)


def test_an_audited_number_says_what_its_chain_cost(clone: Path) -> None:
    result = audit_bundle("tiny")
    (number,) = find(result, NUMBER)
    # data, statistics, training and evaluation: a minute each
    lines = list(describe(result, number))
    assert lines[1] == "  cost: 0.0667 CPU-hours (wall time where no processor time is recorded), over 4 results"


def row_of(text: str) -> str:
    (line,) = [line for line in text.splitlines() if line.startswith("- FA-VAE, f = 4: ")]
    return line


def test_a_published_table_says_what_each_row_cost_and_own_tables_stay_the_same_bytes(project: Path) -> None:
    own = Path("data/tiny/reports/tables/reconstruction.md")
    before = own.read_text(encoding="utf-8")
    publish("tiny")
    said = "cost with all that it was made from: 0.0667 CPU-hours (wall time where no processor time is recorded))"
    for suffix in (".md", ".html"):
        assert said in (BUNDLE / "tables/reconstruction").with_suffix(suffix).read_text(encoding="utf-8")
    assert row_of((BUNDLE / "tables/reconstruction.md").read_text(encoding="utf-8")).endswith(said)
    assert own.read_text(encoding="utf-8") == before and "cost" not in before
    assert audit_bundle("tiny").problems == []


def test_published_tables_that_were_copied_back_are_those_of_the_results(project: Path) -> None:
    publish("tiny")
    tables = Path("data/tiny/reports/tables")
    shutil.rmtree(tables)
    shutil.copytree(BUNDLE / "tables", tables)
    card = "make_tables/all/card.json"
    shutil.copy(BUNDLE / "results" / card, Path("data/tiny") / card)
    assert not [problem for problem in audit("tiny").problems if str(tables) in problem]


def test_a_published_cost_that_its_run_records_do_not_give_is_found(clone: Path) -> None:
    (BUNDLE / MANIFEST).unlink()  # nor does a list of files tell
    path = BUNDLE / "results/runs/train_autoencoder/natural-f4-favae.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seconds": 6.0}))
    found = audit_bundle("tiny").problems
    assert any(problem.startswith(f"{BUNDLE}/tables/reconstruction.md: line ") for problem in found)
    assert any(f"{MODEL_CARD}: does not agree with" in problem for problem in found)


def test_gpu_time_counts_once_and_processor_time_only_without_a_gpu(clone: Path) -> None:
    on_gpu = record(clone, gpu_seconds=7200.0, cpu_seconds=9999.0)
    on_cpu = record(clone, gpu_seconds=0.0, cpu_seconds=1800.0)
    found = cost_of([on_gpu, on_cpu])
    assert (found.gpu_hours, found.cpu_hours) == pytest.approx((2.0, 0.5))
    assert found.text == "2 GPU-hours and 0.5 CPU-hours"


@pytest.mark.parametrize("unknown", ["missing", "resumed"])
def test_what_is_not_known_makes_it_a_lower_bound(clone: Path, unknown: str) -> None:
    records = [
        record(clone, cpu_seconds=3600.0),
        None if unknown == "missing" else record(clone, resumed=1, cpu_seconds=0.0),
    ]
    assert cost_of(records).text.startswith("at least 1 CPU-hours")
