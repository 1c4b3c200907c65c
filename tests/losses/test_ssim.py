"""SSIM as a loss: the values of scikit-image, and properties of a similarity."""

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from favae.losses import SSIMLoss, build_term


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(3, 2, 20, 23, generator=generator)
    return x, x + 0.3 * torch.randn(x.shape, generator=generator)


def test_values_agree_with_scikit_image_where_the_window_fits(pair: tuple[Tensor, Tensor]) -> None:
    maps = SSIMLoss().similarity(*pair)
    assert maps.shape == (3, 2, 10, 13)
    for i in range(3):
        for c in range(2):
            _, full = structural_similarity(
                pair[0][i, c].double().numpy(),
                pair[1][i, c].double().numpy(),
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
                data_range=1.0,
                full=True,
            )
            np.testing.assert_allclose(maps[i, c], full[5:-5, 5:-5], atol=2e-5)


def test_the_loss_is_lowest_for_equal_images_and_weighted(pair: tuple[Tensor, Tensor]) -> None:
    assert SSIMLoss(500.0)(pair[0], pair[0]).item() == pytest.approx(-500)
    assert SSIMLoss(500.0)(*pair).item() == pytest.approx(-500 * SSIMLoss().similarity(*pair).mean().item())


def test_a_wider_scale_needs_its_data_range(pair: tuple[Tensor, Tensor]) -> None:
    signed = tuple(2 * x - 1 for x in pair)
    shift_free = SSIMLoss(data_range=2.0)(*(2 * x for x in pair))
    assert shift_free.item() == pytest.approx(SSIMLoss()(*pair).item(), abs=1e-6)
    assert build_term("ssim", data_range=2.0, weight=1.0)(*signed).item() == SSIMLoss(1.0, 2.0)(*signed).item()


def test_tensors_that_cannot_be_compared_are_refused(pair: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(ValueError, match="expected the same"):
        SSIMLoss()(pair[0], pair[1][:2])
    with pytest.raises(ValueError, match="at least 11 pixels"):
        SSIMLoss()(pair[0][..., :9], pair[1][..., :9])
    with pytest.raises(ValueError, match="kind of a term got 'sim'"):
        build_term("sim", data_range=1.0)
