"""Adversarial losses of pix2pix, SPADE and StyleGAN2, for one or several scales, and feature matching.

Logits are a discriminator's output, any shape, large for real; every loss is a scalar mean. Multi-scale discriminators
give a list, one entry per scale.

| system    | kind    | scale of the discriminator's loss |
|-----------|---------|-----------------------------------|
| pix2pix   | vanilla | half                              |
| SPADE     | hinge   | whole (lr 4e-4 was tuned so)      |
| StyleGAN2 | vanilla | whole (the logistic loss)         |
"""

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from favae.losses.adversarial import AdversarialLoss, build_adversarial_loss

GanKind = Literal["vanilla", "hinge", "lsgan"]
DiscriminatorScale = Literal["half", "whole"]

Features = Sequence[Tensor]  # features of one scale, in the order of the layers


def least_squares_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """(mean (D(x) - 1)^2 + mean D(x_hat)^2) / 2 (Mao et al. 2017, a = 0, b = c = 1)."""
    return 0.5 * ((real_logits - 1.0).square().mean() + fake_logits.square().mean())


def least_squares_generator_loss(fake_logits: Tensor) -> Tensor:
    """mean (D(x_hat) - 1)^2."""
    return (fake_logits - 1.0).square().mean()


def build_gan_loss(kind: GanKind, discriminator_scale: DiscriminatorScale = "half") -> AdversarialLoss:
    """The losses of discriminator and generator of a kind.

    Args:
        kind: "vanilla" is cross-entropy on logits, non-saturating for the generator; "hinge"; "lsgan".
        discriminator_scale: "half" averages the terms of real and generated images; "whole" adds them.

    Raises:
        ValueError: unknown kind or scale.
    """
    if kind not in get_args(GanKind):
        raise ValueError(f"GAN loss got kind {kind!r}; expected one of {', '.join(get_args(GanKind))}")
    if discriminator_scale not in get_args(DiscriminatorScale):
        raise ValueError(f"GAN loss got discriminator_scale {discriminator_scale!r}; expected 'half' or 'whole'")
    if kind == "lsgan":
        half = AdversarialLoss(least_squares_discriminator_loss, least_squares_generator_loss)
    else:
        half = build_adversarial_loss(kind)
    if discriminator_scale == "half":
        return half
    return AdversarialLoss(lambda real, fake: 2.0 * half.discriminator(real, fake), half.generator)


def mean_over_scales(loss: Callable[..., Tensor], *logits: Sequence[Tensor]) -> Tensor:
    """Mean of a loss over the scales of a multi-scale discriminator (SPADE).

    Args:
        loss: `discriminator` or `generator` of an `AdversarialLoss`.
        logits: for each argument of `loss`, the logits of all scales.

    Raises:
        ValueError: no scale, or different numbers of scales.
    """
    counts = {len(of_scales) for of_scales in logits}
    if len(counts) != 1 or not min(counts):
        raise ValueError(
            f"mean over scales got {[len(s) for s in logits]} scales; expected the same number, at least 1"
        )
    return torch.stack([loss(*of_one_scale) for of_one_scale in zip(*logits, strict=True)]).mean()


def feature_matching_loss(real: Sequence[Features], fake: Sequence[Features]) -> Tensor:
    """L1 between a discriminator's features of generated and of real images, unweighted (SPADE uses the weight 10).

    Summed over all layers except the last, which has the logits; averaged over scales. Real features are detached.

    Args:
        real: features of real images, per scale and layer.
        fake: features of generated images, of the same shapes.

    Raises:
        ValueError: different numbers of scales or layers, or no layer besides the logits.
    """
    layers = [len(features) for features in real]
    if not layers or layers != [len(features) for features in fake] or min(layers) < 2:
        raise ValueError(
            f"feature matching got {layers} layers of real and {[len(f) for f in fake]} of generated images per scale; "
            "expected the same numbers, at least 2 each"
        )
    pairs = (pair for scales in zip(real, fake, strict=True) for pair in zip(*(s[:-1] for s in scales), strict=True))
    return torch.stack([F.l1_loss(of_fake, of_real.detach()) for of_real, of_fake in pairs]).sum() / len(layers)
