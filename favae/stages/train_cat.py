"""Stage `train_cat`: train the text-to-image transformer on tokens of a frozen FA-VAE."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from favae.config.cat import CatConfig, ClipTextConfig
from favae.inference.export import TextToImage, save_weights
from favae.jobs.grid import Job
from favae.models import CAT
from favae.pretrained.weights import MissingWeights, find_weights
from favae.results.publish import Outcome
from favae.stages.context import Context, config_of
from favae.stages.inputs import Inputs
from favae.stages.outputs import training_outcome, write_curves
from favae.text import build_text_encoder
from favae.training.cat import CatTask
from favae.training.distributed import start_ranks
from favae.training.loop import Loop, Plan, log_rule


def run(job: Job, context: Context) -> Outcome:
    """Write `model.safetensors`, `config.json` (with the vocabulary of a learned text encoder) and the curves."""
    config, inputs = config_of(job, CatConfig), Inputs(job)
    ranks = start_ranks(config.training.threads)
    train, val = inputs.tokens("train"), inputs.tokens("val")
    torch.manual_seed(config.training.seed)
    text = build_text_encoder(_text_config(config), (caption for _, caption in train.pairs))
    arguments = {"codes": train.codes, "grid": train.grid, "text_dim": text.dim, **config.model.given()}
    plan = Plan.of(config.training, len(train))
    warmup = config.optimizer.warmup.in_steps(len(train), config.training.batch_size)
    log_rule(config.training, config.optimizer, ranks)
    task = CatTask(config, TextToImage(CAT(**arguments), text), val, ranks, warmup, plan.length)
    size = ranks.share(config.training.batch_size)

    def batches(step: int) -> Iterator[tuple[Tensor, list[str]]]:
        while True:
            yield train.training_batch(step, size, config.training.seed, ranks.rank, ranks.world_size)
            step += 1

    result = Loop(task, plan, context.state, ranks, config.training, job.cell).run(batches)
    if ranks.is_main:
        save_weights(context.build, result.exported, {"kind": "cat", "model": arguments, "text": text.config()})
        write_curves(job, result)
    return training_outcome(job, result, ranks, artifacts=[])


def _text_config(config: CatConfig) -> dict[str, Any]:
    arguments = config.text.given()
    if isinstance(config.text, ClipTextConfig):
        found = find_weights(config.text.weights)
        if isinstance(found, MissingWeights):
            raise found
        arguments["weights"] = str(found.path)
    return arguments
