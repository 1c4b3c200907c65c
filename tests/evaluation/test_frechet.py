"""Feature statistics and Frechet distances against NumPy, pytorch-fid and closed forms."""

from pathlib import Path

import numpy as np
import pytest
import torch

from favae.evaluation.frechet import FeatureStatistics, frechet_distance, sample_size_warning
from favae.runtime.torchvision import ensure_torchvision


def _of(features_ND: np.ndarray, source: str = "randconv", batch: int = 7) -> FeatureStatistics:
    statistics = FeatureStatistics(source, features_ND.shape[1])
    for first in range(0, len(features_ND), batch):
        statistics.update(torch.from_numpy(features_ND[first : first + batch]))
    return statistics


def _exactly(mean_D: np.ndarray, covariance_DD: np.ndarray) -> FeatureStatistics:
    statistics = FeatureStatistics("exact", len(mean_D))
    statistics.n, statistics.mean_D, statistics.scatter_DD = 1001, mean_D, covariance_DD * 1000
    return statistics


@pytest.fixture
def features() -> np.ndarray:
    generator = np.random.default_rng(0)
    # With this offset, sums of squares would lose all digits.
    return generator.normal(size=(200, 6)) @ generator.normal(size=(6, 6)) + 1e4


def test_streaming_statistics_agree_with_numpy_mean_and_cov(features: np.ndarray) -> None:
    statistics = _of(features)
    assert statistics.n == 200
    np.testing.assert_allclose(statistics.mean_D, features.mean(0), rtol=1e-13)
    np.testing.assert_allclose(statistics.covariance_DD, np.cov(features, rowvar=False), rtol=1e-9)


def test_merged_ranks_equal_one_rank(features: np.ndarray) -> None:
    merged = _of(features[:31])
    merged.merge(FeatureStatistics("randconv", 6))
    merged.merge(_of(features[31:]))
    assert merged.n == 200
    np.testing.assert_allclose(merged.covariance_DD, np.cov(features, rowvar=False), rtol=1e-9)


def test_saved_statistics_return_exactly_and_their_bytes_repeat(features: np.ndarray, tmp_path: Path) -> None:
    statistics = _of(features)
    statistics.save(tmp_path / "one.npz")
    statistics.save(tmp_path / "two.npz")
    loaded = FeatureStatistics.load(tmp_path / "one.npz")
    assert (loaded.source, loaded.n) == ("randconv", 200)
    assert np.array_equal(loaded.mean_D, statistics.mean_D) and np.array_equal(loaded.scatter_DD, statistics.scatter_DD)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_files_of_another_kind_or_with_objects_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "fid.npz", mu=np.zeros(2), sigma=np.eye(2))
    with pytest.raises(ValueError, match="mu, sigma"):
        FeatureStatistics.load(tmp_path / "fid.npz")
    stored = {"source": np.array([{}], dtype=object), "n": 1, "mean": np.zeros(1), "scatter": np.zeros((1, 1))}
    np.savez(tmp_path / "objects.npz", **stored)
    with pytest.raises(ValueError, match="allow_pickle"):
        FeatureStatistics.load(tmp_path / "objects.npz")


def test_statistics_of_different_networks_are_never_combined(features: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"randconv.*squeezenet"):
        frechet_distance(_of(features), _of(features, source="squeezenet"))
    with pytest.raises(ValueError, match=r"6 features.*5 features"):
        _of(features).merge(_of(features[:, :5]))


def test_bad_features_are_refused(features: np.ndarray) -> None:
    statistics = _of(features)
    with pytest.raises(ValueError, match=r"\[B, 6\]"):
        statistics.update(torch.zeros(3, 5))
    with pytest.raises(ValueError, match="NaN"):
        statistics.update(torch.full((1, 6), float("nan")))
    with pytest.raises(ValueError, match="at least 2 images, got 1"):
        frechet_distance(statistics, _of(features[:1]))


def test_frechet_distance_of_shifted_gaussians_is_the_squared_shift(features: np.ndarray) -> None:
    shift = np.array([3.0, 0, 0, -4.0, 0, 0])
    assert frechet_distance(_of(features), _of(features)) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(_of(features), _of(features + shift)) == pytest.approx(25, rel=1e-6)


def test_diagonal_covariances() -> None:
    a, b = np.array([1.0, 4.0, 0.25]), np.array([9.0, 1.0, 0.25])
    expected = 1 + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    one, two = _exactly(np.zeros(3), np.diag(a)), _exactly(np.array([0, 1.0, 0]), np.diag(b))
    assert frechet_distance(one, two) == pytest.approx(expected, rel=1e-9)


def test_commuting_covariances_through_a_rotation() -> None:
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))
    a, b = np.array([1.0, 2, 3, 4]), np.array([4.0, 3, 2, 1])
    one = _exactly(np.zeros(4), rotation @ np.diag(a) @ rotation.T)
    two = _exactly(np.zeros(4), rotation @ np.diag(b) @ rotation.T)
    assert frechet_distance(one, two) == pytest.approx(((np.sqrt(a) - np.sqrt(b)) ** 2).sum(), rel=1e-6)


def test_distance_is_that_of_pytorch_fid_on_numpy_statistics(features: np.ndarray) -> None:
    ensure_torchvision()
    from pytorch_fid.fid_score import calculate_frechet_distance

    other = features[:150] * 1.3 + 0.5
    moments = [(x.mean(0), np.cov(x, rowvar=False)) for x in (features, other)]
    expected = calculate_frechet_distance(*moments[0], *moments[1])
    assert frechet_distance(_of(features), _of(other)) == pytest.approx(expected, rel=1e-6)


def test_too_few_images_are_reported_with_both_numbers(features: np.ndarray) -> None:
    assert sample_size_warning(_of(features[:7]), _of(features)) is None
    warning = sample_size_warning(_of(features), _of(features[:6]))
    assert warning is not None and "6 images for 6 features" in warning
