"""One process of `test_gan_training.py`: three steps of SPADE, StyleGAN2 and pix2pix on its part of each batch."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from gan_support import config_of, data_of, task_of

from favae.data.batches import TrainingBatches
from favae.training.distributed import Ranks, average


def train(kind: str, ranks: Ranks, folder: Path) -> dict[str, Any]:
    """Weights and buffers after each of three steps in double precision, and the losses, averaged over ranks."""
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    changes = {"optimizer": {"generator_lr": 1e-4, "discriminator_lr": 1e-4}} if kind != "stylegan2" else {}
    task, data = task_of(config_of(kind, changes), data_of(folder / kind, kind), ranks), data_of(folder / kind, kind)
    batches = TrainingBatches(data.train, 4 // ranks.world_size, 5, ranks.rank, ranks.world_size, "flip", prefetch=0)
    for module in task.modules.values():
        module.double()
        for layer in module.modules():
            if isinstance(layer, torch.nn.Dropout):  # each rank draws its own
                layer.p = 0.0
    # Adam divides a gradient that is zero but for rounding by its size.
    task.optimizers = {n: torch.optim.SGD(task.modules[n].parameters(), 1e-3) for n in task.optimizers}
    real, condition = task.real, task.condition
    task.real, task.condition = lambda b: real(b).double(), lambda b: condition(b).double()  # type: ignore[method-assign]
    if kind == "stylegan2":  # noise, too, is drawn by each rank
        synthesis = task.generator.synthesis
        synthesis.forward = partial(type(synthesis).forward, synthesis, noise="none")
    result = {}
    for step in range(3):
        losses = task.train_step(batches.batch(step), step)
        result |= {f"{step}/{name}": average(loss.clone()) for name, loss in losses.items()}
        state = {f"{step}/{n}/{k}": v.clone() for n, m in task.modules.items() for k, v in m.state_dict().items()}
        result |= state
    return result


if __name__ == "__main__":
    torch.set_num_threads(1)
    rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    dist.init_process_group("gloo", init_method=f"file://{folder}/store-{world}", rank=rank, world_size=world)
    ranks = Ranks(rank, world, torch.device("cpu"))
    torch.save({kind: train(kind, ranks, folder) for kind in sys.argv[4:]}, folder / f"{world}-{rank}.pt")
    dist.destroy_process_group()
