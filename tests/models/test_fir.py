"""FIR resampling against scipy's upfirdn, a direct sum and bilinear interpolation; twice differentiable."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.signal import upfirdn

from favae.models.fir import Fir

TAPS = np.array([1.0, 3.0, 3.0, 1.0]) / 8


def image(height: int = 6, width: int = 10) -> torch.Tensor:
    return torch.randn(2, 3, height, width, dtype=torch.float64)


def filtered(x: torch.Tensor, up: int, down: int, before: int) -> np.ndarray:
    """scipy along both axes, zeros beyond the border; `before` of the full convolution's values are dropped."""
    out = x.numpy()
    for axis in (2, 3):
        size = out.shape[axis] * up // down
        full = upfirdn(TAPS * up, out, up, 1, axis=axis)
        out = np.take(full, before + down * np.arange(size), axis=axis)
    return out


def test_up_and_down_are_scipy_s_upfirdn() -> None:
    x = image()
    np.testing.assert_allclose(Fir("up").double()(x), filtered(x, 2, 1, before=1), atol=1e-12)
    np.testing.assert_allclose(Fir("down").double()(x), filtered(x, 1, 2, before=2), atol=1e-12)


def test_blur_is_a_direct_sum() -> None:
    x = image()
    padded = F.pad(x, (2, 2, 2, 2))
    expected = torch.zeros(2, 3, 7, 11, dtype=torch.float64)
    for i in range(4):
        for j in range(4):
            expected += float(TAPS[i] * TAPS[j]) * padded[:, :, i : i + 7, j : j + 11]
    torch.testing.assert_close(Fir("blur", padding=2).double()(x), expected)
    torch.testing.assert_close(Fir("blur", padding=2, gain=4.0).double()(x), 4 * expected)


def test_up_of_a_constant_is_that_constant_away_from_the_border_and_loses_a_quarter_at_it() -> None:
    y = Fir("up")(torch.ones(1, 1, 8, 8))[0, 0]
    assert y.shape == (16, 16) and torch.equal(y[1:-1, 1:-1], torch.ones(14, 14))
    assert y[0, 5] == 0.75 and y[5, -1] == 0.75 and y[0, 0] == 0.5625


def test_down_of_a_constant_loses_an_eighth_per_border() -> None:
    y = Fir("down")(torch.ones(1, 1, 8, 8))[0, 0]
    assert y.shape == (4, 4) and y[1, 1] == 1 and y[0, 1] == 0.875 and y[0, 0] == 0.875**2


def test_up_is_bilinear_interpolation_away_from_the_border() -> None:
    x = torch.randn(1, 2, 8, 8)
    bilinear = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(Fir("up")(x)[..., 2:-2, 2:-2], bilinear[..., 2:-2, 2:-2], atol=1e-6, rtol=0)


@pytest.mark.parametrize("resampling", ["up", "down", "blur"])
def test_the_filter_can_be_differentiated_twice(resampling: str) -> None:
    fir = Fir(resampling).double()  # type: ignore[arg-type]
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda t: fir(t).square(), x)


def test_the_kernel_moves_with_the_device_and_is_not_saved() -> None:
    assert not Fir("up").state_dict() and Fir("up").to("meta").kernel.device.type == "meta"


def test_impossible_filters_are_refused() -> None:
    with pytest.raises(ValueError, match="resampling 'left'; expected one of up, down, blur"):
        Fir("left")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="padding -1"):
        Fir("blur", padding=-1)


@pytest.mark.parametrize("size", [(6, 10), (8, 8)], ids=str)
@pytest.mark.parametrize("arguments", [("up",), ("down",), ("blur",), ("blur", 2), ("blur", 1, 4.0)], ids=str)
def test_sums_of_shifted_images_are_the_convolution(arguments: tuple, size: tuple[int, int]) -> None:
    """The way of a GPU, with its gradient and the gradient of that."""
    fir, x = Fir(*arguments).double(), image(*size).requires_grad_()
    expected, found = fir(x), fir.by_sums(x)
    torch.testing.assert_close(found, expected)
    upstream = torch.randn_like(expected)
    firsts = [torch.autograd.grad((y * upstream).square().sum(), x, create_graph=True)[0] for y in (expected, found)]
    torch.testing.assert_close(firsts[1], firsts[0])
    seconds = [torch.autograd.grad(first.square().sum(), x)[0] for first in firsts]
    torch.testing.assert_close(seconds[1], seconds[0])
