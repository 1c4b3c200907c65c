"""Encoder of FA-VAE: the VQ-GAN encoder, with the four features that the decoder's complements are compared with."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from favae.models.layers import Downsample, Levels, Norm, check_spatial, conv3x3, level_blocks, middle


class Encoding(NamedTuple):
    """Output of the encoder.

    z: latent before quantisation, [B, d, h, w].
    taps: A_0 input convolution [B, c, H, W], A_1 end of the down-sampling stack, A_2 end of the middle block
        (both [B, c*m, h, w]), A_3 = z (paper Fig. 2; official code, encoder features).
    """

    z: Tensor
    taps: tuple[Tensor, Tensor, Tensor, Tensor]


class Encoder(nn.Module):
    """Image to latent: input conv, levels of residual blocks with down-sampling between, middle block, output convs.

    Args:
        image_channels: channels of the image.
        channels: channels of each level, finest first.
        attention_levels: levels with attention after every residual block.
        res_blocks: residual blocks per level.
        latent_channels: d. The last 1x1 convolution d -> d corresponds to VQ-GAN's `quant_conv`.
        norm: makes a normalisation layer for a number of channels.
        dropout: inside residual blocks.
    """

    def __init__(
        self,
        image_channels: int,
        channels: Sequence[int],
        attention_levels: Sequence[int],
        res_blocks: int,
        latent_channels: int,
        norm: Norm,
        dropout: float,
    ) -> None:
        super().__init__()
        self.image_channels = image_channels
        self.factor = 2 ** (len(channels) - 1)
        self.conv_in = conv3x3(image_channels, channels[0])
        layers: list[nn.Module] = []
        previous = channels[0]
        for level, width in enumerate(channels):
            layers += level_blocks(previous, width, res_blocks, level in attention_levels, norm, dropout)
            previous = width
            if level == 0:
                finest = range(len(layers))
            if level < len(channels) - 1:
                layers.append(Downsample(width))
        self.down = Levels(*layers, finest=finest)
        self.middle = middle(previous, norm, dropout)
        self.head = nn.Sequential(
            norm(previous),
            nn.SiLU(),
            conv3x3(previous, latent_channels),
            nn.Conv2d(latent_channels, latent_channels, kernel_size=1),
        )

    def forward(self, x_BCHW: Tensor) -> Encoding:
        """Images [B, 3, H, W] in [-1, 1] -> latent and taps.

        Raises:
            ValueError: wrong channels, or H or W not a multiple of the down-sampling factor.
        """
        check_spatial(x_BCHW, self.image_channels, self.factor, "the encoder")
        a0_BCHW = self.conv_in(x_BCHW)
        a1_BChw = self.down(a0_BCHW)
        a2_BChw = self.middle(a1_BChw)
        z_BChw = self.head(a2_BChw)
        return Encoding(z_BChw, (a0_BCHW, a1_BChw, a2_BChw, z_BChw))
