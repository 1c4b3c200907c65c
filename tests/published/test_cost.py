"""The cost of a number is that of its chain, each result once; what is not known makes it a lower bound."""

from pathlib import Path

import pytest

from favae.results.cost import cost_of
from favae.results.run_record import RunRecord, read_record
from favae.sync.audit import audit_bundle, describe, find

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
