"""Pages that follow from records: model cards that the Hub can read, and a checklist that says what is unknown."""

import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from favae.jobs.grid import load_grid
from favae.jobs.terms import terms_of
from favae.results.bundle import MANIFEST
from favae.sync.audit import audit_bundle
from favae.sync.disclosure import CHECKLIST, MODEL_CARD

RESULTS = Path("reports/tiny/results")
MODEL = RESULTS / "train_autoencoder/natural-f4-favae"


def test_the_hub_reads_every_metric_of_a_model_from_its_card(clone: Path) -> None:
    card = ModelCard((MODEL / MODEL_CARD).read_text(encoding="utf-8"))
    assert card.data.license == "mit"
    found = {(r.dataset_name, r.metric_type): r.metric_value for r in card.data.eval_results}
    for dataset in ("natural", "scientific"):
        cell = f"evaluate_reconstruction/natural-f4-favae-on-{dataset}"
        metrics = json.loads((RESULTS / cell / "metrics.json").read_text(encoding="utf-8"))
        for name, metric in metrics.items():
            assert found.pop((dataset, name)) == pytest.approx(metric["value"])
    assert all(dataset == "natural" and "guidance" in name for dataset, name in found)


def test_a_model_card_names_the_weights_by_their_hash_and_the_terms_of_the_data(clone: Path) -> None:
    text = (MODEL / MODEL_CARD).read_text(encoding="utf-8")
    outputs = json.loads((MODEL / "card.json").read_text(encoding="utf-8"))["outputs"]
    (weights,) = [output for name, output in outputs.items() if name.endswith(".safetensors")]
    assert weights["sha256"] in text
    assert terms_of(load_grid("tiny"), "natural").licence in text


def test_every_trained_model_has_a_card(clone: Path) -> None:
    for job in load_grid("tiny"):
        assert (RESULTS / job.stage.name / job.cell / MODEL_CARD).exists() == job.stage.name.startswith("train_")


def test_the_checklist_answers_from_records_and_says_what_is_unknown(clone: Path) -> None:
    lines = (RESULTS / CHECKLIST).read_text(encoding="utf-8").splitlines()
    answers = dict(line.strip("| ").split(" | ", 1) for line in lines if line.startswith("| "))
    assert answers["Random seeds"].startswith("0; ")
    assert answers["Licence of natural"] == terms_of(load_grid("tiny"), "natural").licence
    assert "CPU-hours" in answers["Compute of the published results"]
    assert answers["Compute of failed and preliminary runs"] == "unknown"
    assert answers["Devices"] == "cpu"


def test_an_edited_page_is_found(clone: Path) -> None:
    path = RESULTS / CHECKLIST
    path.write_text(path.read_text(encoding="utf-8") + "| Societal impact | none |\n", encoding="utf-8")
    assert audit_bundle("tiny").problems == [f"{path}: differs from what {MANIFEST} says"]
