"""SL and DSL against a direct computation: 2-D depth-wise filters of both features, then the published FFL."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from focal_frequency_loss import FocalFrequencyLoss as PublishedFFL
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from favae.losses import (
    DynamicSpectrumLoss,
    FocalFrequencyLoss,
    SpectrumLoss,
    build_spectrum_loss,
    gaussian_blur,
    gaussian_kernel_1d,
)
from favae.runtime.torchvision import ensure_torchvision

SHAPES = [(2, 4, 16, 16), (2, 6, 8, 8), (2, 6, 8, 8), (2, 3, 8, 8)]


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make_pairs() -> list[tuple[Tensor, Tensor]]:
    return [
        (normal(*s, seed=i).requires_grad_(), normal(*s, seed=10 + i).requires_grad_()) for i, s in enumerate(SHAPES)
    ]


def natural_features(size: int, seed: int = 0) -> Tensor:
    """Random features [4, 8, size, size] with the 1/f amplitude of natural images and mean zero."""
    frequency = (torch.fft.fftfreq(size)[:, None] ** 2 + torch.fft.rfftfreq(size) ** 2).sqrt().double()
    frequency[0, 0] = torch.inf
    return torch.fft.irfft2(torch.fft.rfft2(normal(4, 8, size, size, seed=seed)) / frequency, s=(size, size))


def depthwise_blur(x_BCHW: Tensor, kernel_size: int, sigma: Tensor) -> Tensor:
    n = torch.arange(kernel_size, dtype=x_BCHW.dtype) - (kernel_size - 1) / 2
    g = torch.exp(-0.5 * (n / sigma) ** 2)
    kernel = torch.outer(g / g.sum(), g / g.sum()).expand(x_BCHW.shape[1], 1, -1, -1)
    padded = F.pad(x_BCHW, 4 * (kernel_size // 2,), mode="reflect")
    return F.conv2d(padded, kernel, groups=x_BCHW.shape[1])


def plain_loss(pairs: list[tuple[Tensor, Tensor]], kernel_size: int, sigmas: list[tuple[Tensor, Tensor]]) -> Tensor:
    ffl = PublishedFFL(loss_weight=0.01)
    terms = [
        ffl(depthwise_blur(c, kernel_size, sigma_c), depthwise_blur(a, kernel_size, sigma_a))
        for (a, c), (sigma_a, sigma_c) in zip(pairs, sigmas, strict=True)
    ]
    return torch.stack(terms).mean()


@pytest.mark.parametrize(("kernel_size", "sigma"), [(1, 3.0), (3, 3.0), (9, 3.0), (15, 0.7)])
def test_kernel_is_a_sampled_gaussian_with_sum_one(kernel_size: int, sigma: float) -> None:
    n = np.arange(kernel_size) - (kernel_size - 1) / 2
    expected = np.exp(-(n**2) / (2 * sigma**2))
    kernel = gaussian_kernel_1d(kernel_size, torch.tensor(sigma, dtype=torch.float64))
    np.testing.assert_allclose(kernel.numpy(), expected / expected.sum(), rtol=1e-12)


def test_kernel_of_three_at_sigma_three_is_nearly_a_box() -> None:
    """The reason why sigma has little effect in the ImageNet configurations (k = 3)."""
    kernel = gaussian_kernel_1d(3, torch.tensor(3.0))
    assert (kernel * 3 - 1).abs().max() < 0.04


@pytest.mark.parametrize("kernel_size", [3, 5, 9])
@pytest.mark.parametrize("size", [(16, 16), (8, 11)])
def test_blur_is_torchvision_s(kernel_size: int, size: tuple[int, int]) -> None:
    ensure_torchvision()
    from torchvision.transforms.functional import gaussian_blur as reference

    x = normal(2, 3, *size, seed=0)
    expected = reference(x, [kernel_size, kernel_size], [3.0, 3.0])
    torch.testing.assert_close(gaussian_blur(x, kernel_size, torch.tensor(3.0).double()), expected)


def test_blur_keeps_a_constant_up_to_the_largest_legal_kernel() -> None:
    x = torch.full((1, 2, 8, 8), 1.7, dtype=torch.float64)
    torch.testing.assert_close(gaussian_blur(x, 15, torch.tensor(3.0).double()), x)
    with pytest.raises(ValueError, match=r"kernel_size got 17 for a feature of 8x8.*at most 15"):
        gaussian_blur(x, 17, torch.tensor(3.0))


def test_blur_gradients_in_feature_and_sigma() -> None:
    x, sigma = normal(1, 2, 5, 6, seed=0).requires_grad_(), torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, sigma: gaussian_blur(x, 5, sigma), (x, sigma))


def test_blur_under_autocast_stays_in_single_precision() -> None:
    x = normal(1, 2, 8, 8, seed=0).float()
    with torch.autocast("cpu", torch.bfloat16):
        inside = gaussian_blur(x, 5, torch.tensor(3.0))
    assert torch.equal(inside, gaussian_blur(x, 5, torch.tensor(3.0)))


VARIANTS = {
    "pairwise": ({"sharing": "pairwise"}, [(0, 0), (1, 1), (2, 2), (3, 3)]),
    "official": ({"sharing": "pairwise", "sigma_index": "official"}, [(0, 3), (1, 2), (2, 1), (3, 0)]),
    "per_feature": ({"sharing": "per_feature"}, [(0, 7), (1, 6), (2, 5), (3, 4)]),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_dsl_value_and_every_gradient(variant: str) -> None:
    """Sigmas 0..3 are those of taps in encoder order, 4..7 those of complements in decoder order; all are distinct."""
    options, used = VARIANTS[variant]
    loss = DynamicSpectrumLoss(kernel_size=5, **options).double()
    sigmas = torch.tensor([0.8, 1.3, 2.0, 2.7, 0.9, 1.5, 2.2, 3.1], dtype=torch.float64)
    for part, parameter in zip(sigmas.split(4), loss.parameters(), strict=False):
        parameter.data.copy_(part)
    pairs = make_pairs()
    features = [feature for pair in pairs for feature in pair]
    value = loss(pairs)
    gradients = torch.autograd.grad(value, [*features, *loss.parameters()])

    sigmas.requires_grad_()
    expected = plain_loss(pairs, 5, [(sigmas[i], sigmas[j]) for i, j in used])
    torch.testing.assert_close(value, expected)
    *of_features, of_sigmas = torch.autograd.grad(expected, [*features, sigmas])
    for mine, theirs in zip(gradients, of_features, strict=False):
        torch.testing.assert_close(mine, theirs)
    mine = torch.cat(gradients[len(features) :])
    torch.testing.assert_close(mine, of_sigmas[: len(mine)])
    assert torch.equal(of_sigmas[len(mine) :], torch.zeros(8 - len(mine), dtype=torch.float64))


def test_official_indices_give_a_pair_the_sigmas_of_opposite_ends() -> None:
    """In the paper the sigmas of the pair; in the official code entries i and 3 - i."""
    for index, expected in (
        ("paper", [(0, 0), (1, 1), (2, 2), (3, 3)]),
        ("official", [(0, 3), (1, 2), (2, 1), (3, 0)]),
    ):
        loss = DynamicSpectrumLoss(sigma_index=index)
        loss.sigma_taps.data = torch.arange(4.0)
        assert [tuple(map(int, loss.pair_sigmas(i))) for i in range(4)] == expected


def test_sl_equals_dsl_with_fixed_sigmas() -> None:
    pairs = make_pairs()
    fixed = SpectrumLoss(kernel_size=5, sigma=2.0)
    assert not list(fixed.parameters())
    torch.testing.assert_close(fixed(pairs), DynamicSpectrumLoss(kernel_size=5, sigma=2.0)(pairs))


def test_ffl_on_features_has_no_filter() -> None:
    pairs = make_pairs()
    expected = torch.stack([PublishedFFL(loss_weight=0.01)(c, a) for a, c in pairs]).mean()
    torch.testing.assert_close(build_spectrum_loss("ffl")(pairs), expected)


def test_kind_none_is_zero_with_and_without_features() -> None:
    none = build_spectrum_loss("none")
    assert none(make_pairs()) == 0 and none([]) == 0


@pytest.mark.parametrize("kind", ["ffl", "sl", "dsl"])
def test_detached_taps_get_no_gradient_and_complements_the_same_one(kind: str) -> None:
    pairs = make_pairs()
    complements = [c for _, c in pairs]
    kernel = {} if kind == "ffl" else {"kernel_size": 5}
    both = torch.autograd.grad(build_spectrum_loss(kind, **kernel)(pairs), complements)
    still = build_spectrum_loss(kind, **kernel, detach_taps=True)(pairs)
    still.backward()
    assert all(a.grad is None for a, _ in pairs)
    for complement, expected in zip(complements, both, strict=True):
        torch.testing.assert_close(complement.grad, expected)


@pytest.mark.parametrize("kernel_size", [3, 5, 9, 15])
@pytest.mark.parametrize("size", [16, 32])
def test_on_natural_spectra_the_loss_decreases_with_sigma(kernel_size: int, size: int) -> None:
    """Sigma grows without limit: the gradient is negative everywhere, and the loss decreases towards that of a box filter."""
    difference = natural_features(size)
    values = []
    for start in (0.5, 1.0, 2.0, 3.0, 5.0, 20.0):
        sigma = torch.tensor(start, dtype=torch.float64, requires_grad=True)
        value = FocalFrequencyLoss()(gaussian_blur(difference, kernel_size, sigma), torch.zeros_like(difference))
        value.backward()
        assert sigma.grad is not None and sigma.grad < 0
        values.append(value.item())
    assert all(later < earlier for earlier, later in pairwise(values))


def test_bf16_features_are_compared_in_single_precision() -> None:
    pairs = [(a.detach().bfloat16(), c.detach().bfloat16()) for a, c in make_pairs()]
    loss = DynamicSpectrumLoss(kernel_size=5)
    value = loss(pairs)
    assert value.dtype == torch.float32
    assert torch.equal(value, loss([(a.float(), c.float()) for a, c in pairs]))


def test_the_loss_never_synchronises_the_device() -> None:
    with FakeTensorMode():
        loss = DynamicSpectrumLoss(kernel_size=5)
        loss([(torch.randn(s, requires_grad=True), torch.randn(s)) for s in SHAPES]).backward()
        assert loss.sigma_taps.grad is not None


def test_refused_configurations_name_the_error() -> None:
    pairs = make_pairs()
    with pytest.raises(ValueError, match="got 0 pairs"):
        SpectrumLoss()([])
    with pytest.raises(ValueError, match="pair 0 has shapes"):
        SpectrumLoss()([(pairs[0][0], pairs[1][1]), *pairs[1:]])
    for options, message in [
        ({"kind": "gaussian"}, "kind got 'gaussian'"),
        ({"kind": "sl", "kernel_size": 4}, "kernel_size got 4"),
        ({"kind": "dsl", "kernel_size": 0}, "kernel_size got 0"),
        ({"kind": "dsl", "sigma": 0.0}, "sigma got 0.0"),
        ({"kind": "dsl", "sharing": "all"}, "sharing got 'all'"),
        ({"kind": "dsl", "sigma_index": "code"}, "sigma_index got 'code'"),
        ({"kind": "dsl", "sharing": "per_feature", "sigma_index": "official"}, "needs sharing 'pairwise'"),
        ({"kind": "ffl", "weight": -1.0}, "weight got -1.0"),
        ({"kind": "ffl", "kernel_size": 3}, "kernel_size"),
        ({"kind": "none", "weight": 0.01}, "weight"),
    ]:
        with pytest.raises(ValueError, match=message):
            build_spectrum_loss(**options)
