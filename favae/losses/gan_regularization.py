"""Lazy regularisation of StyleGAN2 (Karras et al. 2020): R1 for the discriminator, path length for the generator.

Tensor legend: B images, C channels, H W pixels, L layers, W width of w.

A lazy term is computed only every k-th step, in a separate optimiser step, and multiplied by k.
"""

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from favae.models.ranks import mean_over_ranks

AcrossRanks = Literal["global", "local"]


def r1_penalty(real_logits: Tensor, real_BCHW: Tensor, gamma: float, interval: int = 1) -> Tensor:
    """interval * gamma / 2 * mean over images of |dD(x)/dx|^2, the squared norm taken over an image (Mescheder et al. 2018).

    Args:
        real_logits: D(x), computed from `real_BCHW`, with its graph.
        real_BCHW: the input of the discriminator; it must require a gradient.
        gamma: weight; the reference configurations have 10, or 0.0002 * side^2 / batch.
        interval: steps from one penalty to the next (16); a factor of the penalty.

    Returns:
        A scalar, differentiable with respect to the discriminator's parameters.

    Raises:
        ValueError: gamma < 0, interval < 1, or images that do not require a gradient.
    """
    _check_interval("R1", interval)
    if gamma < 0:
        raise ValueError(f"R1 got gamma {gamma}; expected at least 0")
    if not real_BCHW.requires_grad:
        raise ValueError("R1 got images that do not require a gradient; call requires_grad_() before the discriminator")
    (gradient_BCHW,) = torch.autograd.grad(real_logits.sum(), real_BCHW, create_graph=True)
    return interval * 0.5 * gamma * gradient_BCHW.square().sum((1, 2, 3)).mean()


class PathLengthPenalty(nn.Module):
    """interval * weight * mean (length - a)^2, where `a` is a moving average: a <- a + decay * (mean length - a).

    length = sqrt(mean over layers of |J_w^T y|^2), y = n / sqrt(H W), n ~ N(0, 1). As in the official code, `a` is
    updated before it is used, and the gradient flows through that update.

    Args:
        weight: 2 in all reference configurations.
        decay: weight of the new mean length in an update of `a`.
        interval: steps from one penalty to the next (4); a factor of the penalty.
        across_ranks: "global" updates `a` with the mean length over all ranks, so several ranks are equivalent to one;
            with "local" each rank has its own `a`, as in some implementations.

    Attributes:
        mean_length: `a`, a buffer, so that it is saved in checkpoints.

    Raises:
        ValueError: weight < 0, decay outside (0, 1], interval < 1, unknown `across_ranks`.
    """

    mean_length: Tensor

    def __init__(
        self, weight: float = 2.0, decay: float = 0.01, interval: int = 4, across_ranks: AcrossRanks = "global"
    ) -> None:
        super().__init__()
        _check_interval("path length", interval)
        if weight < 0 or not 0 < decay <= 1:
            raise ValueError(
                f"path length got weight {weight}, decay {decay}; expected weight at least 0 and decay in (0, 1]"
            )
        if across_ranks not in get_args(AcrossRanks):
            raise ValueError(f"path length got across_ranks {across_ranks!r}; expected 'global' or 'local'")
        self.weight, self.decay, self.interval, self.across_ranks = weight, decay, interval, across_ranks
        self.register_buffer("mean_length", torch.zeros(()))

    def forward(self, fake_BCHW: Tensor, w_BLW: Tensor, noise_BCHW: Tensor | None = None) -> Tensor:
        """The penalty, a scalar, differentiable with respect to the generator's parameters; updates `mean_length`.

        Args:
            fake_BCHW: images generated from `w_BLW`, with their graph.
            w_BLW: one w per layer; it must be part of that graph.
            noise_BCHW: n; drawn at random if not given.
        """
        lengths_B = path_lengths(fake_BCHW, w_BLW, noise_BCHW)
        mean = lengths_B.mean()
        if self.across_ranks == "global":
            mean = mean_over_ranks(mean)
        target = self.mean_length.lerp(mean.to(self.mean_length), self.decay)
        self.mean_length.copy_(target.detach())
        return self.interval * self.weight * (lengths_B - target).square().mean()


def path_lengths(fake_BCHW: Tensor, w_BLW: Tensor, noise_BCHW: Tensor | None = None) -> Tensor:
    """sqrt(mean over layers of |d(sum g n / sqrt(H W)) / dw|^2) per image, [B]; see `PathLengthPenalty`."""
    if noise_BCHW is None:
        noise_BCHW = torch.randn_like(fake_BCHW)
    pixels = fake_BCHW.shape[2] * fake_BCHW.shape[3]
    (gradient_BLW,) = torch.autograd.grad((fake_BCHW * noise_BCHW).sum() / pixels**0.5, w_BLW, create_graph=True)
    return gradient_BLW.square().sum(2).mean(1).sqrt()


class LazyAdam(NamedTuple):
    """Constants of Adam with which lazy regularisation is equivalent to regularisation in every step."""

    lr: float
    betas: tuple[float, float]


def lazy_adam(lr: float, interval: int, beta1: float = 0.0, beta2: float = 0.99) -> LazyAdam:
    """lr * c and (beta1^c, beta2^c) with c = interval / (interval + 1): interval 4 for the generator, 16 for the discriminator.

    Raises:
        ValueError: lr <= 0, interval < 1.
    """
    _check_interval("lazy Adam", interval)
    if lr <= 0:
        raise ValueError(f"lazy Adam got lr {lr}; expected more than 0")
    share = interval / (interval + 1)
    return LazyAdam(lr * share, (beta1**share, beta2**share))


def _check_interval(name: str, interval: int) -> None:
    if interval < 1:
        raise ValueError(f"{name} got interval {interval}; expected at least 1 step")
