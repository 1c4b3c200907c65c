"""Decoder of FA-VAE: the VQ-GAN decoder, with or without four frequency complement modules."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from favae.models.fcm import PLACES, FcmKind, build_fcm
from favae.models.layers import Levels, Norm, Upsample, check_spatial, conv3x3, level_blocks, middle, run_layer


class Decoding(NamedTuple):
    """What the decoder returns.

    image: [B, 3, H, W], about [-1, 1]; neither squashed nor clamped.
    complements: C_0..C_3 in the order of computation, C_0 from the latent, C_3 from the feature before the head; empty
        without FCM. C_j has the shape of encoder tap A_{3-j}.
    """

    image: Tensor
    complements: tuple[Tensor, ...]


class Decoder(nn.Module):
    """Latent to image: FCM, input conv, FCM, middle block, FCM, levels with up-sampling between, FCM, output head.

    Args:
        image_channels: channels of the image.
        channels: channels of each level, finest first (the encoder's).
        attention_levels: levels with attention after every residual block.
        res_blocks: residual blocks per level; the caller gives one more than in the encoder, as in VQ-GAN.
        latent_channels: d.
        norm: makes a normalisation layer for a number of channels.
        dropout: inside residual blocks and `conv` / `residual` FCMs.
        fcm: kind of the four FCMs. With "none" a 1x1 convolution d -> d comes first, VQ-GAN's `post_quant_conv`, which
            the decoders with FCM do not have (official code).
        latent_norm: normalisation of the FCM on the latent, which may have few channels (3 at down-sampling 4).
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
        fcm: FcmKind,
        latent_norm: Norm,
    ) -> None:
        super().__init__()
        self.latent_channels = latent_channels
        deepest = channels[-1]
        has_fcm = fcm != "none"
        self.post_quant = nn.Identity() if has_fcm else nn.Conv2d(latent_channels, latent_channels, kernel_size=1)
        self.fcms = nn.ModuleList()
        if has_fcm:
            widths = (latent_channels, deepest, deepest, channels[0])
            norms = (latent_norm, norm, norm, norm)
            for place in range(PLACES):
                self.fcms.append(build_fcm(fcm, place, widths[place], norms[place], dropout))
        self.conv_in = conv3x3(latent_channels, deepest)
        self.middle = middle(deepest, norm, dropout)
        layers: list[nn.Module] = []
        previous = deepest
        for level in reversed(range(len(channels))):
            width = channels[level]
            coarser = len(layers)
            layers += level_blocks(previous, width, res_blocks, level in attention_levels, norm, dropout)
            previous = width
            if level > 0:
                layers.append(Upsample(width))
        self.up = Levels(*layers, finest=range(coarser, len(layers)))
        self.head = nn.Sequential(norm(previous), nn.SiLU())
        self.conv_out = conv3x3(previous, image_channels)

    @property
    def last_layer_weight(self) -> Tensor:
        """Weight of the last convolution, [image_channels, c, 3, 3], with respect to which the adaptive weight takes
        gradients."""
        return self.conv_out.weight

    def forward(self, z_BChw: Tensor) -> Decoding:
        """Quantised latent [B, d, h, w] -> image and complements.

        Raises:
            ValueError: wrong channels.
        """
        h, complements = self.features(z_BChw)
        return Decoding(self.conv_out(h), complements)

    def features(self, z_BChw: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """As `forward`, with the feature before the last convolution, [B, c, H, W], in place of the image."""
        check_spatial(z_BChw, self.latent_channels, 1, "the decoder")
        complements: list[Tensor] = []
        h = self._complement(self.post_quant(z_BChw), complements)
        h = self._complement(self.conv_in(h), complements)
        h = self._complement(self.middle(h), complements)
        h = self._complement(self.up(h), complements)
        return self.head(h), tuple(complements)

    def _complement(self, b_BCHW: Tensor, complements: list[Tensor]) -> Tensor:
        """Apply the next FCM, if the decoder has FCMs, and record its complement."""
        if not self.fcms:
            return b_BCHW
        place = len(complements)
        recompute = self.up.recompute if place == PLACES - 1 else "none"  # the last FCM is at the finest level
        onward_BCHW, c_BCHW = run_layer(self.fcms[place], b_BCHW, recompute)
        complements.append(c_BCHW)
        return onward_BCHW
