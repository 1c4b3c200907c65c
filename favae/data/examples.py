"""Which images of a split are shown in figures: a rule that looks at originals only, so nobody chooses flattering ones."""

import numpy as np

from favae.data.dataset import PreparedSplit

_CANDIDATES = 16  # looked at in each part


def example_rows(split: PreparedSplit, count: int, wanted: int) -> list[int]:
    """Rows of the first `count` images: of each of `wanted` equal parts, the one with the largest standard deviation of pixels.

    Evenly spaced images would do for large data sets; of small ones, many are plain sky.
    """
    rows = []
    for part in np.array_split(np.arange(count), min(wanted, count)):
        candidates = part[np.unique(np.linspace(0, len(part) - 1, min(_CANDIDATES, len(part))).astype(int))]
        spread = split.images(candidates).float().flatten(1).std(1)
        rows.append(int(candidates[int(spread.argmax())]))
    return rows
