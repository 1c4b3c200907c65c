"""Metrics of sets: Inception Score, moments, against closed forms and sums that are written out."""

import numpy as np
import pytest
import torch
from torch import Tensor

from favae.config.evaluation import GeneratorEvaluationConfig, SpectrumMetricConfig
from favae.evaluation.evaluators import GenerationEvaluator, ReconstructionEvaluator
from favae.evaluation.frechet import frechet_distance
from favae.evaluation.image_metrics import output_levels, stored_levels
from favae.evaluation.sets import Moments, SetMetrics, inception_score

PROTOCOL = GeneratorEvaluationConfig(metrics=("psnr", "frechet", "kid"), feature_networks=("inception", "randconv"))


def images(count: int, seed: int = 0, side: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, side, side), generator=generator, dtype=torch.uint8)


def test_the_inception_score_is_1_for_equal_and_k_for_certain_uniform_predictions() -> None:
    assert inception_score(torch.full((20, 5), 0.2)) == pytest.approx(1)
    assert inception_score(torch.rand(1, 5).softmax(1).expand(20, 5)) == pytest.approx(1, abs=1e-6)
    assert inception_score(torch.eye(4).repeat(10, 1)) == pytest.approx(4)
    probabilities = torch.rand(12, 6, dtype=torch.float64).softmax(1)
    parts = [p.numpy() for p in probabilities.tensor_split(3)]
    by_hand = [np.exp(np.mean([(r * np.log(r / p.mean(0))).sum() for r in p])) for p in parts]
    assert inception_score(probabilities, 3) == pytest.approx(np.mean(by_hand))
    with pytest.raises(ValueError, match="needs as many images, got 5"):
        inception_score(probabilities[:5])


def test_moments_are_those_of_all_images_at_once() -> None:
    stored, moments = images(10), Moments(SpectrumMetricConfig())
    for part in stored.split(4):
        moments.add(stored_levels(part))
    values = stored.double() / 127.5 - 1
    assert torch.allclose(moments.mean, values.mean(0))
    assert moments.variance == pytest.approx(float(values.var(0).mean()))
    assert moments.spectrum is not None
    assert torch.allclose(moments.decibels_R, moments.spectrum.power(stored.float()).mean(0), atol=1e-5)


def compared(fake: Tensor, real: Tensor) -> dict[str, float | None]:
    """Metrics of two sets of stored images without pairs."""
    reference = GenerationEvaluator(PROTOCOL)
    reference.update_real(real)
    evaluator = GenerationEvaluator(PROTOCOL, reference=reference.real_statistics())
    sets = SetMetrics(PROTOCOL, evaluator.meters)
    evaluator.update_generated(fake / 127.5 - 1)
    evaluator.update_real(real)
    sets.add_fake(output_levels(fake / 127.5 - 1, "uint8"), evaluator.features)
    sets.add_real(stored_levels(real))
    train = GenerationEvaluator(PROTOCOL)
    train.update_real(images(30, 7))
    found = sets.result(train.real_statistics()) | evaluator.result()
    expected = frechet_distance(reference.real_statistics()["randconv"], train.real_statistics()["randconv"])
    assert found["fd_randconv_real_test"]["value"] == pytest.approx(expected)
    return {name: result["value"] for name, result in found.items()}


def test_equal_sets_have_no_distance_and_a_collapsed_one_no_variance() -> None:
    real = images(30)
    same = compared(real, real)
    assert same["variance_ratio_test"] == pytest.approx(1) and same["mean_distance_test"] == 0
    assert same["kid_randconv_test"] is not None
    assert same["set_spectrum_error_high_test"] == 0 and same["fd_randconv_test"] == pytest.approx(0, abs=1e-2)
    collapsed = compared(real[:1].repeat(30, 1, 1, 1), real)
    assert collapsed["variance_ratio_test"] == pytest.approx(0, abs=1e-9)
    half = compared((real.float() / 2 + 63.75).to(torch.uint8), real)
    assert half["variance_ratio_test"] == pytest.approx(0.25, abs=0.01)
    for network in ("fid", "is", "kid", "fid_real"):
        assert same[f"{network}_test"] is None  # not measured: Inception's weights are not here


def test_translations_are_named_like_generated_images_and_compared_with_their_own() -> None:
    evaluator = ReconstructionEvaluator(PROTOCOL, images="translation")
    real = images(6)
    evaluator.update(real, real / 127.5 - 0.9)
    names = set(evaluator.result())
    assert names == {"psnr_test", "fid_test", "fd_randconv_test", "kid_test", "kid_randconv_test"}
