"""Ablations of the focal frequency loss, and the losses that its paper compares, against explicit sums."""

import math

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from torch import Tensor

from favae.losses import FocalFrequencyLoss, FocalVariantLoss, SpectralRegularization, build_term
from favae.losses.focal_variants import dct_matrix


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(2, 3, 8, 10, generator=generator) * 2 - 1
    return 0.7 * target + 0.2 * torch.randn(target.shape, generator=generator), target


def focal(distance: np.ndarray, alpha: float) -> float:
    weights = distance**alpha
    return float((weights / weights.max((-2, -1), keepdims=True) * distance**2).mean())


def distances(pair: tuple[Tensor, Tensor]) -> dict[str, np.ndarray]:
    a, b = (x.double().numpy() for x in pair)
    f, g = np.fft.fft2(a, norm="ortho"), np.fft.fft2(b, norm="ortho")
    return {
        "without_frequency": np.abs(a - b),
        "without_phase": np.abs(np.abs(f) - np.abs(g)),
        "without_amplitude": 2 * np.abs(np.sin((np.angle(f) - np.angle(g)) / 2)),
        "dct": np.abs(dctn(a - b, axes=(-2, -1), norm="ortho")),
    }


@pytest.mark.parametrize("alpha", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("representation", ["without_frequency", "without_phase", "without_amplitude", "dct"])
def test_values_are_those_of_explicit_sums(pair: tuple[Tensor, Tensor], representation: str, alpha: float) -> None:
    expected = 3 * focal(distances(pair)[representation], alpha)
    assert FocalVariantLoss(representation, 3.0, alpha)(*pair).item() == pytest.approx(expected, rel=1e-4)


def test_weights_are_constant_to_the_gradient(pair: tuple[Tensor, Tensor]) -> None:
    pred = pair[0].requires_grad_()
    (gradient,) = torch.autograd.grad(FocalVariantLoss("without_frequency", 1.0, 1.0)(pred, pair[1]), pred)
    difference = (pred - pair[1]).detach()
    weights = difference.abs() / difference.abs().amax((-2, -1), keepdim=True)
    torch.testing.assert_close(gradient, 2 * weights * difference / difference.numel())


def test_each_representation_ignores_its_part_of_an_error(pair: tuple[Tensor, Tensor]) -> None:
    _, target = pair
    moved = target.roll(3, -1)  # amplitudes of a circular shift are the same
    assert FocalVariantLoss("without_phase", 1.0, 1.0)(moved, target).item() == pytest.approx(0, abs=1e-10)
    assert FocalVariantLoss("without_amplitude", 1.0, 1.0)(moved, target).item() > 0.1
    louder = 2 * target  # phases of a scaled image are the same
    assert FocalVariantLoss("without_amplitude", 1.0, 1.0)(louder, target).item() == pytest.approx(0, abs=1e-9)
    assert FocalVariantLoss("without_phase", 1.0, 1.0)(louder, target).item() > 0.1


def test_every_orthonormal_transform_without_focal_weights_is_the_mean_squared_error(
    pair: tuple[Tensor, Tensor],
) -> None:
    mse = (pair[0] - pair[1]).square().mean().item()
    assert FocalVariantLoss("dct", 1.0, 0.0)(*pair).item() == pytest.approx(mse, rel=1e-5)
    assert FocalVariantLoss("without_frequency", 1.0, 0.0)(*pair).item() == pytest.approx(mse, rel=1e-5)
    assert FocalFrequencyLoss(alpha=0.0)(*pair).item() == pytest.approx(mse, rel=1e-5)
    identity = dct_matrix(7) @ dct_matrix(7).T
    torch.testing.assert_close(identity, torch.eye(7, dtype=torch.float64))


def test_terms_lead_to_the_loss_that_their_parameters_name(pair: tuple[Tensor, Tensor]) -> None:
    given = {"weight": 2.0, "alpha": 1.0, "patch_factor": 2, "representation": "full", "spectra": "image"}
    found = build_term("ffl", data_range=2.0, **given)(*pair)
    assert found.item() == FocalFrequencyLoss(2.0, patch_factor=2)(*pair).item()
    dct = build_term("ffl", data_range=2.0, **given | {"patch_factor": 1, "representation": "dct"})(*pair)
    assert dct.item() == FocalVariantLoss("dct", 2.0, 1.0)(*pair).item()
    average = build_term("ffl", data_range=2.0, **given | {"patch_factor": 1, "spectra": "batch_mean"})(*pair)
    assert average.item() == FocalFrequencyLoss(2.0, ave_spectrum=True)(*pair).item()


def test_profile_is_the_mean_power_of_each_radius_relative_to_radius_zero(pair: tuple[Tensor, Tensor]) -> None:
    grey = ((pair[1].double() + 1) / 2).mean(1).numpy()
    power = np.abs(np.fft.fft2(grey)) ** 2
    y, x = np.fft.fftfreq(8) * 8, np.fft.fftfreq(10) * 10
    radius = np.rint(np.hypot(y[:, None], x[None, :]))
    expected = np.stack([power[:, radius == r].mean(1) / power[:, 0, 0] for r in range(1, 5)], axis=1)
    np.testing.assert_allclose(SpectralRegularization().profile(pair[1]), expected, rtol=1e-4)


def test_cross_entropy_of_profiles_is_least_where_they_agree(pair: tuple[Tensor, Tensor]) -> None:
    loss = SpectralRegularization(0.5)
    p, q = (loss.profile(x).double() for x in pair)
    expected = -0.5 * (q * p.log() + (1 - q) * (1 - p).log()).mean().item()
    assert loss(*pair).item() == pytest.approx(expected, rel=1e-5)
    pred = pair[1].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(pred, pair[1]), pred)
    assert gradient.abs().max() < 1e-4
    assert loss(*pair) > loss(pair[1], pair[1])


def test_tensors_that_cannot_be_compared_are_refused(pair: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(ValueError, match="expected one of"):
        FocalVariantLoss("full", 1.0, 1.0)
    for loss in (FocalVariantLoss("dct", 1.0, 1.0), SpectralRegularization()):
        with pytest.raises(ValueError, match="expected the same"):
            loss(pair[0], pair[1][:1])
    flat = torch.zeros(1, 3, 8, 8)
    assert math.isfinite(SpectralRegularization()(flat - 1, flat).item())
