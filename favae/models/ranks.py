"""Differentiable means over the ranks of a run, with which several ranks train like one rank on the union of their batches."""

import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_reduce


def several_ranks() -> bool:
    """Whether this process belongs to a process group with several members."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def mean_over_ranks(value: Tensor) -> Tensor:
    """Mean of a tensor of any shape over all ranks, which must all have the same number of images; `value` itself on one rank.

    The gradient flows to the values of all ranks. After averaging over ranks, gradients of parameters are those of one
    rank on the union of the batches.
    """
    return all_reduce(value) / dist.get_world_size() if several_ranks() else value
