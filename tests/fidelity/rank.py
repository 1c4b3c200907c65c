"""One process of `test_training.py`: three steps on its part of each batch, and the values that must agree between ranks."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from favae.config.favae import FavaeConfig
from favae.data.batches import Batch
from favae.data.dataset import PreparedSplit
from favae.training.autoencoder import AutoencoderTask
from favae.training.distributed import Ranks


def train(rank: int, world: int, folder: Path, shards: Path) -> None:
    """Write `<world>-<rank>.pt`: both scopes of the adaptive weight, after the first and after the last step."""
    val = PreparedSplit(shards, "val")
    ranks = Ranks(rank, world, torch.device("cpu"))
    result = {scope: _train(folder / f"{scope}.json", val, ranks) for scope in ("world", "rank")}
    torch.save(result, folder / f"{world}-{rank}.pt")


def _train(config: Path, val: PreparedSplit, ranks: Ranks) -> dict[str, Any]:
    torch.manual_seed(0)
    task = AutoencoderTask(FavaeConfig.model_validate_json(config.read_text()), val, ranks, 1, None)
    codebook, losses, first = task.model.quantizer.codebook, [], {}
    for step in range(3):
        images = val.images(np.roll(np.arange(7), step)[:4]).chunk(ranks.world_size)[ranks.rank]
        losses.append(task.train_step(Batch(images, np.arange(len(images)), []), step))
        if step == 0:
            adam = task.optimizers["generator"]
            momentum = [adam.state[p]["exp_avg"].clone() for group in adam.param_groups for p in group["params"]]
            first = {"momentum": momentum, "codebook": codebook.clone()}
    weights = [p.detach() for module in task.modules.values() for p in module.parameters()]
    return {
        "losses": losses,
        "first": first,
        "weights": weights,
        "codebook": codebook,
        "validation": task.validate(),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    store = f"file://{sys.argv[3]}/store"
    dist.init_process_group("gloo", init_method=store, rank=int(sys.argv[1]), world_size=int(sys.argv[2]))
    train(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]))
    dist.destroy_process_group()
