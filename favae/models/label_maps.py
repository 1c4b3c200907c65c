"""Label and instance maps as input of a network: one channel per class, and the borders of instances.

Tensor legend: B batch, K classes, H W pixels.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

DontCare = Literal["refuse", "channel", "zeros"]
DONT_CARE = 255


def label_channels(classes: int, dont_care: DontCare = "refuse", edges: bool = False) -> int:
    """Number of channels of `label_input`: 36 for Cityscapes (35 classes and edges), 151 for ADE20K (classes only)."""
    return classes + (dont_care == "channel") + edges


def label_input(
    labels_BHW: Tensor, classes: int, dont_care: DontCare = "refuse", instances_BHW: Tensor | None = None
) -> Tensor:
    """One-hot classes, then a channel of instance borders if instances are given, fp32 [B, channels, H, W].

    The maps of ADE20K have values 0 to 150. SPADE's code intends to shift them by one but does not, so channel 0 of 151
    is "unknown". Cityscapes has 35 channels for the ids 0 to 34; id 34 never occurs, but released weights have its
    channel.

    Args:
        labels_BHW: class indices, any integer type.
        classes: K.
        dont_care: meaning of 255. "refuse": an error, as for any class out of range. "channel": one more class, K.
            "zeros": no class.
        instances_BHW: instance ids, see `instance_edges`.

    Raises:
        ValueError: unknown `dont_care`, labels that are not integers [B,H,W], or (on a CPU) a class out of range.
    """
    if dont_care not in get_args(DontCare):
        raise ValueError(f"label map got dont_care {dont_care!r}; expected one of {', '.join(get_args(DontCare))}")
    if labels_BHW.ndim != 3 or labels_BHW.is_floating_point():
        raise ValueError(
            f"label map got {labels_BHW.dtype} of shape {tuple(labels_BHW.shape)}; expected class indices [B, H, W]"
        )
    index_BHW = labels_BHW.long()
    if dont_care != "refuse":
        index_BHW = torch.where(index_BHW == DONT_CARE, classes, index_BHW)
    channels = classes + (dont_care != "refuse")
    _check_range(index_BHW, classes, channels)
    shape = index_BHW.shape[0], channels, *index_BHW.shape[1:]
    onehot_BKHW = torch.zeros(shape, device=index_BHW.device).scatter_(1, index_BHW[:, None], 1.0)
    if dont_care == "zeros":
        onehot_BKHW = onehot_BKHW[:, :classes]
    return onehot_BKHW if instances_BHW is None else torch.cat([onehot_BKHW, instance_edges(instances_BHW)], 1)


def instance_edges(instances_BHW: Tensor) -> Tensor:
    """1 where one of the four neighbours belongs to another instance, fp32 [B, 1, H, W]: borders are two pixels wide."""
    edges_BHW = torch.zeros(instances_BHW.shape, dtype=torch.bool, device=instances_BHW.device)
    beside = instances_BHW[:, :, 1:] != instances_BHW[:, :, :-1]
    below = instances_BHW[:, 1:] != instances_BHW[:, :-1]
    edges_BHW[:, :, 1:] |= beside
    edges_BHW[:, :, :-1] |= beside
    edges_BHW[:, 1:] |= below
    edges_BHW[:, :-1] |= below
    return edges_BHW[:, None].float()


def _check_range(index_BHW: Tensor, classes: int, channels: int) -> None:
    """On a GPU reading the range would synchronise the device; there `scatter_` fails at a wrong index."""
    if index_BHW.device.type == "cpu" and index_BHW.numel():
        smallest, largest = index_BHW.aminmax()
        if smallest < 0 or largest >= channels:
            wrong = int(smallest if smallest < 0 else largest)
            raise ValueError(
                f"label map got class {wrong}; expected 0 to {classes - 1}: correct the data set's number of classes, or "
                "set dont_care if 255 marks pixels without a class"
            )
