"""Scores of predicted label maps: mean intersection over union, and pixel accuracy in both conventions.

Legend: B batch, K classes, H W pixels. 255 marks pixels without a class.
"""

import math

import torch
from torch import Tensor

DONT_CARE = 255


class Confusion:
    """Counts of (true class, predicted class) over all pixels of a set."""

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.counts_KK = torch.zeros(classes, classes, dtype=torch.int64)
        self.unknown = 0  # pixels without a class
        self.n = 0

    def update(self, predicted_BHW: Tensor, labels_BHW: Tensor) -> None:
        """Add a batch. Raises ValueError for shapes that differ."""
        if predicted_BHW.shape != labels_BHW.shape:
            raise ValueError(f"got predictions {tuple(predicted_BHW.shape)} of labels {tuple(labels_BHW.shape)}")
        known = labels_BHW != DONT_CARE
        pairs = labels_BHW[known].long() * self.classes + predicted_BHW[known].long()
        self.counts_KK += torch.bincount(pairs.cpu(), minlength=self.classes**2).view(self.classes, self.classes)
        self.unknown += int((~known).sum())
        self.n += len(labels_BHW)

    @property
    def iou_K(self) -> Tensor:
        """Intersection over union of each class, from the counts of all images; NaN for a class that never occurs."""
        right_K = self.counts_KK.diagonal().double()
        union_K = self.counts_KK.sum(0) + self.counts_KK.sum(1) - right_K
        return torch.where(union_K > 0, right_K / union_K, math.nan)

    @property
    def miou(self) -> float:
        """Mean over the classes that occur, true or predicted."""
        return float(self.iou_K.nanmean())

    @property
    def accuracy(self) -> float:
        """Share of right pixels among those with a class."""
        return float(self.counts_KK.diagonal().sum() / self.counts_KK.sum())

    @property
    def accuracy_including(self) -> float:
        """The same with pixels without a class counted as wrong."""
        return float(self.counts_KK.diagonal().sum() / (self.counts_KK.sum() + self.unknown))
