"""The kernel distance against sums written out and torchmetrics, and its place in an evaluation."""

import numpy as np
import pytest
import torch
from torch import Tensor

from favae.config.evaluation import EvaluationConfig, WeightsConfig
from favae.evaluation.evaluators import ReconstructionEvaluator
from favae.evaluation.kernel import kernel_distance
from favae.runtime.torchvision import ensure_torchvision


@pytest.fixture
def features() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(9, 5, generator=generator), 0.7 + torch.randn(7, 5, generator=generator)


def test_the_distance_is_the_sum_over_pairs_written_out(features: tuple[Tensor, Tensor]) -> None:
    a, b = (x.double().numpy() for x in features)

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / 5 + 1) ** 3)

    own = [np.mean([kernel(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j]) for x in (a, b)]
    expected = own[0] + own[1] - 2 * np.mean([kernel(x, y) for x in a for y in b])
    assert kernel_distance(*features) == pytest.approx(expected, rel=1e-12)


def test_sets_of_one_size_agree_with_torchmetrics(features: tuple[Tensor, Tensor]) -> None:
    ensure_torchvision()
    from torchmetrics.image.kid import poly_mmd

    a, b = features[0][:7], features[1]
    assert kernel_distance(a, b) == pytest.approx(float(poly_mmd(a.double(), b.double())), rel=1e-9)


def test_the_estimate_has_no_bias() -> None:
    generator = torch.Generator().manual_seed(1)
    values = [kernel_distance(*torch.randn(2, 10, 4, generator=generator)) for _ in range(400)]
    assert abs(np.mean(values)) < 3 * np.std(values) / 20


def test_parts_of_the_features_give_the_same(features: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = kernel_distance(*features)
    monkeypatch.setattr("favae.evaluation.kernel._ROWS", 2)
    assert kernel_distance(*features) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [((1, 5), (7, 5), "at least 2 images in each set, got 1 and 7"), ((9, 5), (7, 4), r"got \(9, 5\) and \(7, 4\)")],
)
def test_sets_that_cannot_be_compared_are_refused(a: tuple[int, int], b: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kernel_distance(torch.zeros(a), torch.zeros(b))


def test_an_evaluation_compares_features_of_reconstructions_with_those_of_originals(
    pairs: tuple[Tensor, Tensor], random_squeezenet: WeightsConfig
) -> None:
    protocol = EvaluationConfig(metrics=("frechet", "kid"), feature_networks=("squeezenet",))
    first = ReconstructionEvaluator(protocol, catalogue=random_squeezenet)
    first.update(*pairs)
    with_reference = ReconstructionEvaluator(protocol, catalogue=random_squeezenet, reference=first.real_statistics())
    for part in (slice(0, 5), slice(5, 12)):
        with_reference.update(pairs[0][part], pairs[1][part])
    results, again = first.result(), with_reference.result()
    network = first.meters.networks["squeezenet"]
    levels = ((pairs[1].clamp(-1, 1) + 1) * 127.5).round()
    with torch.inference_mode():
        expected = kernel_distance(network(pairs[0] / 255), network(levels / 255))
    assert results["rkid_squeezenet_test"]["value"] == pytest.approx(expected, rel=1e-4)
    assert again["rkid_squeezenet_test"]["value"] == pytest.approx(expected, rel=1e-4)
    assert again["rfd_squeezenet_test"]["value"] == pytest.approx(results["rfd_squeezenet_test"]["value"], rel=1e-4)
