"""Intervals agree with closed forms and SciPy, and cover what they promise."""

import math

import numpy as np
import pytest
from scipy import stats

from favae.reporting.intervals import (
    Interval,
    difference_over_images,
    difference_over_seeds,
    mean_over_images,
    mean_over_seeds,
    seeds_to_decide,
)

OURS, THEIRS = [12.0, 12.4, 12.1], [11.2, 11.9, 11.3, 11.0]


def ends(interval: Interval) -> list[float]:
    return [interval.low, interval.high]


def test_the_mean_of_two_seeds_has_the_closed_form_of_one_degree_of_freedom() -> None:
    # Student's t with one degree of freedom is Cauchy's distribution: its quantile is a tangent.
    half = math.tan(math.pi * (0.975 - 0.5)) * abs(3.0 - 1.0) / 2
    assert ends(mean_over_seeds([1.0, 3.0])) == pytest.approx([2 - half, 2 + half])


def test_the_mean_over_seeds_is_scipys_interval() -> None:
    expected = stats.ttest_1samp(THEIRS, 0).confidence_interval(0.9)
    assert ends(mean_over_seeds(THEIRS, 0.9)) == pytest.approx([expected.low, expected.high])
    assert mean_over_seeds(THEIRS).over == "seeds"


def test_the_difference_over_seeds_is_scipys_welch_interval() -> None:
    expected = stats.ttest_ind(OURS, THEIRS, equal_var=False).confidence_interval()
    assert ends(difference_over_seeds(OURS, THEIRS)) == pytest.approx([expected.low, expected.high])


def test_without_spread_the_interval_is_a_point() -> None:
    assert ends(difference_over_seeds([2.0, 2.0], [1.0, 1.0])) == [1.0, 1.0]


@pytest.mark.parametrize(
    ("gain", "spread", "other"),
    [(1.0, 0.5, 0.5), (0.1, 0.5, 0.5), (2.0, 1.0, 1.0), (0.0436, 0.0229, 0.0151), (1.0, 0.9, 0.0)],
)
def test_so_many_seeds_decide_and_one_less_does_not(gain: float, spread: float, other: float) -> None:
    pair = np.array([-1.0, 1.0]) / math.sqrt(2)  # sample standard deviation 1
    needed = seeds_to_decide(gain + spread * pair, other * pair)
    assert needed is not None

    def decided(n: int) -> bool:
        summary = stats.ttest_ind_from_stats(gain, spread, n, 0.0, other, n, equal_var=False)
        return bool(summary.pvalue < 0.05)

    assert decided(needed)
    assert needed == 2 or not decided(needed - 1)


def test_no_number_of_seeds_decides_between_equal_means() -> None:
    assert seeds_to_decide([1.0, 2.0], [1.0, 2.0]) is None


def test_the_bootstrap_is_scipys_percentile_method_up_to_its_own_noise() -> None:
    values = np.random.default_rng(1).gamma(2.0, 3.0, 200)
    expected = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=2).confidence_interval
    noise = 0.08 * values.std() / math.sqrt(len(values))  # of a quantile of 2,000 means
    assert ends(mean_over_images(values, resamples=20_000)) == pytest.approx([expected.low, expected.high], abs=noise)


def test_the_bootstrap_of_many_values_is_the_normal_interval() -> None:
    values = np.random.default_rng(3).normal(5.0, 2.0, 4_000)
    half = 1.959964 * values.std() / math.sqrt(len(values))
    assert ends(mean_over_images(values)) == pytest.approx(
        [values.mean() - half, values.mean() + half], abs=0.08 * half
    )


def test_the_bootstrap_of_two_values_draws_from_three_means() -> None:
    interval = mean_over_images([0.0, 1.0])
    assert (interval.estimate, interval.low, interval.high) == (0.5, 0.0, 1.0)


def test_pairs_take_out_what_the_images_have_in_common() -> None:
    random = np.random.default_rng(4)
    image = random.normal(0, 10, 500)
    ours, theirs = image + random.normal(0.2, 0.5, 500), image + random.normal(0, 0.5, 500)
    paired = difference_over_images(ours, theirs)
    assert not paired.contains(0)
    assert paired.high - paired.low < 0.2 * (mean_over_images(ours).high - mean_over_images(ours).low)


def test_the_same_seed_gives_the_same_interval_however_much_is_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(5).normal(size=50)
    whole = mean_over_images(values, resamples=101)
    monkeypatch.setattr("favae.reporting.intervals._AT_ONCE", 500)
    assert mean_over_images(values, resamples=101) == whole
    assert mean_over_images(values, resamples=101, seed=1) != whole


def test_nineteen_of_twenty_intervals_hold_the_true_mean() -> None:
    random = np.random.default_rng(6)
    held = [mean_over_images(random.exponential(1.0, 100), resamples=500).contains(1.0) for _ in range(300)]
    assert 0.89 < np.mean(held) < 0.98  # binomial noise, and the known shortness of the percentile method
    held = [difference_over_seeds(random.normal(1, 1, 3), random.normal(0, 2, 4)).contains(1.0) for _ in range(300)]
    assert 0.91 < np.mean(held) < 0.99


@pytest.mark.parametrize("values", [[1.0], [], [1.0, math.nan], [[1.0, 2.0]]])
def test_what_has_no_spread_is_refused(values: list[float]) -> None:
    for interval in (mean_over_seeds, mean_over_images):
        with pytest.raises(ValueError, match="at least two finite values"):
            interval(values)


def test_other_numbers_of_images_are_not_paired() -> None:
    with pytest.raises(ValueError, match="3 images cannot be paired with 4"):
        difference_over_images(OURS, THEIRS)
