"""A window's linear map placed at every window of an axis, as one matrix.

Tensor legend: U rows of the map, L side of the window, K windows.
"""

from torch import Tensor


def at_each_window(rows_PUL: Tensor, length: int, stride: int) -> Tensor:
    """Rows for one window, [parts, U, L], placed at every window of an axis: [parts, K*U, length]."""
    parts, kept, window = rows_PUL.shape
    count = (length - window) // stride + 1
    placed = rows_PUL.new_zeros(parts, count, kept, length)
    for k in range(count):
        placed[:, k, :, k * stride : k * stride + window] = rows_PUL
    return placed.flatten(1, 2)
