"""Focal frequency loss against its authors' package, NumPy, and consequences of Parseval's theorem."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from focal_frequency_loss import FocalFrequencyLoss as PublishedFFL
from PIL import Image
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from favae.losses import FocalFrequencyLoss, frequency

SHAPES = [(2, 3, 8, 8), (2, 3, 8, 9), (1, 2, 7, 8), (3, 1, 5, 7), (2, 2, 1, 6), (2, 2, 6, 1), (1, 1, 2, 2)]
OPTIONS = [
    {},
    {"alpha": 0.5},
    {"alpha": 2.0},
    {"alpha": 0.0},
    {"loss_weight": 100.0},
    {"log_matrix": True},
    {"batch_matrix": True},
    {"ave_spectrum": True},
    {"patch_factor": 2},
    {"patch_factor": 2, "alpha": 0.5, "ave_spectrum": True, "log_matrix": True, "batch_matrix": True},
]


def images(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def value_and_gradients(loss: torch.nn.Module, pred: Tensor, target: Tensor, *matrix: Tensor) -> tuple[Tensor, ...]:
    pred, target = pred.detach().requires_grad_(), target.detach().requires_grad_()
    value = loss(pred, target, *matrix)
    return value.detach(), *torch.autograd.grad(value, (pred, target))


def assert_as_published(pred: Tensor, target: Tensor, *matrix: Tensor, rtol: float = 1e-10, **options: object) -> None:
    mine = {"weight" if name == "loss_weight" else name: value for name, value in options.items()}
    ours = value_and_gradients(FocalFrequencyLoss(**mine), pred, target, *matrix)
    published = value_and_gradients(PublishedFFL(**options), pred, target, *matrix)
    for mine, theirs in zip(ours, published, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=rtol, atol=rtol * float(theirs.abs().max()))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_value_and_gradients_are_the_published_package_s_at_any_size(shape: tuple[int, ...]) -> None:
    assert_as_published(images(*shape), images(*shape, seed=1))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_value_and_gradients_are_the_published_package_s_for_every_option(options: dict[str, object]) -> None:
    assert_as_published(images(4, 3, 8, 12), images(4, 3, 8, 12, seed=1), **options)


def test_value_and_gradients_are_the_published_package_s_in_single_precision() -> None:
    pred, target = images(2, 3, 32, 32, dtype=torch.float32), images(2, 3, 32, 32, seed=1, dtype=torch.float32)
    assert_as_published(pred, target, rtol=1e-5)


@pytest.mark.parametrize("width", [8, 9])
def test_given_weights_need_not_be_symmetric(width: int) -> None:
    """The package weights the full spectrum; on the half spectrum, weight and mirrored weight must both have an effect."""
    matrix = images(2, 1, 3, 6, width, seed=2).sigmoid()
    assert_as_published(images(2, 3, 6, width), images(2, 3, 6, width, seed=1), matrix)


@pytest.mark.parametrize("block", [1, 100, 10**9])
@pytest.mark.parametrize("options", [{}, {"batch_matrix": True}], ids=str)
def test_the_number_of_planes_processed_together_does_not_matter(
    block: int, options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frequency, "_CPU_BLOCK", block)
    assert_as_published(images(3, 5, 6, 7), images(3, 5, 6, 7, seed=1), **options)


@pytest.mark.parametrize("layout", ["channels_last", "transposed", "sliced"])
def test_memory_layout_does_not_matter(layout: str) -> None:
    x = images(2, 4, 8, 8)
    strided = {
        "channels_last": x.to(memory_format=torch.channels_last),
        "transposed": x.transpose(2, 3).contiguous().transpose(2, 3),
        "sliced": torch.cat([x, x], dim=3)[..., :8],
    }[layout]
    target = images(2, 4, 8, 8, seed=1)
    for options in ({}, {"patch_factor": 2}):
        torch.testing.assert_close(
            value_and_gradients(FocalFrequencyLoss(**options), strided, target),
            value_and_gradients(FocalFrequencyLoss(**options), x, target),
        )


@pytest.mark.parametrize(
    "options", [{}, {"alpha": 2.0}, {"alpha": 0.5, "log_matrix": True, "batch_matrix": True}], ids=str
)
@pytest.mark.parametrize("shape", [(4, 8, 12), (3, 7, 9)], ids=str)
def test_the_computation_for_gpus_gives_the_same_sum_and_gradient(
    shape: tuple[int, ...], options: dict[str, Any]
) -> None:
    """By Parseval's theorem, and from amplitudes instead of powers. (On a GPU: tests/training/test_gpu.py.)"""
    diff, loss = images(*shape), FocalFrequencyLoss(**options)
    value, gradient, _ = value_and_gradients(loss, diff[None], torch.zeros_like(diff)[None])
    total, weighted = frequency._at_once(diff, None, loss._weighting)
    torch.testing.assert_close(total / diff.numel(), value)
    torch.testing.assert_close(weighted * 2 / diff.numel(), gradient[0])


def test_sixteen_bit_inputs_are_compared_in_single_precision() -> None:
    pred, target = images(2, 3, 8, 8).bfloat16(), images(2, 3, 8, 8, seed=1).bfloat16()
    half, single = FocalFrequencyLoss()(pred, target), FocalFrequencyLoss()(pred.float(), target.float())
    assert half.dtype == torch.float32
    assert torch.equal(half, single)


