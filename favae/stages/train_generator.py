"""Stage `train_generator`: pix2pix, SPADE or StyleGAN2 on a prepared data set."""

import importlib
from typing import Any

import torch

from favae.config.gan import GeneratorTrainingConfig
from favae.inference.export import save_weights
from favae.jobs.grid import Job
from favae.models.generators import complete
from favae.results.publish import Outcome
from favae.runtime import paths
from favae.stages.context import Context, config_of
from favae.stages.inputs import Inputs, conditioned_batches
from favae.stages.outputs import save_image, training_outcome, write_curves
from favae.training.distributed import start_ranks
from favae.training.loop import Loop, Plan


def run(job: Job, context: Context) -> Outcome:
    """Write `model.safetensors`, `config.json`, `samples.png` and the curves."""
    config = config_of(job, GeneratorTrainingConfig)
    ranks = start_ranks(config.training.threads)
    data, batches = conditioned_batches(Inputs(job), config.training, ranks)
    torch.manual_seed(config.training.seed)
    module, name = config.task.split(":")
    task = getattr(importlib.import_module(module), name)(config, data, ranks)
    plan = Plan.of(config.training, len(data.train))
    result = Loop(task, plan, context.state, ranks, config.training, job.cell).run(batches.iter_from)
    if ranks.is_main:
        saved: dict[str, Any] = {"kind": "generator", "model": complete(config.given()["model"])}
        if data.condition is not None:
            saved["condition"] = data.condition.model_dump(mode="json")
        save_weights(context.build, result.exported, saved)
        save_image(result.image, context.build / paths.SAMPLES)
        write_curves(job, result)
    return training_outcome(job, result, ranks, artifacts=[paths.SAMPLES])
