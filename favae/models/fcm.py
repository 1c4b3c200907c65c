"""Frequency complement modules (FCM): parts of the decoder that restore frequencies that quantisation removed.

The decoder has four of them (paper Fig. 2): on the quantised latent, before the middle block, after it, and before the
output head. Each maps a decoder feature B_j to (the feature with which the decoder continues, the complement C_j for the loss):

| kind | C_j | the decoder continues with |
|---|---|---|
| `conv` | branch(B_j) | B_j + C_j |
| `residual` | B_j + branch(B_j) | C_j |
| `attention` | transformer layer of norm(B_j); a residual block in the last FCM | C_j |

Only `conv` computes the sum of the paper's figure; the other two follow the official code.
"""

from typing import Literal

from torch import Tensor, nn

from favae.models.layers import Norm, ResBlock, conv_branch

FcmKind = Literal["conv", "residual", "attention", "none"]
PLACES = 4
ATTENTION_HEADS = 8
ATTENTION_FEEDFORWARD = 2048
ATTENTION_DROPOUT = 0.1  # the only dropout of the official code that is not zero


class ConvFCM(nn.Module):
    """Norm, SiLU, conv, norm, SiLU, dropout, conv; without a skip inside; its output is added to its input."""

    def __init__(self, channels: int, norm: Norm, dropout: float) -> None:
        super().__init__()
        self.branch = conv_branch(channels, channels, norm, dropout)

    def forward(self, b_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """B_j -> (B_j + C_j, C_j), all [B, C, H, W]."""
        c_BCHW = self.branch(b_BCHW)
        return b_BCHW + c_BCHW, c_BCHW


class ResidualFCM(nn.Module):
    """A residual block whose output is both the complement and the decoder's feature."""

    def __init__(self, channels: int, norm: Norm, dropout: float) -> None:
        super().__init__()
        self.block = ResBlock(channels, channels, norm, dropout)

    def forward(self, b_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """B_j -> (C_j, C_j), all [B, C, H, W]."""
        c_BCHW = self.block(b_BCHW)
        return c_BCHW, c_BCHW


class AttentionFCM(nn.Module):
    """A transformer encoder layer over the positions of the normalised feature, without positional encoding.

    Post-norm, 8 heads, feed-forward 2048, ReLU, dropout 0.1 (official code).

    Raises:
        ValueError: the channels are not a multiple of the 8 heads.
    """

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        if channels % ATTENTION_HEADS:
            raise ValueError(
                f"fcm 'attention' got a feature of {channels} channels; its {ATTENTION_HEADS} heads need a multiple of "
                f"{ATTENTION_HEADS}: choose latent_channels and base_channels accordingly (for example "
                f"{-(-channels // ATTENTION_HEADS) * ATTENTION_HEADS}), or fcm 'conv' or 'residual'"
            )
        self.norm = norm(channels)
        self.layer = nn.TransformerEncoderLayer(
            channels, ATTENTION_HEADS, ATTENTION_FEEDFORWARD, dropout=ATTENTION_DROPOUT, batch_first=True
        )

    def forward(self, b_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """B_j -> (C_j, C_j), all [B, C, H, W]."""
        tokens_BNC = self.norm(b_BCHW).flatten(2).transpose(1, 2)
        c_BCHW = self.layer(tokens_BNC).transpose(1, 2).reshape(b_BCHW.shape)
        return c_BCHW, c_BCHW


def build_fcm(kind: FcmKind, place: int, channels: int, norm: Norm, dropout: float) -> nn.Module:
    """The FCM at one place of the decoder (0: latent, 1: before the middle, 2: after it, 3: before the head).

    At place 3, at image resolution, `attention` is a residual block with dropout 0.1: attention over so many positions
    needs too much memory (official code).

    Raises:
        ValueError: unknown `kind`.
    """
    if kind == "conv":
        return ConvFCM(channels, norm, dropout)
    if kind == "residual":
        return ResidualFCM(channels, norm, dropout)
    if kind == "attention":
        return ResidualFCM(channels, norm, ATTENTION_DROPOUT) if place == PLACES - 1 else AttentionFCM(channels, norm)
    raise ValueError(f"fcm got {kind!r}; expected 'conv', 'residual', 'attention' or 'none'")
