"""Conditions of a paired data set as input of a network."""

import torch
from torch import Tensor

from favae.config.pairs import ConditionConfig, LabelsConditionConfig
from favae.data.pixels import to_float
from favae.models.label_maps import label_input


def network_input(stored_BKHW: Tensor, condition: ConditionConfig) -> Tensor:
    """Stored planes of a condition, uint8 on any device, as the network's input, fp32 [B, condition.channels, H, W].

    An image is in [-1, 1]; a label map has one channel per class, then the borders of instances.
    """
    if not isinstance(condition, LabelsConditionConfig):
        return to_float(stored_BKHW)
    labels_BHW = stored_BKHW[:, 0].long()
    instances_BHW = None
    if condition.edges:
        instances_BHW = stored_BKHW[:, 1].to(torch.int32) * 256 + stored_BKHW[:, 2]
    return label_input(labels_BHW, condition.classes, condition.dont_care, instances_BHW)


def shown(stored_BKHW: Tensor, condition: ConditionConfig) -> Tensor:
    """A condition as an image in [-1, 1], [B,3,H,W]: classes in distinct colours."""
    if not isinstance(condition, LabelsConditionConfig):
        return to_float(stored_BKHW)
    return to_float(palette()[stored_BKHW[:, 0].long().cpu()].permute(0, 3, 1, 2)).to(stored_BKHW.device)


def palette() -> Tensor:
    """A colour for each of 256 classes, uint8 [256,3]: that of PASCAL VOC, which spreads the bits of the class."""
    classes = torch.arange(256)
    colours = torch.zeros(256, 3, dtype=torch.int64)
    for group in range(3):
        for channel in range(3):
            colours[:, channel] |= ((classes >> (3 * group + channel)) & 1) << (7 - group)
    return colours.to(torch.uint8)
