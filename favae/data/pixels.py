"""Stored pixels (uint8 levels) to network values ([-1, 1]) and back."""

from collections.abc import Sequence

import torch
from torch import Tensor


def to_float(x_BCHW: Tensor) -> Tensor:
    """Stored pixels, uint8 0..255, as float32 in [-1, 1] on the same device: x / 127.5 - 1."""
    # In place after one copy: on a CPU, allocating memory takes longer than the arithmetic.
    return x_BCHW.to(torch.float32, copy=True).div_(127.5).sub_(1.0)


def to_uint8(image_BCHW: Tensor) -> Tensor:
    """[-1, 1] to uint8 levels, clamped and rounded, [B,H,W,3] on the CPU; one channel is repeated."""
    levels = (image_BCHW.float().clamp(-1, 1) + 1) * 127.5
    return levels.round().to(torch.uint8).permute(0, 2, 3, 1).expand(-1, -1, -1, 3).cpu()


def side_by_side(rows: Sequence[Tensor]) -> Tensor:
    """Stack batches [B,C,H,W] in [-1, 1] as the rows of one image, uint8 [len(rows)*H, B*W, 3]."""
    return torch.cat([torch.cat(list(to_uint8(row)), dim=1) for row in rows], dim=0)
