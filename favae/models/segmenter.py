"""A small segmenter: U-Net of convolutions with batch norm, for scoring generated images by the labels found in them.

Tensor legend: B batch, K classes, H W pixels.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from favae.models.bounds import whole


def _block(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class Segmenter(nn.Module):
    """Images -> logits of classes. `levels` times halved by max pooling, doubled back with skips; widths double per level.

    1,105,675 parameters with 19 classes, 12 base channels and 4 levels.

    Args:
        classes: K.
        base_channels: channels at full size.
        levels: halvings; images must be multiples of 2^levels.

    Raises:
        ValueError: a number out of range.
    """

    def __init__(self, classes: int, base_channels: int = 12, levels: int = 4) -> None:
        super().__init__()
        whole("segmenter.classes", classes, 255)
        whole("segmenter.base_channels", base_channels)
        whole("segmenter.levels", levels, 8)
        self.factor = 2**levels
        widths = [base_channels * 2**level for level in range(levels + 1)]
        self.down = nn.ModuleList(_block(a, b) for a, b in pairwise([3, *widths]))
        self.up = nn.ModuleList(_block(a + b, b) for a, b in pairwise(widths[::-1]))
        self.head = nn.Conv2d(base_channels, classes, 1)

    def forward(self, image_B3HW: Tensor) -> Tensor:
        """Images in [-1, 1] -> logits [B,K,H,W]. Raises ValueError for H or W that is no multiple of 2^levels."""
        height, width = image_B3HW.shape[2:]
        if height % self.factor or width % self.factor:
            raise ValueError(
                f"segmenter got {height}x{width} pixels; expected multiples of {self.factor}: use fewer levels"
            )
        x, skips = image_B3HW, []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
        skips.pop()
        for block in self.up:
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skips.pop()], 1))
        return self.head(x)
