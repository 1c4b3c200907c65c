"""Kernel distance between the feature distributions of two sets of images (Binkowski et al., ICLR 2018; on Inception
features it is KID). Unlike a Frechet distance it is unbiased, so that values of few images can be compared."""

import torch
from torch import Tensor

KERNEL = "(x.y / D + 1)^3, all pairs, unbiased"
_ROWS = 2_048  # features whose kernel with all others is in memory


def kernel_distance(a_ND: Tensor, b_MD: Tensor) -> float:
    """Squared maximum mean discrepancy of two sets of features, with the polynomial kernel (x.y / D + 1)^3.

    The unbiased estimate over all pairs, in float64; negative values are possible for sets of one distribution. The
    usual mean over random subsets has the same expectation, and a larger variance.

    Raises:
        ValueError: fewer than two features in a set, or sets of different dimension.
    """
    if a_ND.ndim != 2 or b_MD.ndim != 2 or a_ND.shape[1] != b_MD.shape[1]:
        raise ValueError(f"expected [N, D] and [M, D] features, got {tuple(a_ND.shape)} and {tuple(b_MD.shape)}")
    if min(len(a_ND), len(b_MD)) < 2:
        raise ValueError(f"a kernel distance needs at least 2 images in each set, got {len(a_ND)} and {len(b_MD)}")
    a_ND, b_MD = a_ND.double(), b_MD.double()
    return _mean_of_others(a_ND) + _mean_of_others(b_MD) - 2 * _sum(a_ND, b_MD) / (len(a_ND) * len(b_MD))


def _mean_of_others(x_ND: Tensor) -> float:
    """Mean kernel of two different features of one set."""
    own = float(_kernel(x_ND.square().sum(1), x_ND.shape[1]).sum())
    return (_sum(x_ND, x_ND) - own) / (len(x_ND) * (len(x_ND) - 1))


def _sum(x_ND: Tensor, y_MD: Tensor) -> float:
    return float(sum(_kernel(part @ y_MD.T, x_ND.shape[1]).sum() for part in x_ND.split(_ROWS)))


def _kernel(products: Tensor, dimension: int) -> Tensor:
    return torch.pow(products / dimension + 1, 3)
