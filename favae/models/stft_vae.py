"""The small VAE of the STFT-VAE paper: two convolutions down, two up, a latent of two numbers.

Tensor legend: B batch, C channels, H W pixels, Z latent size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from favae.models.latent import LatentModel, Posterior

_FIRST, _SECOND = 32, 64  # channels of the two convolutions


class DoublingConv(nn.Module):
    """TensorFlow's `Conv2DTranspose(3, strides=2, padding="same")` followed by ReLU: [B,C,H,W] to [B,O,2H,2W].

    Written output[2i + k] += input[i] weight[k], k = 0, 1, 2, cut to 2H: an even row of the output sees the inputs i - 1 and
    i, an odd one only i. So each of the four parities is a 2x2 convolution of the input, and all four are one, which
    a CPU computes two to three times faster than the transposed convolution with its gradient.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """As `relu(conv_transpose2d(x, weight, bias, stride=2))` without its last row and column."""
        y = F.relu(F.conv2d(F.pad(x_BCHW, (1, 0, 1, 0)), self._parity_weights(), self.bias.repeat(4)))
        batch, channels, height, width = y.shape
        # Channels are (row parity, column parity, output) and lie last in memory: one copy of long runs sorts the rows.
        rows = y.permute(0, 2, 3, 1).reshape(batch, height, width, 2, channels // 2).transpose(2, 3)
        return rows.reshape(batch, 2 * height, 2 * width, channels // 4).permute(0, 3, 1, 2)

    def _parity_weights(self) -> Tensor:
        """[4*O,C,2,2]: along each axis (weight[2], weight[0]) for even and (0, weight[1]) for odd positions."""
        inputs, outputs = self.weight.shape[:2]
        taps = F.pad(self.weight, (0, 1, 0, 1))[:, :, [2, 0, 3, 1]][..., [2, 0, 3, 1]]
        parities = taps.view(inputs, outputs, 2, 2, 2, 2).permute(2, 4, 1, 0, 3, 5)
        return parities.reshape(4 * outputs, inputs, 2, 2)


class StftVAE(LatentModel):
    """Encoder conv3x3/2 (32), conv3x3/2 (64), linear; decoder linear, two doubling convolutions (64, 32), conv3x3.

    Images are [B,1,H,W] in [-1, 1], H = W = `image_size`, a multiple of 4. Inside, pixels are in [0, 1] and the output has no
    activation, as in the official code; so outputs may leave [-1, 1]. 69,989 parameters at 28 pixels and Z = 2.
    Weights are initialised as TensorFlow does: Glorot uniform, biases 0.
    """

    def __init__(self, image_size: int = 28, image_channels: int = 1, latent: int = 2) -> None:
        super().__init__()
        self.config = {"image_size": image_size, "image_channels": image_channels, "latent": latent}
        self.latent, self.quarter = latent, image_size // 4
        features = _SECOND * ((((image_size - 1) // 2) - 1) // 2) ** 2
        self.encoder = nn.Sequential(
            nn.Conv2d(image_channels, _FIRST, 3, 2),
            nn.ReLU(),
            nn.Conv2d(_FIRST, _SECOND, 3, 2),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.to_posterior = nn.Linear(features, 2 * latent)
        self.from_latent = nn.Linear(latent, _FIRST * self.quarter**2)
        self.decoder = nn.Sequential(DoublingConv(_FIRST, _SECOND), DoublingConv(_SECOND, _FIRST))
        self.to_image = nn.ConvTranspose2d(_FIRST, image_channels, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def encode(self, image_BCHW: Tensor) -> Posterior:
        """q(z|x) of images in [-1, 1]."""
        mean, log_variance = self.to_posterior(self.encoder((image_BCHW + 1) / 2)).float().chunk(2, dim=1)
        return Posterior(mean, log_variance)

    def decode(self, z_BZ: Tensor) -> Tensor:
        """Images of latents: [B,C,H,W] on the scale of [-1, 1], unbounded."""
        h = F.relu(self.from_latent(z_BZ)).view(-1, self.quarter, self.quarter, _FIRST).permute(0, 3, 1, 2)
        return 2 * self.to_image(self.decoder(h)).float() - 1
