"""Stage `train_autoencoder`: an autoencoder of any kind on a prepared data set."""

import logging
from pathlib import Path
from typing import cast

import torch

from favae.config.companions import CompanionConfig
from favae.config.favae import FavaeConfig
from favae.data.batches import TrainingBatches
from favae.data.dataset import PreparedSplit, has_split
from favae.inference.export import save_weights
from favae.jobs.grid import Job
from favae.models import Autoencoder
from favae.runtime import paths
from favae.stages.runner import Context
from favae.stages.training import finish_training, log_rule, per_rank, save_picture
from favae.training.autoencoder import AutoencoderTask
from favae.training.companions import VaeTask
from favae.training.distributed import Ranks, start_ranks
from favae.training.loop import Loop, Plan
from favae.training.task import Task

log = logging.getLogger(__name__)


def run(job: Job, context: Context) -> None:
    """Write `model.safetensors`, `config.json`, `samples.png` and the curves."""
    config = cast(FavaeConfig | CompanionConfig, job.config)
    ranks = start_ranks(config.training.threads)
    shards = paths.result_dir(job.scale, "prepare_dataset", job.roles["dataset"]) / "shards"
    train = PreparedSplit(shards, "train")
    torch.manual_seed(config.training.seed)
    batch_size = per_rank(config.training.batch_size, ranks)
    batches = TrainingBatches(
        train, batch_size, config.training.seed, ranks.rank, ranks.world_size, augment=config.training.augment
    )
    task = _task(config, shards, train, ranks)
    plan = Plan.of(config.training, len(train))
    result = Loop(task, plan, context.state, ranks, config.training, job.cell).run(batches.iter_from)
    if not ranks.is_main:
        return
    model = cast(Autoencoder, task.modules["model"])
    exported = {"kind": "autoencoder", "model": {"kind": model.kind, **model.config}}
    save_weights(context.build, result.exported, exported)
    save_picture(result.picture, context.build / "samples.png")
    context.artifacts.append("samples.png")
    finish_training(job, context, result, ranks)


def _task(config: FavaeConfig | CompanionConfig, shards: Path, train: PreparedSplit, ranks: Ranks) -> Task:
    if isinstance(config, CompanionConfig):
        return VaeTask(config, train, PreparedSplit(shards, "val") if has_split(shards, "val") else None, ranks)
    start = config.adversarial_start(len(train))
    log_rule(config.training, config.optimizer, ranks)
    log.info("the discriminator takes part from step %d, %d images seen", start, start * config.training.batch_size)
    return AutoencoderTask(config, PreparedSplit(shards, "val"), ranks, start, _lpips(config, ranks.device))


def _lpips(config: FavaeConfig, device: torch.device) -> torch.nn.Module | None:
    perceptual = config.objective.perceptual
    if perceptual.network == "none" or perceptual.weight == 0:
        return None
    from favae.pretrained.lpips import load_lpips

    return load_lpips(perceptual.network).to(device)
