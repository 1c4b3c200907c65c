"""Batch normalisation over the images of all ranks, on any device and backend.

PyTorch's SyncBatchNorm needs a GPU.

Tensor legend: B batch, C channels, H W pixels.
"""

import torch
from torch import Tensor, nn

from favae.models.ranks import mean_over_ranks, several_ranks


class SyncBatchNorm2d(nn.BatchNorm2d):
    """Batch norm with the statistics of the union of all ranks' batches in training mode. The batches must have equal sizes.

    On one rank, and in eval mode, it is PyTorch's batch norm. Divides by sqrt(var + eps). SPADE's published code
    divides by sqrt(max(var, eps)) on several devices, which differs only if var is close to eps.
    """

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] -> the same shape; updates the running statistics in training mode."""
        if not (self.training and several_ranks()):
            return super().forward(x_BCHW)
        mean_C = mean_over_ranks(x_BCHW.mean((0, 2, 3)))
        centred_BCHW = x_BCHW - mean_C[:, None, None]
        variance_C = mean_over_ranks(centred_BCHW.square().mean((0, 2, 3)))
        self._follow(mean_C, variance_C, x_BCHW)
        y_BCHW = centred_BCHW * torch.rsqrt(variance_C + self.eps)[:, None, None]
        return y_BCHW * self.weight[:, None, None] + self.bias[:, None, None] if self.affine else y_BCHW

    @torch.no_grad()
    def _follow(self, mean_C: Tensor, variance_C: Tensor, x_BCHW: Tensor) -> None:
        """Update the running statistics, with the unbiased variance as in PyTorch."""
        if self.running_mean is None or self.running_var is None or self.momentum is None:
            return
        count = x_BCHW.numel() / x_BCHW.shape[1] * torch.distributed.get_world_size()
        self.running_mean.lerp_(mean_C.to(self.running_mean), self.momentum)
        self.running_var.lerp_((variance_C * count / (count - 1)).to(self.running_var), self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


def synchronised(module: nn.Module) -> nn.Module:
    """The same network with every batch norm replaced by `SyncBatchNorm2d`, which has the same parameters and buffers."""
    for name, child in module.named_children():
        if type(child) is nn.BatchNorm2d:
            other = SyncBatchNorm2d(child.num_features, child.eps, child.momentum, child.affine)
            other.load_state_dict(child.state_dict())
            module.add_module(name, other)
        else:
            synchronised(child)
    return module
