"""Checkerboards are found at the frequencies of the up-sampler, and nowhere else."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from favae.config.evaluation import CheckerboardConfig, EvaluationConfig
from favae.evaluation.checkerboard import checkerboard, peaks_db
from favae.evaluation.evaluators import ReconstructionEvaluator
from favae.evaluation.spectrum import POWER_FLOOR


@pytest.fixture
def images() -> Tensor:
    """Eight smooth images in levels, [8,3,32,32]."""
    coarse = torch.rand(8, 3, 9, 9, generator=torch.Generator().manual_seed(0)) * 255
    return F.interpolate(coarse, size=(32, 32), mode="bicubic").clamp(0, 255)


def test_peaks_against_a_loop_over_frequencies(images: Tensor) -> None:
    power = (np.abs(np.fft.fft2(images.double().numpy(), norm="ortho")) ** 2).mean(1)
    lattice, around = np.zeros((2, 8))
    for v in (0, 8, 16, 24):
        for u in (0, 8, 16, 24):
            if v or u:
                lattice += power[:, v, u] / 15
                near = [(v + dv, u + du) for dv in (-1, 0, 1) for du in (-1, 0, 1) if dv or du]
                around += sum(power[:, y % 32, x % 32] for y, x in near) / 8 / 15
    expected = 10 * np.log10((lattice + POWER_FLOOR) / (around + POWER_FLOOR))
    np.testing.assert_allclose(peaks_db(images, 4), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("period", [2, 4])
def test_an_error_repeated_by_the_up_sampler_is_a_checkerboard(images: Tensor, period: int) -> None:
    tile = torch.randn(period, period, generator=torch.Generator().manual_seed(1))
    pattern = 6 * tile.repeat(32 // period, 32 // period)
    assert checkerboard(images, images + pattern, period).mean() > 3


def test_noise_and_blur_are_no_checkerboard(images: Tensor) -> None:
    noise = 6 * torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    assert abs(checkerboard(images, images + noise, 4).mean()) < 1.5
    blurred = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="reflect"), 3, stride=1)
    assert checkerboard(images, blurred, 4).mean() < 1.5


def test_a_perfect_reconstruction_has_none_more_than_its_original(images: Tensor) -> None:
    assert checkerboard(images, images, 4).abs().max() == 0


def test_a_pattern_ten_times_as_strong_as_everything_beside_it_is_ten_decibels() -> None:
    flat = torch.full((1, 1, 32, 32), 100.0)
    power = torch.zeros(32, 32)
    amplitude = 2 * math.sqrt(10 * POWER_FLOOR) / 32  # one cosine: power of two of the fifteen frequencies
    x = torch.arange(32)
    wave = amplitude * torch.cos(2 * math.pi * 8 * x / 32).expand(32, 32)
    power += wave
    expected = 10 * math.log10((2 * 10 * POWER_FLOOR / 15 + POWER_FLOOR) / POWER_FLOOR)
    assert checkerboard(flat, flat + power, 4).item() == pytest.approx(expected, rel=1e-3)


def test_sides_that_do_not_fit_are_refused_with_the_key_to_change() -> None:
    with pytest.raises(ValueError, match=r"period 4 got 30x32 images.*set checkerboard\.period"):
        peaks_db(torch.zeros(1, 3, 30, 32), 4)
    with pytest.raises(ValueError, match="16 or more"):
        peaks_db(torch.zeros(1, 3, 8, 8), 4)


def test_an_evaluation_reports_its_mean_and_its_period(images: Tensor) -> None:
    protocol = EvaluationConfig(metrics=("checkerboard",), checkerboard=CheckerboardConfig(period=2))
    evaluator = ReconstructionEvaluator(protocol)
    stored = images.round().to(torch.uint8)
    evaluator.update(stored, stored.flip(0).float() / 127.5 - 1)
    result = evaluator.result()["checkerboard_test"]
    expected = checkerboard(stored.float(), stored.flip(0).float(), 2).mean()
    assert result["value"] == pytest.approx(float(expected), abs=1e-5)
    assert result["protocol"]["checkerboard"] == {"period": 2}
