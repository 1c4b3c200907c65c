"""Evaluations with given reference statistics: the same distances, and one sentence for each missing network."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from favae.config.evaluation import EvaluationConfig
from favae.evaluation.evaluators import GenerationEvaluator, ReconstructionEvaluator
from favae.evaluation.frechet import FeatureStatistics, frechet_distance, load_reference, save_reference
from favae.evaluation.image_metrics import output_levels
from favae.pretrained.features import load_feature_network

PROTOCOL = EvaluationConfig(metrics=("frechet",), feature_networks=("randconv",))


def statistics(levels_BCHW: Tensor) -> FeatureStatistics:
    """Features of images of levels 0..255, in one go."""
    found = FeatureStatistics("randconv", 64)
    found.update(load_feature_network("randconv")(levels_BCHW.float() / 255))
    return found


def test_file_names_have_images_and_network(pairs: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    real = statistics(pairs[0])
    save_reference(tmp_path, "test", {"randconv": real})
    save_reference(tmp_path, "all", {})
    assert [file.name for file in tmp_path.iterdir()] == ["test-randconv.npz"]
    (loaded,) = load_reference(tmp_path, "test").values()
    assert (loaded.n, loaded.source) == (real.n, real.source)
    assert frechet_distance(loaded, real) == pytest.approx(0, abs=1e-3)
    assert load_reference(tmp_path, "all") == {}
    with pytest.raises(FileNotFoundError, match="dvc pull"):
        load_reference(tmp_path / "nowhere", "test")


def test_a_network_without_reference_is_not_measured_with_a_reason(pairs: tuple[Tensor, Tensor]) -> None:
    """Weights that were missing when the reference was computed exist now: originals are not measured instead."""
    evaluator = ReconstructionEvaluator(PROTOCOL, reference={})
    evaluator.update(*pairs)
    entry = evaluator.result()["rfd_randconv_test"]
    assert (entry["value"], entry["n"]) == (None, 0)
    assert entry["note"] == (
        "not measured: the reference statistics were computed without the weights of randconv; compute them again"
    )


def test_the_same_samples_against_the_split_and_against_all_images(pairs: tuple[Tensor, Tensor]) -> None:
    """`fid` and `fid_vs_all` differ in the real images only."""
    split, everything = statistics(pairs[0][:5]), statistics(pairs[0])
    evaluator = GenerationEvaluator(PROTOCOL, reference={"randconv": split})
    evaluator.update_generated(pairs[1])
    measured = evaluator.result() | evaluator.result_against_all({"randconv": everything})
    generated = statistics(output_levels(pairs[1], "uint8"))
    assert list(measured) == ["fd_randconv_test", "fd_randconv_vs_all_test"]
    for entry, real in zip(measured.values(), (split, everything), strict=True):
        assert entry["value"] == pytest.approx(frechet_distance(real, generated), rel=1e-6)
        assert (entry["n"], entry["protocol"]["n_real"]) == (len(pairs[1]), real.n)
    assert measured["fd_randconv_test"]["value"] != measured["fd_randconv_vs_all_test"]["value"]


def test_statistics_of_all_images_from_other_weights_are_refused(pairs: tuple[Tensor, Tensor]) -> None:
    evaluator = GenerationEvaluator(PROTOCOL, reference={"randconv": statistics(pairs[0])})
    evaluator.update_generated(pairs[1])
    with pytest.raises(ValueError, match="randconv-00000000"):
        evaluator.result_against_all({"randconv": FeatureStatistics("randconv-00000000", 64)})


def test_features_of_originals_are_not_computed_if_their_statistics_are_given(
    pairs: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluator = ReconstructionEvaluator(PROTOCOL, reference={"randconv": statistics(pairs[0])})
    network, seen = evaluator.meters.networks["randconv"], []
    monkeypatch.setattr(network, "features", lambda image: seen.append(len(image)) or torch.rand(len(image), 64))
    evaluator.update(*pairs)
    assert seen == [len(pairs[1])]
