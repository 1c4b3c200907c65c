"""Means over the ranks of a run, differentiable: what makes several ranks train as one rank on the union of their batches."""

import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_reduce


def several_ranks() -> bool:
    """Whether this process is one of several of a process group."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def mean_over_ranks(value: Tensor) -> Tensor:
    """Mean of a tensor of any shape over all ranks, each of which must hold equally many images; itself on one rank.

    The gradient reaches the values of all ranks. Once gradients of parameters are averaged over ranks, they are those of
    one rank on the union of the batches.
    """
    return all_reduce(value) / dist.get_world_size() if several_ranks() else value
