"""FFL on average spectra: what it measures, and the effect of distributing a batch over ranks."""

import numpy as np
import pytest
import torch
from focal_frequency_loss import FocalFrequencyLoss as Official
from torch import Tensor

from favae.losses import FocalFrequencyLoss
from favae.losses.batch_spectrum import BatchFrequencyLoss


def batches(fake: int = 8, real: int = 8) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    shape = 3, 8, 10
    return torch.randn(fake, *shape, dtype=torch.float64), torch.randn(real, *shape, dtype=torch.float64)


def gradient(loss: BatchFrequencyLoss, fake: Tensor, real: Tensor) -> Tensor:
    leaf = fake.clone().requires_grad_()
    (found,) = torch.autograd.grad(loss(leaf, real), leaf)
    return found


def test_batch_mean_is_the_authors_loss_with_ave_spectrum() -> None:
    fake, real = (x.float() for x in batches())
    expected = Official(loss_weight=1.0, alpha=1.0, ave_spectrum=True)(fake, real)
    torch.testing.assert_close(BatchFrequencyLoss()(fake, real), expected, rtol=1e-5, atol=1e-7)
    assert torch.equal(BatchFrequencyLoss()(fake, real), FocalFrequencyLoss(ave_spectrum=True)(fake, real))


def test_averaging_spectra_equals_averaging_images() -> None:
    fake, real = batches(8, 6)
    means = [x.mean(0, keepdim=True) for x in (fake, real)]
    torch.testing.assert_close(BatchFrequencyLoss()(fake, real), FocalFrequencyLoss()(*means), rtol=0, atol=1e-15)


def test_every_image_gets_the_same_fraction_of_the_gradient_at_the_mean() -> None:
    fake, real = batches()
    of_images, loss = gradient(BatchFrequencyLoss(), fake, real), FocalFrequencyLoss()
    torch.testing.assert_close(of_images, of_images[:1].expand_as(of_images))
    mean = fake.mean(0, keepdim=True).requires_grad_()
    (of_mean,) = torch.autograd.grad(loss(mean, real.mean(0, keepdim=True)), mean)
    torch.testing.assert_close(8 * of_images[:1], of_mean)


def test_different_batches_with_equal_means_have_no_loss() -> None:
    fake, _ = batches()
    collapsed = fake.mean(0, keepdim=True).expand_as(fake)
    loss = BatchFrequencyLoss()
    assert loss(fake, collapsed).item() == pytest.approx(0.0, abs=1e-30)
    assert gradient(loss, fake, collapsed).abs().max().item() < 1e-15


def test_a_constant_shift_costs_its_square_at_the_zero_frequency_only() -> None:
    fake, _ = batches()
    assert BatchFrequencyLoss()(fake + 0.3, fake).item() == pytest.approx(0.09)


def test_local_means_have_a_higher_noise_floor_than_the_mean_of_all_ranks() -> None:
    torch.manual_seed(0)
    fake, real = torch.randn(64, 3, 16, 16), torch.randn(64, 3, 16, 16)
    loss = BatchFrequencyLoss()
    local = torch.stack([loss(a, b) for a, b in zip(fake.chunk(8), real.chunk(8), strict=True)]).mean()
    assert local.item() / loss(fake, real).item() == pytest.approx(8.0, rel=0.2)


def test_batch_mean_rewards_collapse_and_batch_power_penalises_it() -> None:
    torch.manual_seed(0)
    real, deviations = torch.randn(64, 3, 16, 16), torch.randn(64, 3, 16, 16)
    for spectra, rewarded in (("batch_mean", True), ("batch_power", False)):
        loss = BatchFrequencyLoss(spectra)  # type: ignore[arg-type]
        assert (loss(0.1 * deviations, real) < loss(deviations, real)).item() is rewarded


def test_only_the_power_control_sees_a_pattern_of_random_sign() -> None:
    torch.manual_seed(0)
    real, fake = torch.randn(64, 3, 16, 16), torch.randn(64, 3, 16, 16)
    checkerboard = 1.0 - 2.0 * ((torch.arange(16)[:, None] + torch.arange(16)) % 2)
    signs = torch.randint(2, (64, 1, 1, 1)) * 2.0 - 1.0
    for spectra, seen in (("batch_mean", False), ("batch_power", True)):
        loss = BatchFrequencyLoss(spectra)  # type: ignore[arg-type]
        assert (loss(fake + signs * checkerboard, real) > 2 * loss(fake, real)).item() is seen


def test_the_power_control_against_numpy() -> None:
    fake, real = (x.numpy() for x in batches(4, 6))
    amplitudes = [np.sqrt((np.abs(np.fft.fft2(x, norm="ortho")) ** 2).mean(0)) for x in (fake, real)]
    error = np.abs(amplitudes[0] - amplitudes[1])
    expected = (error / error.max((1, 2), keepdims=True) * error**2).mean()
    loss = BatchFrequencyLoss("batch_power", weight=2.0)
    assert loss(torch.from_numpy(fake), torch.from_numpy(real)).item() == pytest.approx(2 * expected)
    assert (
        gradient(BatchFrequencyLoss("batch_power"), torch.zeros(2, 3, 8, 10), torch.zeros(2, 3, 8, 10)).isfinite().all()
    )


def test_16_bit_images_are_averaged_in_single_precision() -> None:
    images = torch.full((300, 1, 4, 4), 300.0, dtype=torch.float16)  # their sum overflows 16 bits
    for spectra in ("batch_mean", "batch_power"):
        loss = BatchFrequencyLoss(spectra)(images, images)  # type: ignore[arg-type]
        assert loss.dtype == torch.float32 and loss.item() == 0.0


def test_impossible_choices_and_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="spectra 'mean'; expected one of batch_mean, batch_power"):
        BatchFrequencyLoss("mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="across_ranks 'all'"):
        BatchFrequencyLoss(across_ranks="all")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"\(2, 3, 8, 8\) and \(2, 3, 8, 9\); expected"):
        BatchFrequencyLoss()(torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 8, 9))
