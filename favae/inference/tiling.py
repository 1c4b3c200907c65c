"""Reconstruction of an image of any size in bounded memory, in overlapping tiles that are blended.

Legend: T side of a tile, O overlap, f down-sampling factor.

Normalisation and attention are computed per tile, so values differ from those of a reconstruction in one piece, and
between tiles. Overlapping tiles are blended with linear weights.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from favae.data.pixels import to_float, to_uint8
from favae.models import FAVAE

# An image is reconstructed in one piece if it has at most WHOLE_SIDE^2 pixels and its latent at most WHOLE_LATENT^2
# positions: the cost of attention grows with the square of their number.
WHOLE_SIDE = 512
WHOLE_LATENT = 128
# Smaller tiles spend less on attention, and more on their overlap.
TILE_LATENT = 48
_MOST_TILE = 512
# Shares of a tile's side. The margin at the inner borders of a tile is left out, because the zero padding of
# convolutions affects it.
_OVERLAP, _LEFT_OUT = 3 / 16, 1 / 32


@dataclass(frozen=True)
class Tiling:
    """Positions of the tiles of an image along one axis.

    Attributes:
        length: of the image, in pixels.
        side: of a tile.
        starts: first pixel of each tile, multiples of f.
    """

    length: int
    side: int
    starts: tuple[int, ...]

    @classmethod
    def of(cls, length: int, side: int, factor: int) -> "Tiling":
        """The smallest number of tiles that cover `length` with the overlap, evenly spaced."""
        padded = length + -length % factor
        if padded <= side:
            return cls(length, padded, (0,))
        count = 1 + -(-(padded - side) // (side - round(side * _OVERLAP)))
        steps = (padded - side) // factor
        return cls(length, side, tuple(round(steps * i / (count - 1)) * factor for i in range(count)))

    def weights(self) -> np.ndarray:
        """Weight of each tile at each of its pixels, float32 [tiles, side]; the weights at each pixel of the image sum to 1."""
        place = np.arange(self.side) + 0.5
        left_out = self.side * _LEFT_OUT
        ramp = self.side * _OVERLAP - 2 * left_out
        rising = np.clip((place - left_out) / ramp, 0, 1)
        tiles = np.ones((len(self.starts), self.side))
        tiles[1:] *= rising
        tiles[:-1] *= rising[::-1]
        total = np.zeros(self.starts[-1] + self.side)
        for start, tile in zip(self.starts, tiles, strict=True):
            total[start : start + self.side] += tile
        return np.stack(
            [tile / total[start : start + self.side] for start, tile in zip(self.starts, tiles, strict=True)]
        ).astype(np.float32)


def tilings(model: FAVAE, height: int, width: int) -> tuple[Tiling, Tiling]:
    """Tiles down and across: one of each for an image that is reconstructed in one piece."""
    factor = model.downsampling_factor
    whole = height * width <= min(WHOLE_SIDE, WHOLE_LATENT * factor) ** 2
    side = max(height, width) + factor if whole else min(TILE_LATENT * factor, max(_MOST_TILE, factor))
    return Tiling.of(height, side, factor), Tiling.of(width, side, factor)


def reconstruct_any_size(model: FAVAE, x_BCHW: Tensor) -> Tensor:
    """Reconstruct [B,C,H,W] in [-1, 1] of any H and W: padded at right and bottom to a multiple of the factor, and
    cropped afterwards."""
    height, width = x_BCHW.shape[-2:]
    factor = model.downsampling_factor
    padded = F.pad(x_BCHW, (0, -width % factor, 0, -height % factor), mode="replicate")
    return model.reconstruct(padded)[..., :height, :width]


def reconstruct_pixels(
    model: FAVAE,
    pixels: np.ndarray,
    device: torch.device | str = "cpu",
    advance: Callable[[], None] = lambda: None,
    workers: int = 1,
) -> np.ndarray:
    """Reconstruct uint8 [H,W,C], in tiles if it is large; returns uint8 [H,W,3].

    Args:
        model: in evaluation mode, on `device`.
        pixels: stored levels.
        device: device on which tiles are computed. The image stays in main memory.
        advance: called after each tile.
        workers: number of tiles computed at a time, each with torch's number of threads.
    """
    height, width, channels = pixels.shape
    down, across = tilings(model, height, width)
    weight_down, weight_across = torch.from_numpy(down.weights()), torch.from_numpy(across.weights())

    def tile(top: int, left: int) -> Tensor:
        stored = torch.tensor(pixels[top : top + down.side, left : left + across.side]).permute(2, 0, 1)[None]
        with torch.inference_mode():
            return reconstruct_any_size(model, to_float(stored.to(device)))[0].float().cpu()

    result = np.empty((height, width, 3), np.uint8)
    carried = torch.zeros(channels, 0, width)  # rows to which the next row of tiles is added
    pool = ThreadPoolExecutor(workers)
    try:
        for row, top in enumerate(down.starts):
            band = torch.zeros(channels, down.side, across.starts[-1] + across.side)
            tiles = pool.map(tile, [top] * len(across.starts), across.starts)
            for left, y_CHW, weight in zip(across.starts, tiles, weight_across, strict=True):
                h, w = y_CHW.shape[1:]
                band[:, :h, left : left + w] += y_CHW * weight[:w]
                advance()
            band = band[:, : height - top, :width]
            band *= weight_down[row, : band.shape[1], None]
            band[:, : carried.shape[1]] += carried
            end = down.starts[row + 1] if row + 1 < len(down.starts) else height
            result[top:end] = to_uint8(band[None, :, : end - top])[0].numpy()
            carried = band[:, end - top :].clone()
    finally:
        pool.shutdown(cancel_futures=True)  # on Ctrl-C, waiting tiles are not started
    return result
