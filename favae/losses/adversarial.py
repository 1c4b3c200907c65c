"""Adversarial losses of VQ-GAN (Esser et al. 2021) and the adaptive weight that balances them with reconstruction.

Logits are a patch discriminator's output, any shape, large for real; every loss is a scalar mean.
"""

from collections.abc import Callable
from typing import Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

DiscriminatorLossKind = Literal["hinge", "vanilla"]
GeneratorLossKind = Literal["hinge", "non_saturating"]
AdaptiveScope = Literal["rank", "world"]


def hinge_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """(mean max(0, 1 - D(x)) + mean max(0, 1 + D(x_hat))) / 2, what FA-VAE and VQ-GAN train with."""
    return 0.5 * (F.relu(1.0 - real_logits).mean() + F.relu(1.0 + fake_logits).mean())


def vanilla_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """(mean -log sigmoid D(x) + mean -log(1 - sigmoid D(x_hat))) / 2, the cross-entropy of Goodfellow et al. 2014."""
    return 0.5 * (F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean())


def hinge_generator_loss(fake_logits: Tensor) -> Tensor:
    """-mean D(x_hat); VQ-GAN uses it with either discriminator loss."""
    return -fake_logits.mean()


def non_saturating_generator_loss(fake_logits: Tensor) -> Tensor:
    """mean -log sigmoid D(x_hat), the generator's side of the vanilla loss in pix2pix and StyleGAN."""
    return F.softplus(-fake_logits).mean()


DISCRIMINATOR_LOSSES: dict[DiscriminatorLossKind, Callable[[Tensor, Tensor], Tensor]] = {
    "hinge": hinge_discriminator_loss,
    "vanilla": vanilla_discriminator_loss,
}
GENERATOR_LOSSES: dict[GeneratorLossKind, Callable[[Tensor], Tensor]] = {
    "hinge": hinge_generator_loss,
    "non_saturating": non_saturating_generator_loss,
}


def adaptive_weight(
    reconstruction_loss: Tensor,
    adversarial_loss: Tensor,
    last_layer_weight: Tensor,
    maximum: float = 1e4,
    epsilon: float = 1e-4,
    scope: AdaptiveScope = "rank",
) -> Tensor:
    """|grad_W L_rec| / (|grad_W L_adv| + epsilon), clamped to [0, maximum] (VQ-GAN, equation 7).

    W is the weight of the decoder's last layer, L_rec is L1 + LPIPS without frequency terms (official code). The graphs
    of both losses are kept.

    Args:
        reconstruction_loss, adversarial_loss: scalars that depend on `last_layer_weight`.
        last_layer_weight: W, any shape.
        maximum: largest weight.
        epsilon: keeps the weight finite where the discriminator gives no gradient.
        scope: "rank" weighs each rank by its own batch (official code); "world" averages both gradients over all ranks
            first, so that every rank has the weight of the union of the batches.

    Returns:
        A detached scalar tensor on W's device, without waiting for the device.

    Raises:
        ValueError: unknown scope.
    """
    if scope not in ("rank", "world"):
        raise ValueError(f"adaptive weight's scope got {scope!r}; expected 'rank' or 'world'")
    gradients = torch.stack(
        [
            torch.autograd.grad(loss, last_layer_weight, retain_graph=True)[0].flatten()
            for loss in (reconstruction_loss, adversarial_loss)
        ]
    )
    if scope == "world" and dist.is_available() and dist.is_initialized():
        dist.all_reduce(gradients)
        gradients /= dist.get_world_size()
    reconstruction_norm, adversarial_norm = torch.linalg.vector_norm(gradients, dim=1)
    return (reconstruction_norm / (adversarial_norm + epsilon)).clamp(0.0, maximum).detach()
