"""Multiply-accumulates, parameters and kept activations of the networks, counted from their parameters for one image.

Counted by arithmetic, because planning thousands of jobs must not wait for torch. Tests compare the counts with torch's
own counter on the very networks (`favae.models`), so the two cannot drift apart.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from favae.config.cat import CatModelConfig
from favae.config.favae import DiscriminatorConfig, FavaeModelConfig

_VGG_CHANNELS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_FCM_FEEDFORWARD = 2048  # attention FCM (official code)
CLIP_TEXT = {"layers": 12, "dim": 768, "tokens": 77}  # text tower of ViT-L/14


@dataclass
class Cost:
    """One network on one image: multiply-accumulates of a forward pass, parameters, numbers kept for the backward pass.

    Kept are the inputs of convolutions, linear maps, normalisations and activations, as autograd keeps them.
    """

    macs: int = 0
    parameters: int = 0
    kept: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.macs + other.macs, self.parameters + other.parameters, self.kept + other.kept)

    def linear(self, inputs: int, outputs: int, positions: int, bias: bool = True, keep: bool = True) -> None:
        """A linear map at `positions` positions."""
        self.conv(inputs, outputs, positions, positions, 1, bias, keep)

    def conv(
        self,
        inputs: int,
        outputs: int,
        area_in: int,
        area_out: int,
        kernel: int = 3,
        bias: bool = True,
        keep: bool = True,
    ) -> None:
        """A convolution from `area_in` to `area_out` positions."""
        self.macs += inputs * outputs * kernel**2 * area_out
        self.parameters += inputs * outputs * kernel**2 + bias * outputs
        self.kept += keep * inputs * area_in

    def norm(self, channels: int, positions: int, values: int = 2) -> None:
        """A normalisation with `values` parameters a channel."""
        self.parameters += values * channels
        self.kept += channels * positions

    def branch(self, inputs: int, outputs: int, area: int) -> None:
        """norm, SiLU, conv3x3, norm, SiLU, conv3x3."""
        for c_in, c_out in ((inputs, outputs), (outputs, outputs)):
            self.norm(c_in, area)
            self.kept += c_in * area
            self.conv(c_in, c_out, area, area)

    def block(self, inputs: int, outputs: int, area: int) -> None:
        """Residual block: branch and skip."""
        self.branch(inputs, outputs, area)
        if inputs != outputs:
            self.linear(inputs, outputs, area, keep=False)

    def attention(self, channels: int, area: int) -> None:
        """Norm, one joint projection, softmax attention over all positions, output projection."""
        self.norm(channels, area)
        self.linear(channels, 3 * channels, area)
        self.macs += 2 * area**2 * channels
        self.kept += 3 * channels * area
        self.linear(channels, channels, area)

    def middle(self, channels: int, area: int) -> None:
        """Block, attention, block."""
        self.block(channels, channels, area)
        self.attention(channels, area)
        self.block(channels, channels, area)


def _levels(model: FavaeModelConfig) -> list[tuple[int, int, bool]]:
    """(channels, positions, attention) of each level, finest first."""
    return [
        (model.base_channels * m, side**2, side in model.attention_resolutions)
        for m, side in ((m, model.image_size >> level) for level, m in enumerate(model.channel_multipliers))
    ]


def latent_area(model: FavaeModelConfig) -> int:
    """Codes of an image."""
    return (model.image_size >> (len(model.channel_multipliers) - 1)) ** 2


def encoder_cost(model: FavaeModelConfig) -> Cost:
    """The encoder (`favae.models.encoder.Encoder`)."""
    levels, d = _levels(model), model.latent_channels
    cost = Cost()
    width = levels[0][0]
    cost.conv(model.image_channels, width, levels[0][1], levels[0][1])
    for level, (channels, area, attention) in enumerate(levels):
        for _ in range(model.res_blocks):
            cost.block(width, channels, area)
            width = channels
            if attention:
                cost.attention(channels, area)
        if level < len(levels) - 1:
            cost.conv(channels, channels, area, area // 4)
    area = levels[-1][1]
    cost.middle(width, area)
    cost.norm(width, area)
    cost.kept += width * area
    cost.conv(width, d, area, area)
    cost.linear(d, d, area)
    return cost


def quantizer_cost(model: FavaeModelConfig) -> Cost:
    """Similarities of every latent vector with every code, and the projection where there is one."""
    quantizer, d, area = model.quantizer, model.latent_channels, latent_area(model)
    cost = Cost(macs=area * quantizer.codes * quantizer.dim, kept=2 * area * quantizer.dim)
    if quantizer.dim != d:
        cost.linear(d, quantizer.dim, area)
        cost.linear(quantizer.dim, d, area)
    if quantizer.kind == "euclidean":
        cost.parameters += quantizer.codes * quantizer.dim
    return cost


def _fcm(cost: Cost, model: FavaeModelConfig, channels: int, area: int, last: bool) -> None:
    if model.fcm == "none":
        return
    if model.fcm != "attention" or last:
        cost.branch(channels, channels, area)
        return
    cost.norm(channels, area)
    cost.linear(channels, 3 * channels, area)
    cost.macs += 2 * area**2 * channels
    cost.kept += 3 * channels * area
    cost.linear(channels, channels, area)
    cost.norm(channels, area)
    cost.linear(channels, _FCM_FEEDFORWARD, area)
    cost.linear(_FCM_FEEDFORWARD, channels, area)
    cost.norm(channels, area)


def decoder_cost(model: FavaeModelConfig) -> Cost:
    """The decoder with its FCMs (`favae.models.decoder.Decoder`)."""
    levels, d = _levels(model), model.latent_channels
    width, area, _ = levels[-1]
    cost = Cost()
    if model.fcm == "none":
        cost.linear(d, d, area)
    _fcm(cost, model, d, area, last=False)
    cost.conv(d, width, area, area)
    _fcm(cost, model, width, area, last=False)
    cost.middle(width, area)
    _fcm(cost, model, width, area, last=False)
    for level in reversed(range(len(levels))):
        channels, area, attention = levels[level]
        for _ in range(model.res_blocks + 1):
            cost.block(width, channels, area)
            width = channels
            if attention:
                cost.attention(channels, area)
        if level > 0:
            cost.conv(channels, channels, 4 * area, 4 * area)
    _fcm(cost, model, width, area, last=True)
    cost.norm(width, area)
    cost.kept += width * area
    cost.conv(width, model.image_channels, area, area)
    return cost


def autoencoder_cost(model: FavaeModelConfig) -> Cost:
    """Encoder, quantiser and decoder."""
    return encoder_cost(model) + quantizer_cost(model) + decoder_cost(model)


def discriminator_cost(discriminator: DiscriminatorConfig, image_channels: int, side: int) -> Cost:
    """PatchGAN on one image (`favae.models.PatchDiscriminator`)."""
    cost, base = Cost(), discriminator.base_channels
    widths = [image_channels, *(base * min(2**layer, 8) for layer in range(discriminator.layers + 1)), 1]
    for index, (c_in, c_out) in enumerate(itertools.pairwise(widths)):
        after = side // 2 if index < discriminator.layers else side - 1
        inner = 0 < index < len(widths) - 2
        cost.conv(c_in, c_out, side**2, after**2, 4, bias=not inner)
        cost.kept += c_out * after**2
        if inner:
            cost.norm(c_out, after**2)
        side = after
    return cost


def vgg_cost(side: int) -> Cost:
    """VGG16's convolutions up to relu5_3: LPIPS-VGG on one image."""
    cost, width = Cost(), 3
    for level, stage in enumerate(_VGG_CHANNELS):
        area = (side >> level) ** 2
        for channels in stage:
            cost.conv(width, channels, area, area)
            width = channels
    return cost


