"""Banded matrices: a linear map of one window, applied to every window along an axis.

Tensor legend: U rows of the map, L length of the window, K windows.
"""

from torch import Tensor


def at_each_window(rows_PUL: Tensor, length: int, stride: int) -> Tensor:
    """The matrix that applies rows of one window, [parts, U, L], at every window of an axis: [parts, K*U, length]."""
    parts, kept, window = rows_PUL.shape
    count = (length - window) // stride + 1
    placed = rows_PUL.new_zeros(parts, count, kept, length)
    for k in range(count):
        placed[:, k, :, k * stride : k * stride + window] = rows_PUL
    return placed.flatten(1, 2)
