"""The short-time Fourier loss against explicit sums over windows and frequencies, and the form of the released code."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from favae.losses import STFTLoss
from favae.losses.stft import hann_window

SIZE, WINDOW, STRIDE = 28, 16, 4
CORNERS = [(i, j) for i in range(0, 13, STRIDE) for j in range(0, 13, STRIDE)]  # 4x4 windows


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = (torch.rand(2, 1, SIZE, SIZE, generator=generator) > 0.7).double()
    return (0.8 * target + 0.2 * torch.rand(target.shape, generator=generator)).float(), target.float()


def distance(pred: np.ndarray, target: np.ndarray, weights: np.ndarray, amplitude: float, phase: float) -> float:
    """Of two arrays of spectra, by the paper's formula; the phase as the official code takes it."""
    phases = [np.arctan2(s.imag + 0.0, s.real + 1e-6) for s in (pred, target)]
    by_phase, by_amplitude = np.abs(phases[0] - phases[1]), np.abs(np.abs(pred) - np.abs(target))
    return float(((phase * by_phase + amplitude * by_amplitude) * weights).sum())


def windows(image: Tensor) -> list[np.ndarray]:
    return [image[0, i : i + WINDOW, j : j + WINDOW].double().numpy() for i, j in CORNERS]


def test_paper_form_is_the_full_two_dimensional_transform_under_a_hann_window(pair: tuple[Tensor, Tensor]) -> None:
    n = np.arange(WINDOW)
    hann = np.outer(1 - np.cos(2 * math.pi * n / WINDOW), 1 - np.cos(2 * math.pi * n / WINDOW)) / 4
    frequency = np.abs(np.fft.fftfreq(WINDOW))
    radius = np.sqrt(frequency[:, None] ** 2 + frequency[None, :] ** 2)
    expected = np.mean(
        [
            sum(
                distance(np.fft.fft2(a * hann), np.fft.fft2(b * hann), radius / radius.max(), 0.1, 0.9)
                for a, b in zip(windows(x), windows(y), strict=True)
            )
            for x, y in zip(*pair, strict=True)
        ]
    )
    # Real bins have phase 0 or pi, and rounding may turn pi into -pi; there are few such bins.
    assert STFTLoss(2.0)(*pair).item() == pytest.approx(2 * expected, rel=0.02)
    assert STFTLoss(2.0, amplitude=1.0, phase=0.0)(*pair).item() == pytest.approx(
        2
        * np.mean(
            [
                sum(
                    distance(np.fft.fft2(a * hann), np.fft.fft2(b * hann), radius / radius.max(), 1, 0)
                    for a, b in zip(windows(x), windows(y), strict=True)
                )
                for x, y in zip(*pair, strict=True)
            ]
        ),
        rel=1e-5,
    )


def test_stride_four_gives_four_by_four_windows_of_sixteen_pixels() -> None:
    assert STFTLoss().spectrum(torch.zeros(2, 1, SIZE, SIZE)).shape == (2, 1, 4, 4, 16, 9)


