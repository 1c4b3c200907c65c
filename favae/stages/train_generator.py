"""Stage `train_generator`: pix2pix, SPADE or StyleGAN2 on a prepared data set."""

import importlib
from typing import Any

import torch

from favae.config.gan import GeneratorTrainingConfig
from favae.config.pairs import LabelsConditionConfig, PairsLayoutConfig
from favae.data.batches import TrainingBatches
from favae.inference.export import save_weights
from favae.jobs.grid import Job
from favae.models.generators import complete
from favae.results.publish import Outcome
from favae.runtime import paths
from favae.stages.context import Context, config_of
from favae.stages.inputs import Inputs
from favae.stages.outputs import save_image, training_outcome, write_curves
from favae.training.distributed import start_ranks
from favae.training.gan import TrainingData
from favae.training.loop import Loop, Plan


def run(job: Job, context: Context) -> Outcome:
    """Write `model.safetensors`, `config.json`, `samples.png` and the curves."""
    config = config_of(job, GeneratorTrainingConfig)
    inputs, ranks = Inputs(job), start_ranks(config.training.threads)
    dataset, train = inputs.dataset, inputs.split("train")
    condition = dataset.layout.condition if isinstance(dataset.layout, PairsLayoutConfig) else None
    torch.manual_seed(config.training.seed)
    batches = TrainingBatches(
        train,
        ranks.share(config.training.batch_size),
        config.training.seed,
        ranks.rank,
        ranks.world_size,
        augment=config.training.augment,
        crop=dataset.image_size if dataset.train_size else None,
        flip_pairs=condition.flip_pairs if isinstance(condition, LabelsConditionConfig) else (),
    )
    module, name = config.task.split(":")
    task = getattr(importlib.import_module(module), name)(
        config, TrainingData(train, inputs.split_if_any("val"), condition, dataset.stored_size("val")), ranks
    )
    plan = Plan.of(config.training, len(train))
    result = Loop(task, plan, context.state, ranks, config.training, job.cell).run(batches.iter_from)
    if ranks.is_main:
        saved: dict[str, Any] = {"kind": "generator", "model": complete(config.given()["model"])}
        if condition is not None:
            saved["condition"] = condition.model_dump(mode="json")
        save_weights(context.build, result.exported, saved)
        save_image(result.image, context.build / paths.SAMPLES)
        write_curves(job, result)
    return training_outcome(job, result, ranks, artifacts=[paths.SAMPLES])