def spectrum_macs(shapes: Iterable[tuple[int, int]]) -> int:
    """Separable blur of feature maps (channels, side) as two banded products: what costs time in SL and DSL."""
    return sum(2 * channels * side**3 for channels, side in shapes)


def pair_shapes(model: FavaeModelConfig) -> list[tuple[int, int]]:
    """(channels, side) of the four features that are compared, finest first."""
    side = round(latent_area(model) ** 0.5)
    deepest = model.base_channels * model.channel_multipliers[-1]
    return [(model.base_channels, model.image_size), (deepest, side), (deepest, side), (model.latent_channels, side)]


def cat_cost(model: CatModelConfig, codes: int, tokens: int, text_dim: int, text_tokens: int) -> Cost:
    """CAT on one sequence under teacher forcing (`favae.models.CAT`)."""
    cost, dim, inner = Cost(), model.dim, model.heads * model.head_dim
    width = model.head_dim if model.key_value == "shared" else 2 * model.head_dim
    side = round(tokens**0.5)
    for _ in range(model.layers):
        for context, length in ((dim, tokens), (text_dim, text_tokens)):
            cost.norm(dim, tokens, 1)
            cost.linear(dim, inner, tokens, bias=False)
            cost.linear(context, width, length, bias=False)
            cost.parameters += width
            cost.macs += 2 * tokens * (length + 1) * inner
            cost.kept += 2 * inner * tokens
            cost.linear(inner, dim, tokens, bias=False, keep=False)
            cost.norm(dim, tokens, 1)
        cost.norm(dim, tokens, 1)
        hidden = dim * model.feedforward_multiplier
        cost.linear(dim, hidden, tokens, bias=False)
        cost.kept += hidden * tokens
        cost.norm(hidden, tokens, 1)
        cost.linear(hidden, dim, tokens, bias=False)
        cost.parameters += (2 * side - 1) ** 2 * model.heads
    cost.norm(dim, tokens, 1)
    cost.norm(dim, tokens, 1)
    cost.parameters += 2 * side * dim + dim
    cost.linear(dim, codes, tokens, bias=False)
    return cost


def clip_text_cost() -> Cost:
    """CLIP's text tower on one caption, all 77 positions."""
    cost, dim, tokens = Cost(), CLIP_TEXT["dim"], CLIP_TEXT["tokens"]
    for _ in range(CLIP_TEXT["layers"]):
        for inputs, outputs in ((dim, 3 * dim), (dim, dim), (dim, 4 * dim), (4 * dim, dim)):
            cost.linear(inputs, outputs, tokens, keep=False)
        cost.macs += 2 * tokens**2 * dim
    return cost
