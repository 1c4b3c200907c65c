"""Several processes training one model: they are launched by `torchrun`; without its environment variables there is one
process."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
import torch.distributed as dist

from favae.runtime.cpu import use_cpu_for_training, uses_cuda


@dataclass(frozen=True)
class Ranks:
    """Rank and device of this process in a run."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and logs."""
        return self.rank == 0

    def share(self, batch_size: int) -> int:
        """Number of images per rank in a global batch. Raises ValueError if the batch is not divisible by the number of
        ranks."""
        if batch_size % self.world_size:
            raise ValueError(f"training.batch_size {batch_size} is not divisible by {self.world_size} ranks")
        return batch_size // self.world_size


def start_ranks(threads: int) -> Ranks:
    """Join the process group that `torchrun` describes in the environment, and choose the device."""
    use_cpu_for_training(threads)
    local = int(os.environ.get("LOCAL_RANK") or 0)
    device = torch.device("cuda", local) if uses_cuda() else torch.device("cpu")
    world_size = int(os.environ.get("WORLD_SIZE") or 1)
    if world_size > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Ranks(int(os.environ.get("RANK") or 0), world_size, device)


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace each gradient by its mean over ranks, in one reduction of all gradients. Does nothing in a single process."""
    if not dist.is_initialized():
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return
    flat = torch.cat([g.reshape(-1) for g in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def average(values: torch.Tensor) -> torch.Tensor:
    """Mean of a tensor over ranks."""
    if dist.is_initialized():
        dist.all_reduce(values)
        values /= dist.get_world_size()
    return values


class ImageMeans:
    """Means over the images of all ranks, from losses that are means over batches. Synchronises with the device only at
    the end."""

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor] = {}
        self._images = 0

    def add(self, losses: Mapping[str, torch.Tensor], images: int) -> None:
        """Add the losses of a batch of `images` images; every batch must have the same names."""
        for name, loss in losses.items():
            share = loss.detach().double() * images
            self._sums[name] = self._sums[name] + share if name in self._sums else share
        self._images += images

    def result(self) -> dict[str, float]:
        """The means by name, the same on every rank."""
        sums = torch.stack(list(self._sums.values()))
        *totals, images = average(torch.cat([sums, sums.new_tensor([self._images])])).tolist()
        return {name: total / images for name, total in zip(self._sums, totals, strict=True)}


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether the value is true on any rank (a signal may reach ranks at different steps)."""
    if not dist.is_initialized():
        return flag
    shared = torch.tensor(float(flag), device=device)
    dist.all_reduce(shared, dist.ReduceOp.MAX)
    return bool(shared.item())
