"""FA-VAE (Lin et al., CVPR 2023): VQ-GAN's autoencoder with frequency complement modules in the decoder.

Tensor legend: B batch, C channels, H W image size, h w latent size, d latent channels, K codes.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, get_args

from torch import Tensor

from favae.models.bounds import DEPTH, SIDE, above_zero, below_one, whole
from favae.models.decoder import Decoder, Decoding
from favae.models.encoder import Encoder, Encoding
from favae.models.fcm import FcmKind
from favae.models.latent import Autoencoder
from favae.models.layers import Recompute, group_norm
from favae.models.quantizers import Quantized, build_quantizer

_DEFAULT_QUANTIZER = {"kind": "cosine", "codes": 1024}


class FAVAEOutput(NamedTuple):
    """Everything that a training step needs.

    reconstruction: [B, 3, H, W], about [-1, 1], not clamped.
    indices: [B, h, w], int64.
    commitment_loss: scalar, unweighted.
    taps: encoder features A_0..A_3, finest first.
    complements: decoder complements C_0..C_3, in decoder order (coarsest first); empty without FCM.
    """

    reconstruction: Tensor
    indices: Tensor
    commitment_loss: Tensor
    taps: tuple[Tensor, ...]
    complements: tuple[Tensor, ...]

    def pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """(A_i, C_{3-i}) for i = 0..3, each of equal shape: what the spectrum losses compare; nothing without FCM."""
        return zip(self.taps, reversed(self.complements), strict=False)


class FAVAE(Autoencoder):
    """Encoder, quantiser and decoder of FA-VAE; with fcm="none" the same network without FCMs, a VQ-GAN.

    Defaults are the published 16-fold model at 256x256. The arguments are the keys of a `model:` block.

    Args:
        image_size: H = W that `attention_resolutions` refers to; other sizes divisible by the factor work too.
        image_channels: channels of the image.
        base_channels: channels of the finest level.
        channel_multipliers: channels of each level as multiples of `base_channels`, finest first; n levels down-sample
            by 2^(n-1).
        res_blocks: residual blocks of an encoder level; a decoder level has one more.
        attention_resolutions: resolutions at which residual blocks are followed by attention.
        latent_channels: d.
        dropout: inside residual blocks and FCMs.
        fcm: kind of the frequency complement modules, see `favae.models.fcm`.
        fcm_groups: groups of the normalisation in the FCM on the latent (3 where d = 3).
        quantizer: see `favae.models.quantizers.build_quantizer`.
        norm_groups: groups of every other normalisation; fewer than 32 for toy widths.
        norm_eps: 1e-5 in FA-VAE, 1e-6 in VQ-GAN.

    Raises:
        ValueError: values that do not fit together; the message names the key to change.
    """

    kind = "favae"

    def __init__(
        self,
        *,
        image_size: int = 256,
        image_channels: int = 3,
        base_channels: int = 128,
        channel_multipliers: Sequence[int] = (1, 1, 2, 2, 4),
        res_blocks: int = 2,
        attention_resolutions: Sequence[int] = (16,),
        latent_channels: int = 256,
        dropout: float = 0.0,
        fcm: FcmKind = "conv",
        fcm_groups: int = 32,
        quantizer: Mapping[str, Any] | None = None,
        norm_groups: int = 32,
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self._config: dict[str, Any] = {
            "image_size": image_size,
            "image_channels": image_channels,
            "base_channels": base_channels,
            "channel_multipliers": list(channel_multipliers),
            "res_blocks": res_blocks,
            "attention_resolutions": list(attention_resolutions),
            "latent_channels": latent_channels,
            "dropout": dropout,
            "fcm": fcm,
            "fcm_groups": fcm_groups,
            "norm_groups": norm_groups,
            "norm_eps": norm_eps,
        }
        _check_arguments(self._config)
        levels = _attention_levels(image_size, len(channel_multipliers), attention_resolutions)
        channels = [base_channels * multiplier for multiplier in channel_multipliers]
        norm = partial(group_norm, groups=norm_groups, eps=norm_eps)
        latent_norm = partial(group_norm, groups=fcm_groups, eps=norm_eps, name="fcm_groups")
        self.encoder = Encoder(image_channels, channels, levels, res_blocks, latent_channels, norm, dropout)
        self.quantizer = build_quantizer(quantizer or _DEFAULT_QUANTIZER, latent_channels)
        self.decoder = Decoder(
            image_channels, channels, levels, res_blocks + 1, latent_channels, norm, dropout, fcm, latent_norm
        )

    @property
    def config(self) -> dict[str, Any]:
        """As `Autoencoder.config`."""
        return {**self._config, "quantizer": self.quantizer.config}

    @property
    def codes(self) -> int:
        """Size K of the codebook."""
        return self.quantizer.codes

    @property
    def downsampling_factor(self) -> int:
        """f: an image [H, W] has a latent [H/f, W/f]."""
        return self.encoder.factor

    @property
    def latent_size(self) -> int:
        """h = w of the latent of an image of `image_size`."""
        return self._config["image_size"] // self.downsampling_factor

    def recompute_activations(self, which: Recompute) -> None:
        """Save memory in the backward pass at the cost of time: "last_level" recomputes the blocks of the finest level
        and its FCM.

        Raises:
            ValueError: unknown value.
        """
        if which not in get_args(Recompute):
            raise ValueError(f"recompute_activations got {which!r}; expected one of {get_args(Recompute)}")
        self.encoder.down.recompute = self.decoder.up.recompute = which

    @property
    def last_layer_weight(self) -> Tensor:
        """Weight of the decoder's last convolution: `favae.losses.adaptive_weight` compares gradients with respect to it."""
        return self.decoder.last_layer_weight

    def encode(self, x_BCHW: Tensor) -> Encoding:
        """Images [B, 3, H, W] in [-1, 1] -> latent before quantisation, and taps."""
        return self.encoder(x_BCHW)

    def quantize(self, z_BChw: Tensor, update_codebook: bool = True) -> Quantized:
        """Latent [B, d, h, w] -> quantised latent, indices, commitment loss; see `Quantizer.forward` for updates."""
        return self.quantizer(z_BChw, update=update_codebook)

    def decode(self, z_BChw: Tensor) -> Decoding:
        """Quantised latent [B, d, h, w] -> image and complements."""
        return self.decoder(z_BChw)

    def decode_indices(self, indices_Bhw: Tensor) -> Tensor:
        """Indices [B, h, w], int64 in [0, K) -> images [B, 3, H, W], not clamped."""
        return self.decode(self.quantizer.latents(indices_Bhw)).image

    def reconstruct_with_codes(self, x_BCHW: Tensor, noise_BZ: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Images in [-1, 1] -> reconstructions, not clamped, and indices; never updates the codebook. Raises ValueError
        for noise."""
        if noise_BZ is not None:
            raise ValueError("an autoencoder with a codebook takes no noise; leave noise_BZ out")
        quantized = self.quantize(self.encode(x_BCHW).z, update_codebook=False)
        return self.decode(quantized.z).image, quantized.indices

    def forward(self, x_BCHW: Tensor, update_codebook: bool = True) -> FAVAEOutput:
        """Images [B, 3, H, W] in [-1, 1] -> reconstruction and everything that the losses need.

        Raises:
            ValueError: wrong channels, or H or W not a multiple of `downsampling_factor`.
        """
        return self.finish(self.unfinished(x_BCHW, update_codebook))

    def unfinished(self, x_BCHW: Tensor, update_codebook: bool = True) -> FAVAEOutput:
        """As `forward`, with the feature before the last convolution in place of the reconstruction."""
        encoding = self.encode(x_BCHW)
        quantized = self.quantize(encoding.z, update_codebook)
        feature_BCHW, complements = self.decoder.features(quantized.z)
        return FAVAEOutput(feature_BCHW, quantized.indices, quantized.commitment_loss, encoding.taps, complements)

    def finish(self, unfinished: FAVAEOutput) -> FAVAEOutput:
        """The output of `forward` from that of `unfinished`."""
        return unfinished._replace(reconstruction=self.decoder.conv_out(unfinished.reconstruction))


def _check_arguments(config: Mapping[str, Any]) -> None:
    """Check the range of each argument. Combinations are checked where they are used. Raises ValueError."""
    whole("image_size", config["image_size"], SIDE)
    whole("image_channels", config["image_channels"], 64)
    whole("res_blocks", config["res_blocks"], DEPTH)
    for name in ("base_channels", "latent_channels", "fcm_groups", "norm_groups"):
        whole(name, config[name])
    for multiplier in config["channel_multipliers"][:16]:
        whole("channel_multipliers", multiplier, 1024)
    below_one("dropout", config["dropout"])
    above_zero("norm_eps", config["norm_eps"])


def _attention_levels(image_size: int, levels: int, attention_resolutions: Sequence[int]) -> list[int]:
    """Numbers of the levels whose resolution is in `attention_resolutions`.

    Raises:
        ValueError: no levels, a size that is not divisible by the factor, or a listed resolution that no level has.
    """
    if levels < 1:
        raise ValueError("channel_multipliers is empty; give one multiplier per level")
    factor = 2 ** (levels - 1)
    if image_size < 1 or image_size % factor:
        raise ValueError(
            f"image_size got {image_size}; {levels} channel_multipliers down-sample by {factor}, so expected a multiple of "
            f"{factor}: use {max(1, image_size // factor) * factor} or {(max(1, image_size // factor) + 1) * factor}"
        )
    resolutions = [image_size // 2**level for level in range(levels)]
    if absent := sorted(set(attention_resolutions) - set(resolutions)):
        raise ValueError(f"attention_resolutions got {absent}, which no level has; expected some of {resolutions}")
    return [level for level, resolution in enumerate(resolutions) if resolution in attention_resolutions]
