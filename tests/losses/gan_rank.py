"""One process of `test_gan_ranks.py`: gradients of its part of a batch, averaged as in training."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from favae.losses.batch_spectrum import BatchFrequencyLoss
from favae.losses.frequency import FocalFrequencyLoss
from favae.losses.gan_regularization import PathLengthPenalty
from favae.models.spade import SpadeGenerator
from favae.models.stylegan2 import StyleGenerator
from favae.training.distributed import average, average_gradients

Result = dict[str, Tensor]


def measure(rank: int, world: int, folder: Path) -> None:
    """Write `<world>-<rank>.pt`: values, averaged gradients and buffers of everything below."""
    result: Result = {}
    for norm in ("batch", "sync_batch"):
        result |= spade(norm, rank, world)
    for across in ("local", "global"):
        result |= stylegan2(across, rank, world)
    torch.save(result, folder / f"{world}-{rank}.pt")


def spade(norm: str, rank: int, world: int) -> Result:
    """FFL of a SPADE generator on four label maps."""
    torch.manual_seed(0)
    generator = SpadeGenerator(3, base_channels=1, hidden=2, norm=norm, spectral_norm="none").double()  # type: ignore[arg-type]
    labels = torch.randint(3, (4, 32, 32))
    maps = nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).double()
    real = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    loss = FocalFrequencyLoss()(generator(share(maps, rank, world)), share(real, rank, world))
    found = gradients(loss, generator)
    buffers = {name: b for name, b in generator.named_buffers() if "running" in name}
    return {f"spade/{norm}/{name}": value for name, value in (found | buffers).items()}


def stylegan2(across: str, rank: int, world: int) -> Result:
    """FFL on average spectra, path length and the average of w, of eight latents."""
    torch.manual_seed(0)
    generator = StyleGenerator(8, z=4, w=4, mapping_layers=1, base_channels=32, max_channels=4).double()
    z, noise = torch.randn(8, 4, dtype=torch.float64), torch.randn(8, 3, 8, 8, dtype=torch.float64)
    real = torch.randn(8, 3, 8, 8, dtype=torch.float64)
    z, noise, real = (share(x, rank, world) for x in (z, noise, real))
    spectrum = BatchFrequencyLoss(across_ranks=across)  # type: ignore[arg-type]
    result = gradients(spectrum(generator(z, noise="none"), real), generator, "spectrum/")
    generator.zero_grad()
    w = generator.styles(z)
    penalty = PathLengthPenalty(decay=0.3, across_ranks=across).double()  # type: ignore[arg-type]
    result |= gradients(penalty(generator.synthesis(w, "none"), w, noise), generator, "path/")
    generator.mapping.follow(w[:, 0].detach())
    result |= {"path_mean": penalty.mean_length, "w_average": generator.mapping.average}
    return {f"stylegan2/{across}/{name}": value for name, value in result.items()}


def share(x: Tensor, rank: int, world: int) -> Tensor:
    """This rank's part of a batch."""
    return x.chunk(world)[rank]


def gradients(loss: Tensor, module: nn.Module, prefix: str = "") -> Result:
    """The loss and its gradients, both averaged over ranks."""
    loss.backward()
    average_gradients(module.parameters())
    found = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
    return {prefix + name: value for name, value in {**found, "loss": average(loss.detach().clone())}.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    store = f"file://{sys.argv[3]}/store"
    dist.init_process_group("gloo", init_method=store, rank=int(sys.argv[1]), world_size=int(sys.argv[2]))
    measure(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
    dist.destroy_process_group()
