"""What the training stages share: batch per rank, curves, the summary of a run."""

import logging
import math
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from favae.config.cat import AdamWConfig
from favae.config.favae import FavaeOptimizerConfig
from favae.config.training import TrainingConfig
from favae.jobs.grid import Job
from favae.runtime import paths
from favae.runtime.files import replacing
from favae.stages.runner import Context
from favae.training.distributed import Ranks
from favae.training.loop import Result

log = logging.getLogger(__name__)


def per_rank(batch_size: int, ranks: Ranks) -> int:
    """Share of the global batch of each rank. Raises ValueError where it does not divide."""
    if batch_size % ranks.world_size:
        raise ValueError(f"training.batch_size {batch_size} is not divisible by {ranks.world_size} ranks")
    return batch_size // ranks.world_size


def log_rule(training: TrainingConfig, optimizer: FavaeOptimizerConfig | AdamWConfig, ranks: Ranks) -> None:
    """Say what one step sees and the learning rate: base rate x images a step over all ranks (official code: x batch x GPUs)."""
    images, world = training.batch_size, ranks.world_size
    shares = f", {images // world} on each of {world} ranks" if world > 1 else ""
    rule = f"{optimizer.base_lr:g} x {images} images" if optimizer.scaling == "linear" else "whatever the batch"
    log.info("%d images a step%s; learning rate %g (%s)", images, shares, optimizer.learning_rate(images), rule)


def save_picture(picture: Tensor | None, path: Path) -> None:
    """Write uint8 [H,W,3] as PNG."""
    if picture is not None:
        Image.fromarray(picture.numpy()).save(path)


def finish_training(job: Job, context: Context, result: Result, ranks: Ranks) -> None:
    """Write the curves; fill in summary, metrics and device."""
    target = paths.curves(job.scale, job.stage.name, job.cell)
    with replacing(target) as temporary:
        result.curves.table().to_csv(temporary, index=False)
    context.published.append(target)
    best = result.best_objective if math.isfinite(result.best_objective) else None  # None: nothing was validated
    context.summary = {"steps": result.step, "best_step": result.best_step, "best_objective": best}
    context.metrics = {f"val/{name}": value for name, value in result.metrics.items()} | {
        "best_step": float(result.best_step)
    }
    context.resumed = result.resumed
    if ranks.device.type == "cuda":
        context.device = torch.cuda.get_device_name(ranks.device)
        context.gpu_bytes = torch.cuda.max_memory_allocated(ranks.device)
