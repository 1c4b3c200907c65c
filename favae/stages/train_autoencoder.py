"""Stage `train_autoencoder`: an autoencoder of any kind on a prepared data set."""

import logging
from typing import cast

import torch

from favae.config.companions import CompanionConfig
from favae.config.favae import FavaeConfig
from favae.data.batches import TrainingBatches
from favae.data.dataset import PreparedSplit
from favae.inference.export import save_weights
from favae.jobs.grid import Job
from favae.models import Autoencoder
from favae.results.publish import Outcome
from favae.runtime import paths
from favae.stages.context import Context, config_of
from favae.stages.inputs import Inputs
from favae.stages.outputs import save_image, training_outcome, write_curves
from favae.training.autoencoder import AutoencoderTask
from favae.training.companions import VaeTask
from favae.training.distributed import Ranks, start_ranks
from favae.training.loop import Loop, Plan, log_rule
from favae.training.task import Task

log = logging.getLogger(__name__)


def run(job: Job, context: Context) -> Outcome:
    """Write `model.safetensors`, `config.json`, `samples.png` and the curves."""
    config = config_of(job, FavaeConfig, CompanionConfig)
    inputs, ranks = Inputs(job), start_ranks(config.training.threads)
    train = inputs.split("train")
    torch.manual_seed(config.training.seed)
    batches = TrainingBatches(
        train,
        ranks.share(config.training.batch_size),
        config.training.seed,
        ranks.rank,
        ranks.world_size,
        augment=config.training.augment,
    )
    task = _task(config, inputs, train, ranks)
    plan = Plan.of(config.training, len(train))
    result = Loop(task, plan, context.state, ranks, config.training, job.cell).run(batches.iter_from)
    if ranks.is_main:
        model = cast(Autoencoder, task.modules["model"])
        exported = {"kind": "autoencoder", "model": {"kind": model.kind, **model.config}}
        save_weights(context.build, result.exported, exported)
        save_image(result.image, context.build / paths.SAMPLES)
        write_curves(job, result)
    return training_outcome(job, result, ranks, artifacts=[paths.SAMPLES])


def _task(config: FavaeConfig | CompanionConfig, inputs: Inputs, train: PreparedSplit, ranks: Ranks) -> Task:
    if isinstance(config, CompanionConfig):
        return VaeTask(config, train, inputs.split_if_any("val"), ranks)
    start = config.adversarial_start(len(train))
    log_rule(config.training, config.optimizer, ranks)
    log.info("the discriminator starts at step %d, after %d images", start, start * config.training.batch_size)
    return AutoencoderTask(config, inputs.split("val"), ranks, start, _lpips(config, ranks.device))


def _lpips(config: FavaeConfig, device: torch.device) -> torch.nn.Module | None:
    perceptual = config.objective.perceptual
    if perceptual.network == "none" or perceptual.weight == 0:
        return None
    from favae.pretrained.lpips import load_lpips

    return load_lpips(perceptual.network).to(device)
