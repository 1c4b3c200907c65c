"""Pages that follow from records: model cards that the Hub can read, and a checklist that says what is unknown."""

import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from ruamel.yaml import YAML

from favae.jobs.grid import load_grid
from favae.jobs.terms import terms_of
from favae.results.bundle import MANIFEST
from favae.results.cards import input_hashes, read_card, write_card
from favae.results.model_card import exports_model, model_card_path, write_model_cards
from favae.runtime.paths import MODEL_CARD
from favae.sync.audit import audit_bundle
from favae.sync.disclosure import CHECKLIST

RESULTS = Path("reports/tiny/results")
MEASURE = ("evaluate_", "generate_")
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
    listed, derived = f"differs from what {MANIFEST} says", "does not agree with cards, metrics and run records"
    assert audit_bundle("tiny").problems == [f"{path}: {listed}", f"{path}: {derived}"]


def test_metadata_that_another_library_lays_out_differently_are_the_same(clone: Path) -> None:
    path = MODEL / MODEL_CARD
    head, body = path.read_text(encoding="utf-8").removeprefix("---\n").split("\n---\n", 1)
    tree = YAML(typ="safe", pure=True).load(head)
    path.write_text(f"---\n{json.dumps(tree)}\n---\n{body}", encoding="utf-8")
    listed = f"{path}: differs from what {MANIFEST} says"
    assert audit_bundle("tiny").problems == [listed]
    tree["model-index"][0]["results"][0]["metrics"][0]["value"] += 1e-9
    path.write_text(f"---\n{json.dumps(tree)}\n---\n{body}", encoding="utf-8")
    assert audit_bundle("tiny").problems == [listed, f"{path}: does not agree with cards, metrics and run records"]


def metrics_of(path: Path) -> set[tuple[str, str, float]]:
    """Data set, metric and value, as the Hub reads them."""
    found = ModelCard(path.read_text(encoding="utf-8")).data.eval_results or []
    return {(result.dataset_name, result.metric_type, result.metric_value) for result in found}


def test_a_model_has_its_card_beside_its_weights_when_its_training_ends_and_an_evaluation_adds_what_it_measured(
    project: Path,
) -> None:
    grid = load_grid("tiny")
    training = grid.job("train_autoencoder", "natural-f4-favae")
    evaluations = [job for job in grid if training.card in job.inputs.values() and job.stage.name.startswith(MEASURE)]
    cards = {job.card: job.card.read_bytes() for job in evaluations}
    for path in cards:
        path.unlink()
    write_model_cards(training)
    path = model_card_path(training)
    assert path.parent == Path("data/tiny/train_autoencoder/natural-f4-favae") and metrics_of(path) == set()
    for job in evaluations:
        job.card.write_bytes(cards[job.card])
        write_model_cards(job)
        measured = json.loads((job.card.parent / "metrics.json").read_text(encoding="utf-8"))
        given = {(job.roles["dataset"], name, metric["value"]) for name, metric in measured.items()}
        assert given <= metrics_of(path)


def test_what_was_measured_of_former_weights_is_not_said_of_new_ones(project: Path) -> None:
    training = load_grid("tiny").job("train_autoencoder", "natural-f4-favae")
    write_model_cards(training)
    assert metrics_of(model_card_path(training))
    card = read_card(training.card)
    write_card(training, card.key, input_hashes(training), [], {"other": 1})
    write_model_cards(training)
    assert metrics_of(model_card_path(training)) == set()


def test_a_card_that_cannot_be_written_fails_no_job(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    training = load_grid("tiny").job("train_autoencoder", "natural-f4-favae")
    Path("data/tiny/runs/train_autoencoder/natural-f4-favae.json").write_text("{}")
    write_model_cards(training)
    assert "its model card is not written" in caplog.text
    assert exports_model(training) and not model_card_path(training).exists()
