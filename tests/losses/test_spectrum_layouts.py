"""The fast spectrum loss against the official computation (2-D depth-wise blur, two-sided spectra), for all sizes,
types and strides."""

import pytest
import torch
from torch import Tensor

from favae.bench.official import OfficialSpectrumLoss
from favae.losses import DynamicSpectrumLoss

LAYOUTS = ("contiguous", "channels_last", "transposed", "sliced")


def features(height: int, width: int, layout: str, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    flat = [torch.randn(2, 3, height, width, generator=generator, dtype=torch.float64) for _ in range(8)]
    laid = [_laid_out(x.to(dtype), layout).requires_grad_() for x in flat]
    return list(zip(laid[::2], laid[1::2], strict=True))


def _laid_out(x: Tensor, layout: str) -> Tensor:
    if layout == "channels_last":
        return x.contiguous(memory_format=torch.channels_last)
    if layout == "transposed":
        return x.transpose(2, 3).contiguous().transpose(2, 3)
    if layout == "sliced":
        return torch.cat([x, x], dim=3)[..., : x.shape[3]]
    return x


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("height", "width"), [(16, 16), (9, 12), (7, 15)])
def test_value_and_every_gradient_are_those_of_the_official_computation(height: int, width: int, layout: str) -> None:
    pairs = features(height, width, layout, torch.float64)
    flat = [x for pair in pairs for x in pair]
    ours, official = DynamicSpectrumLoss(kernel_size=9).double(), OfficialSpectrumLoss(kernel_size=9).double()
    got = torch.autograd.grad(ours(pairs), [*flat, ours.sigma_taps])
    expected = torch.autograd.grad(official(pairs), [*flat, official.sigmas])
    torch.testing.assert_close(ours(pairs), official(pairs), rtol=1e-10, atol=0)
    for mine, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sixteen_bit_features_are_compared_in_single_precision(layout: str) -> None:
    """FFTs do not support bf16: the loss of bf16 features is that of the same numbers in fp32, its gradient rounded once."""
    pairs = features(9, 12, layout, torch.bfloat16)
    flat = [x for pair in pairs for x in pair]
    single = [tuple(x.detach().float().requires_grad_() for x in pair) for pair in pairs]
    loss = DynamicSpectrumLoss(kernel_size=5)
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(pairs)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(single), rtol=1e-6, atol=0)
    expected = torch.autograd.grad(loss(single), [x for pair in single for x in pair])
    for mine, theirs in zip(torch.autograd.grad(value, flat), expected, strict=True):
        assert mine.dtype == torch.bfloat16
        torch.testing.assert_close(mine.float(), theirs, rtol=1e-2, atol=1e-8)