def test_equations_8_to_10_in_numpy() -> None:
    pred, target = images(2, 3, 6, 10), images(2, 3, 6, 10, seed=1)
    difference = np.fft.fft2(pred.numpy()) / np.sqrt(60) - np.fft.fft2(target.numpy()) / np.sqrt(60)
    weight = np.abs(difference) / np.abs(difference).max(axis=(2, 3), keepdims=True)
    expected = np.mean(weight * np.abs(difference) ** 2)
    value, gradient, _ = value_and_gradients(FocalFrequencyLoss(), pred, target)
    np.testing.assert_allclose(value.numpy(), expected, rtol=1e-12)
    # The weight is a constant: d/d pred of mean w|D|^2 is F^-1(2 w D) / count.
    analytic = np.fft.ifft2(2 * weight * difference).real * np.sqrt(60) / pred.numel()
    np.testing.assert_allclose(gradient.numpy(), analytic, atol=1e-14)


def test_gradcheck_with_given_weights() -> None:
    matrix = images(2, 1, 2, 5, 6, seed=2).sigmoid()
    target = images(2, 2, 5, 6, seed=1)
    assert torch.autograd.gradcheck(
        lambda pred: FocalFrequencyLoss(3.0)(pred, target, matrix), images(2, 2, 5, 6).requires_grad_()
    )


def test_never_more_than_the_mean_squared_error_and_equal_to_it_with_weight_one() -> None:
    pred, target = images(2, 3, 16, 16), images(2, 3, 16, 16, seed=1)
    mse = torch.mean((pred - target) ** 2)
    assert 0 < FocalFrequencyLoss()(pred, target) < mse
    torch.testing.assert_close(FocalFrequencyLoss(alpha=0.0)(pred, target), mse)
    torch.testing.assert_close(FocalFrequencyLoss()(pred, target, torch.ones(1)), mse)


def test_error_at_one_frequency_costs_its_mean_squared_error() -> None:
    row = torch.arange(16, dtype=torch.float64)
    wave = torch.cos(2 * torch.pi * (3 * row[:, None] + 5 * row) / 16).expand(1, 1, 16, 16)
    torch.testing.assert_close(FocalFrequencyLoss()(wave, torch.zeros_like(wave)), wave.square().mean())


def test_scaling_both_images_scales_the_loss_by_the_square() -> None:
    pred, target = images(1, 3, 8, 8), images(1, 3, 8, 8, seed=1)
    torch.testing.assert_close(
        FocalFrequencyLoss()(-3 * pred, -3 * target), 9 * FocalFrequencyLoss()(pred, target), rtol=1e-12, atol=0
    )


def test_equal_images_have_no_loss_and_no_gradient() -> None:
    x = images(2, 3, 8, 8)
    for part in value_and_gradients(FocalFrequencyLoss(), x, x):
        assert torch.equal(part, torch.zeros_like(part))


def test_one_equal_sample_does_not_affect_the_others() -> None:
    pred, target = images(2, 3, 8, 8), images(2, 3, 8, 8, seed=1)
    pred[0] = target[0]
    assert_as_published(pred, target)


def test_a_diverged_image_gives_nan() -> None:
    pred = images(1, 1, 8, 8)
    pred[0, 0, 3, 3] = torch.nan
    assert FocalFrequencyLoss()(pred, images(1, 1, 8, 8, seed=1)).isnan()


def test_batches_of_different_length_compare_by_average_spectrum() -> None:
    pred, target = images(5, 3, 8, 8), images(2, 3, 8, 8, seed=1)
    torch.testing.assert_close(
        FocalFrequencyLoss(ave_spectrum=True)(pred, target), PublishedFFL(ave_spectrum=True)(pred, target)
    )


def test_a_second_backward_pass_has_the_same_gradient() -> None:
    pred = images(1, 2, 8, 8).requires_grad_()
    loss = FocalFrequencyLoss()(pred, images(1, 2, 8, 8, seed=1))
    first, second = (torch.autograd.grad(loss, pred, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_a_second_derivative_is_refused() -> None:
    pred = images(1, 1, 8, 8).requires_grad_()
    (gradient,) = torch.autograd.grad(
        FocalFrequencyLoss()(pred, images(1, 1, 8, 8, seed=1)) ** 2, pred, create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_the_loss_never_synchronises_the_device() -> None:
    """A fake tensor has no values: reading one (`.item()`, `if tensor:`) raises."""
    with FakeTensorMode():
        pred = torch.randn(2, 3, 8, 8, requires_grad=True)
        FocalFrequencyLoss()(pred, torch.randn(2, 3, 8, 8)).backward()
        assert pred.grad is not None and pred.grad.shape == pred.shape


@pytest.mark.parametrize(
    ("pred", "target"), [((1, 3, 8, 8), (1, 3, 8, 9)), ((2, 3, 8, 8), (1, 3, 8, 8)), ((3, 8, 8), (3, 8, 8))], ids=str
)
def test_refuses_shapes_that_do_not_fit(pred: tuple[int, ...], target: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="FFL got shapes"):
        FocalFrequencyLoss()(images(*pred), images(*target))


def test_refuses_patches_that_do_not_divide_and_impossible_options() -> None:
    with pytest.raises(ValueError, match="patch_factor got 3 for images of 8x9"):
        FocalFrequencyLoss(patch_factor=3)(images(1, 1, 8, 9), images(1, 1, 8, 9))
    for options in ({"alpha": -1.0}, {"weight": -1.0}, {"patch_factor": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(options))} got"):
            FocalFrequencyLoss(**options)


def test_real_faces_agree_with_the_published_package() -> None:
    root = os.environ.get("FAVAE_TEST_DATA")
    if root is None:
        pytest.skip("FAVAE_TEST_DATA is unset: no real photographs here")
    photos = sorted((Path(root) / "raw" / "celebahq" / "CelebA-HQ-img").glob("*.jpg"))[:2]
    a, b = (torch.from_numpy(np.array(Image.open(p).convert("RGB"))).permute(2, 0, 1)[None] / 127.5 - 1 for p in photos)
    assert_as_published(a, b, rtol=1e-4)
