"""A straightforward STFT-VAE: transposed convolutions, full complex spectra, autograd through all of it.

The peer in the benchmark of that model; nothing else may use it.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PlainStftVae(nn.Module):
    """The network of `favae.models.stft_vae`, with the same parameter names. Images are [B,1,28,28] in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 32, 3, 2), nn.ReLU(), nn.Conv2d(32, 64, 3, 2), nn.ReLU())
        self.to_posterior = nn.Linear(2304, 4)
        self.from_latent = nn.Linear(2, 1568)
        self.decoder = nn.ModuleList([nn.ConvTranspose2d(32, 64, 3, 2), nn.ConvTranspose2d(64, 32, 3, 2)])
        self.to_image = nn.ConvTranspose2d(32, 1, 3, padding=1)

    def forward(self, image: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstructions, and the KL divergence of each image in nats."""
        mean, log_variance = self.to_posterior(self.encoder(image).permute(0, 2, 3, 1).flatten(1)).chunk(2, dim=1)
        h = F.relu(self.from_latent(mean + (0.5 * log_variance).exp() * noise)).view(-1, 7, 7, 32).permute(0, 3, 1, 2)
        for layer in self.decoder:
            h = F.relu(layer(h)[..., :-1, :-1])
        kl = -0.5 * (1 + log_variance - log_variance.exp() - mean.square()).sum(1)
        return self.to_image(h), kl


def negative_ssim(x: Tensor, y: Tensor) -> Tensor:
    """-SSIM on [0, 1] with an 11x11 window as five convolutions."""
    n = torch.arange(11) - 5.0
    gaussian = torch.exp(-(n**2) / (2 * 1.5**2))
    window = torch.outer(gaussian, gaussian)[None, None] / gaussian.sum() ** 2
    mx, my, xx, yy, xy = (F.conv2d(image, window) for image in (x, y, x * x, y * y, x * y))
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mx * my + c1) * (2 * (xy - mx * my) + c2)
    return -(similarity / ((mx**2 + my**2 + c1) * (xx - mx**2 + yy - my**2 + c2))).mean()


def stft_distance(output: Tensor, image: Tensor, amplitude: float, phase: float) -> Tensor:
    """Sum over all frequencies of 16x16 Hann windows every 4 pixels; mean over images."""
    n = torch.arange(16)
    hann = 0.5 * (1 - torch.cos(2 * math.pi * n / 16))
    frequencies = torch.fft.fftfreq(16)
    radius = torch.hypot(frequencies[:, None], frequencies[None, :])
    weights = radius / radius.max()
    spectra = [torch.fft.fft2(x.unfold(2, 16, 4).unfold(3, 16, 4) * torch.outer(hann, hann)) for x in (output, image)]
    by_amplitude = (spectra[0].abs() - spectra[1].abs()).abs()
    by_phase = ((spectra[0] + 1e-6).angle() - (spectra[1] + 1e-6).angle()).abs()
    return ((amplitude * by_amplitude + phase * by_phase) * weights).sum() / len(image)
