"""Adversarial losses of VQ-GAN (Esser et al. 2021) and the adaptive weight that balances them with reconstruction.

Logits are a patch discriminator's output, any shape, large for real; every loss is a scalar mean.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from favae.models.bounds import not_negative

AdversarialKind = Literal["hinge", "vanilla"]


class AdversarialLoss(NamedTuple):
    """The losses of discriminator and generator: `discriminator(real_logits, fake_logits)` and `generator(fake_logits)`."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


def hinge_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """(mean max(0, 1 - D(x)) + mean max(0, 1 + D(x_hat))) / 2, with which FA-VAE and VQ-GAN are trained."""
    return 0.5 * (F.relu(1.0 - real_logits).mean() + F.relu(1.0 + fake_logits).mean())


def hinge_generator_loss(fake_logits: Tensor) -> Tensor:
    """-mean D(x_hat)."""
    return -fake_logits.mean()


def vanilla_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """(mean -log sigmoid D(x) + mean -log(1 - sigmoid D(x_hat))) / 2, cross-entropy (Goodfellow et al. 2014)."""
    return 0.5 * (F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean())


def vanilla_generator_loss(fake_logits: Tensor) -> Tensor:
    """mean -log sigmoid D(x_hat), the non-saturating form (Goodfellow et al. 2014; pix2pix)."""
    return F.softplus(-fake_logits).mean()


_KINDS: dict[str, AdversarialLoss] = {
    "hinge": AdversarialLoss(hinge_discriminator_loss, hinge_generator_loss),
    "vanilla": AdversarialLoss(vanilla_discriminator_loss, vanilla_generator_loss),
}


def build_adversarial_loss(kind: AdversarialKind) -> AdversarialLoss:
    """The adversarial losses of a kind.

    Raises:
        ValueError: unknown kind.
    """
    if kind not in _KINDS:
        raise ValueError(f"adversarial loss got {kind!r}; expected one of {sorted(_KINDS)}")
    return _KINDS[kind]


def adaptive_weight(
    reconstruction_gradient: Tensor, adversarial_gradient: Tensor, maximum: float = 1e4, eps: float = 1e-4
) -> Tensor:
    """|grad_W L_rec| / (|grad_W L_adv| + eps), clamped to [0, maximum] (VQ-GAN, equation 7).

    Args:
        reconstruction_gradient: gradient of L1 + LPIPS, without frequency terms (official code), with respect to W, the
            weight of the decoder's last layer; any shape.
        adversarial_gradient: gradient of the generator's adversarial loss with respect to W.
        maximum: largest weight.
        eps: keeps the weight finite if the adversarial gradient is zero.

    Returns:
        A detached scalar, fp32, on the gradients' device. If the gradients have been averaged over ranks, it is the
        weight of the union of the batches on every rank; otherwise each rank has its own weight, as in the official
        code.

    Raises:
        ValueError: `maximum` or `eps` is negative.
    """
    not_negative("adaptive_maximum", maximum)
    not_negative("adaptive_epsilon", eps)
    reconstruction_norm = torch.linalg.vector_norm(reconstruction_gradient.detach().float())
    adversarial_norm = torch.linalg.vector_norm(adversarial_gradient.detach().float())
    return (reconstruction_norm / (adversarial_norm + eps)).clamp(0.0, maximum)
