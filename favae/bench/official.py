"""Plain implementations that follow the official code, for benchmarks and for tests of equality.

Each docstring lists what makes it slow. Nothing else in the package imports them (`tests/test_layering.py`).
"""

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from focal_frequency_loss import FocalFrequencyLoss
from torch import Tensor, nn
from torch.optim import Adam

from favae.losses import gaussian_kernel_1d
from favae.models import FAVAE, PatchDiscriminator


def depthwise_blur(x_BCHW: Tensor, kernel_size: int, sigma: Tensor) -> Tensor:
    """Gaussian blur as one two-dimensional k x k depth-wise convolution after reflect padding: k^2 products per pixel."""
    kernel_k = gaussian_kernel_1d(kernel_size, sigma)
    kernel_C1kk = torch.outer(kernel_k, kernel_k).expand(x_BCHW.shape[1], 1, -1, -1)
    padded = F.pad(x_BCHW, (kernel_size // 2,) * 4, mode="reflect")
    return F.conv2d(padded, kernel_C1kk, groups=x_BCHW.shape[1])


class OfficialSpectrumLoss(nn.Module):
    """Dynamic spectrum loss that blurs both features of a pair separately and computes the FFL of each pair twice, the second
    time for the log. Uses two-sided spectra (the FFL package)."""

    def __init__(self, kernel_size: int, sigma: float = 3.0, weight: float = 0.01) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.sigmas = nn.Parameter(torch.full((4,), sigma))
        self.ffl = FocalFrequencyLoss(loss_weight=weight)

    def forward(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
        """Pairs (A_i, C_{3-i}) -> scalar."""
        losses, shown = [], []
        for sigma, (tap, complement) in zip(self.sigmas, pairs, strict=True):
            blurred = [depthwise_blur(x, self.kernel_size, sigma) for x in (complement, tap)]
            losses.append(self.ffl(*blurred))
            shown.append(self.ffl(*blurred))
        self.shown = torch.stack(shown).mean().detach()
        return torch.stack(losses).mean()


def gradients(loss: Tensor, of: Sequence[Tensor]) -> list[Tensor]:
    """The loss and its gradients, detached."""
    return [loss.detach(), *torch.autograd.grad(loss, list(of))]


class OfficialStep:
    """One training step of FA-VAE as in the official code, with networks of this package.

    What makes it slow: autograd's anomaly detection is on; the reconstruction is computed again for the discriminator's
    step, in training mode, so the codebook is updated twice; the adaptive weight computes gradients through LPIPS and
    discriminator that the backward pass computes again; the generator's backward pass also computes gradients of the
    discriminator; every spectral loss is computed a second time for the log; ten losses are read one by one.

    Args:
        model, discriminator, lpips: networks of this package, the same in both implementations.
        kernel_size: of the spectrum loss.
        rate, betas: of both Adam optimisers.
        adversarial_weight: lambda_d.
    """

    def __init__(
        self,
        model: FAVAE,
        discriminator: PatchDiscriminator,
        lpips: nn.Module,
        *,
        kernel_size: int,
        rate: float,
        betas: tuple[float, float],
        adversarial_weight: float,
    ) -> None:
        self.model, self.discriminator, self.lpips = model, discriminator, lpips
        self.adversarial_weight = adversarial_weight
        self.spectrum = OfficialSpectrumLoss(kernel_size).to(model.last_layer_weight.device)
        self.ffl = FocalFrequencyLoss()
        self.generator_optimizer = Adam([*model.parameters(), *self.spectrum.parameters()], lr=rate, betas=betas)
        self.discriminator_optimizer = Adam(discriminator.parameters(), lr=rate, betas=betas)

    def train_step(self, image_BCHW: Tensor) -> dict[str, float]:
        """G step and D step on images in [-1, 1]. Returns the losses as numbers."""
        with torch.autograd.set_detect_anomaly(True):
            losses = self._generator_step(image_BCHW) | self._discriminator_step(image_BCHW)
        return {name: loss.item() for name, loss in losses.items()}

    def _generator_step(self, image_BCHW: Tensor) -> dict[str, Tensor]:
        output = self.model(image_BCHW)
        restored = output.reconstruction
        losses = {"l1": (restored - image_BCHW).abs().mean(), "lpips": self.lpips(restored, image_BCHW).mean()}
        reconstruction = losses["l1"] + losses["lpips"]
        losses["adversarial"] = -self.discriminator(restored).mean()
        at_last = [
            torch.autograd.grad(loss, self.model.last_layer_weight, retain_graph=True)[0].norm()
            for loss in (reconstruction, losses["adversarial"])
        ]
        omega = (at_last[0] / (at_last[1] + 1e-4)).clamp(0.0, 1e4).detach()
        losses |= {"adaptive_weight": omega, "commitment": output.commitment_loss}
        losses |= {"image_ffl": self.ffl(restored, image_BCHW), "spectrum": self.spectrum(output.pairs())}
        self.ffl(restored, image_BCHW)  # for the log
        total = reconstruction + losses["commitment"] + losses["image_ffl"] + losses["spectrum"]
        total = total + self.adversarial_weight * omega * losses["adversarial"]
        self.generator_optimizer.zero_grad()
        total.backward()
        self.generator_optimizer.step()
        return losses

    def _discriminator_step(self, image_BCHW: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            fake = self.model(image_BCHW).reconstruction
        real_logits, fake_logits = self.discriminator(image_BCHW), self.discriminator(fake)
        loss = 0.5 * (F.relu(1.0 - real_logits).mean() + F.relu(1.0 + fake_logits).mean())
        self.discriminator_optimizer.zero_grad()
        loss.backward()
        self.discriminator_optimizer.step()
        return {"discriminator": loss, "logits_real": real_logits.mean(), "logits_fake": fake_logits.mean()}
