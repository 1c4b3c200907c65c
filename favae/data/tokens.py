"""Code indices of a data set under a frozen FA-VAE, with captions: the training data of CAT."""

import csv
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from favae.runtime import paths

_ORDER = 0x70616972  # purpose key: orders of pairs


class TokenSplit:
    """One split: tokens int64 [n, N] in raster order, and all pairs of (row, caption). Each pair is one sample, as in
    the official code.

    Raises:
        ValueError: no images or no captions in this split.
    """

    def __init__(self, folder: Path, split: str) -> None:
        with np.load(folder / paths.TOKENS, allow_pickle=False) as arrays:
            if split not in arrays:
                raise ValueError(f"{folder}: no tokens of the {split} split")
            self.tokens = torch.from_numpy(arrays[split].astype(np.int64))
            self.codes, self.grid = int(arrays["codes"]), (int(arrays["grid"][0]), int(arrays["grid"][1]))
        with (folder / paths.CAPTIONS).open(newline="", encoding="utf-8") as handle:
            self.pairs = [(int(r["row"]), r["caption"]) for r in csv.DictReader(handle) if r["split"] == split]
        if not self.pairs:
            raise ValueError(
                f"{folder}: no captions for the {split} split; a text-to-image model needs a captioned data set"
            )

    def __len__(self) -> int:
        return len(self.pairs)

    def batch(self, indices: np.ndarray | range) -> tuple[Tensor, list[str]]:
        """Tokens [B,N] and captions of pairs."""
        chosen = [self.pairs[int(i)] for i in indices]
        return self.tokens[[row for row, _ in chosen]], [caption for _, caption in chosen]

    def training_batch(
        self, step: int, batch_size: int, seed: int, rank: int, world_size: int
    ) -> tuple[Tensor, list[str]]:
        """Batch of a training step: a pure function of its arguments, `batch_size` pairs per rank."""
        epoch, within = divmod(step, len(self) // (batch_size * world_size))
        words = np.random.Philox(np.random.SeedSequence([seed, _ORDER, epoch])).random_raw(len(self))
        start = (within * world_size + rank) * batch_size
        return self.batch(np.argsort(words, kind="stable")[start : start + batch_size])
