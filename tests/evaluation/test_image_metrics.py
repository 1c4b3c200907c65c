"""Image metrics against NumPy, scikit-image and closed forms."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from favae.config.evaluation import EvaluationConfig, SsimMetricConfig
from favae.evaluation.image_metrics import (
    CodebookCounts,
    l1,
    lfd,
    mse,
    output_levels,
    pixel_metrics,
    psnr,
    ssim,
    stored_levels,
)


@pytest.fixture
def levels(pairs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return stored_levels(pairs[0]), output_levels(pairs[1], "uint8")


def test_stored_image_survives_the_network_scale() -> None:
    every_level = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(output_levels(every_level.float() / 127.5 - 1, "uint8"), stored_levels(every_level))


def test_output_is_clamped_then_rounded() -> None:
    x = torch.tensor([-3.0, -1.0, 0.2 / 127.5, 0.7 / 127.5, 1.0, 7.0]).reshape(1, 1, 1, 6)
    assert output_levels(x, "uint8").flatten().tolist() == [0, 0, 128, 128, 255, 255]
    torch.testing.assert_close(output_levels(x, "none").flatten(), torch.tensor([0, 0, 127.7, 128.2, 255, 255]))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(1, 1, 2, 2, dtype=torch.uint8), "floating point"),
        (torch.full((1, 1, 2, 2), math.nan), "NaN"),
        (torch.full((1, 1, 2, 2), math.inf), "infinity"),
    ],
)
def test_outputs_that_cannot_be_measured_are_refused(image: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        output_levels(image, "uint8")


def test_scaled_originals_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        stored_levels(torch.rand(1, 3, 8, 8))


def test_l1_and_mse_are_those_of_images_in_minus_one_to_one(levels: tuple[Tensor, Tensor]) -> None:
    a, b = (x.double().numpy() / 127.5 - 1 for x in levels)
    np.testing.assert_allclose(l1(*levels), np.abs(a - b).mean((1, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(mse(*levels), ((a - b) ** 2).mean((1, 2, 3)), rtol=1e-12)


def test_psnr_is_that_of_scikit_image(levels: tuple[Tensor, Tensor]) -> None:
    expected = [peak_signal_noise_ratio(a.numpy(), b.numpy(), data_range=255) for a, b in zip(*levels)]
    np.testing.assert_allclose(psnr(*levels), expected, rtol=1e-7)  # torchmetrics takes ln 255 in single precision
    assert psnr(levels[0], levels[0]).tolist() == [math.inf] * len(levels[0])


def test_ssim_is_that_of_scikit_image_with_the_paper_window(levels: tuple[Tensor, Tensor]) -> None:
    expected = [
        structural_similarity(
            a.double().numpy(),
            b.double().numpy(),
            channel_axis=0,
            data_range=255,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for a, b in zip(*levels)
    ]
    np.testing.assert_allclose(ssim(*levels, SsimMetricConfig()), expected, atol=2e-5)


def test_ssim_border_changes_only_which_pixels_are_averaged(levels: tuple[Tensor, Tensor]) -> None:
    reflect = ssim(*levels, SsimMetricConfig(border="reflect"))
    assert (reflect - ssim(*levels, SsimMetricConfig())).abs().max() > 1e-4
    torch.testing.assert_close(ssim(levels[0], levels[0], SsimMetricConfig(border="reflect")), torch.ones(12).double())


def test_ssim_window_larger_than_the_image_is_refused() -> None:
    small = torch.zeros(1, 3, 10, 16)
    with pytest.raises(ValueError, match=r"11x11.*10x16"):
        ssim(small, small, SsimMetricConfig())


def test_lfd_is_the_unnormalised_spectral_distance(levels: tuple[Tensor, Tensor]) -> None:
    a, b = (np.fft.fft2(x.double().numpy()) for x in levels)
    expected = np.log((np.abs(a - b) ** 2).mean((1, 2, 3)) + 1)
    np.testing.assert_allclose(lfd(mse(*levels), 32, 32), expected, rtol=1e-12)


def test_lfd_agrees_with_the_published_pairs_of_psnr_and_lfd() -> None:
    published = {(64, 20.044): 14.785, (64, 22.954): 14.115, (256, 21.310): 17.266, (256, 22.253): 17.049}
    for (size, decibel), expected in published.items():
        mse_1 = torch.tensor([4 * 10 ** (-decibel / 10)], dtype=torch.float64)
        assert lfd(mse_1, size, size).item() == pytest.approx(expected, abs=6e-4)


def test_only_the_chosen_metrics_are_computed(levels: tuple[Tensor, Tensor]) -> None:
    assert set(pixel_metrics(*levels, EvaluationConfig(metrics=("psnr", "frechet")))) == {"psnr"}


@pytest.mark.parametrize("used", [1, 3, 8])
def test_perplexity_of_equally_used_codes_is_their_number(used: int) -> None:
    counts = CodebookCounts(8)
    counts.update(torch.arange(used).repeat(4).reshape(2, -1))
    assert counts.perplexity == pytest.approx(used)
    assert counts.usage == used / 8


def test_perplexity_of_a_skewed_codebook_over_two_batches() -> None:
    counts = CodebookCounts(4)
    counts.update(torch.tensor([[0, 0], [0, 1]]))
    counts.update(torch.tensor([[0, 0], [3, 1]]))
    p = np.array([5, 2, 1]) / 8
    assert counts.perplexity == pytest.approx(np.exp(-(p * np.log(p)).sum()))
    assert counts.usage == 0.75


def test_index_beyond_the_codebook_is_refused() -> None:
    with pytest.raises(ValueError, match="code index 4 with a codebook of 4"):
        CodebookCounts(4).update(torch.tensor([4]))


def test_raw_outputs_are_neither_clamped_nor_rounded() -> None:
    output = torch.tensor([-1.2, -1.0, 0.001, 1.0, 1.5]).view(1, 1, 1, 5)
    assert output_levels(output, "raw").flatten().tolist() == pytest.approx([-25.5, 0.0, 127.6275, 255.0, 318.75])
    assert output_levels(output, "none").flatten().tolist() == pytest.approx([0.0, 0.0, 127.6275, 255.0, 255.0])