def test_official_form_is_a_row_transform_of_the_upper_half_without_window(pair: tuple[Tensor, Tensor]) -> None:
    ramp = np.linspace(0, 1, WINDOW // 2)

    def released(window: np.ndarray) -> np.ndarray:
        return np.fft.fft(window, axis=1)[: WINDOW // 2, : WINDOW // 2]

    expected = np.mean(
        [
            sum(
                distance(released(a), released(b), np.outer(ramp, ramp), 1, 0)
                for a, b in zip(windows(x), windows(y), strict=True)
            )
            for x, y in zip(*pair, strict=True)
        ]
    )
    assert STFTLoss(1.0, 1.0, 0.0, form="official")(*pair).item() == pytest.approx(expected, rel=1e-5)


def test_the_official_form_ignores_errors_that_the_paper_form_measures(pair: tuple[Tensor, Tensor]) -> None:
    """Lower halves of all windows: only they contain the last 8 rows. First row of the image: its weight is 0, or it is
    not used."""
    _, target = pair
    below = target.clone()
    below[..., 20:, :] = 1 - below[..., 20:, :]
    assert STFTLoss(form="official")(below, target).item() == 0
    assert STFTLoss()(below, target).item() > 1
    # A change of a row's brightness is at frequency 0, which the outer product weights with 0.
    brighter = target.clone()
    brighter[..., 9, :] += 0.5
    assert STFTLoss(1.0, 1.0, 0.0, form="official")(brighter, target).item() == pytest.approx(0, abs=1e-2)
    assert STFTLoss(1.0, 1.0, 0.0)(brighter, target).item() > 1


@pytest.mark.parametrize("form", ["paper", "official"])
def test_gradient_is_that_of_finite_differences(pair: tuple[Tensor, Tensor], form: str) -> None:
    loss = STFTLoss(1.0, form=form).double()  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(1)
    pred = torch.rand(1, 1, SIZE, SIZE, generator=generator, dtype=torch.float64)
    target = torch.rand(pred.shape, generator=generator, dtype=torch.float64)
    direction = torch.randn(pred.shape, generator=generator, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(loss(pred.requires_grad_(), target), pred)
    step = 1e-7
    with torch.no_grad():
        slope = (loss(pred + step * direction, target) - loss(pred - step * direction, target)) / (2 * step)
    assert (gradient * direction).sum().item() == pytest.approx(slope.item(), rel=1e-4)


@pytest.mark.parametrize("size", [(28, 28), (20, 31)])
def test_spectra_are_those_of_cut_windows(size: tuple[int, int]) -> None:
    image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    cut = image.unfold(-2, WINDOW, STRIDE).unfold(-2, WINDOW, STRIDE)
    hann = torch.hann_window(WINDOW)
    torch.testing.assert_close(STFTLoss().spectrum(image), torch.fft.rfft2(cut * torch.outer(hann, hann)))
    upper_half = torch.fft.fft(cut[..., : WINDOW // 2, :])[..., : WINDOW // 2]
    torch.testing.assert_close(STFTLoss(form="official").spectrum(image), upper_half)


def test_a_spectrum_that_is_real_by_symmetry_has_no_imaginary_part(pair: tuple[Tensor, Tensor]) -> None:
    """Otherwise rounding would select between the phases pi and -pi."""
    corners = STFTLoss().spectrum(pair[0])[..., [0, 0, 8, 8], [0, 8, 0, 8]]
    assert (corners.imag == 0).all()
    assert (corners.real != 0).any()


def test_equal_images_have_no_loss_and_empty_windows_finite_gradients() -> None:
    target = torch.zeros(1, 1, SIZE, SIZE)
    pred = torch.zeros_like(target).requires_grad_()
    loss = STFTLoss()(pred, target)
    loss.backward()
    assert loss.item() == 0
    assert pred.grad is not None
    assert torch.isfinite(pred.grad).all()
    assert STFTLoss()(pred.detach(), target + 0.1).isfinite()


def test_hann_window_is_that_of_torch() -> None:
    torch.testing.assert_close(hann_window(WINDOW), torch.hann_window(WINDOW, periodic=True, dtype=torch.float64))


def test_a_window_of_the_images_size_without_taper_is_the_global_transform(pair: tuple[Tensor, Tensor]) -> None:
    image = pair[0].double()
    spectrum = STFTLoss(window=SIZE, stride=SIZE, taper="none").double().spectrum(image)
    assert spectrum.shape == (2, 1, 1, 1, 28, 15)
    torch.testing.assert_close(spectrum[:, :, 0, 0], torch.fft.rfft2(image), atol=1e-5, rtol=1.3e-6)


def test_tensors_that_cannot_be_compared_are_refused(pair: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(ValueError, match="form got 'printed'"):
        STFTLoss(form="printed")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 16 pixels"):
        STFTLoss()(pair[0][..., :12], pair[1][..., :12])
