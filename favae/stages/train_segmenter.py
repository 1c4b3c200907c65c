"""Stage `train_segmenter`: a segmenter on the real pairs of a labelled data set."""

import torch

from favae.config.segmentation import SegmenterConfig
from favae.inference.export import save_weights
from favae.jobs.grid import Job
from favae.results.publish import Outcome
from favae.runtime import paths
from favae.stages.context import Context, config_of
from favae.stages.inputs import Inputs, conditioned_batches
from favae.stages.outputs import save_image, training_outcome, write_curves
from favae.training.distributed import start_ranks
from favae.training.loop import Loop, Plan
from favae.training.segmenter import SegmenterTask


def run(job: Job, context: Context) -> Outcome:
    """Write `model.safetensors`, `config.json`, `samples.png` and the curves."""
    config = config_of(job, SegmenterConfig)
    ranks = start_ranks(config.training.threads)
    data, batches = conditioned_batches(Inputs(job), config.training, ranks)
    torch.manual_seed(config.training.seed)
    task = SegmenterTask(config, data, ranks)
    plan = Plan.of(config.training, len(data.train))
    result = Loop(task, plan, context.state, ranks, config.training, job.cell).run(batches.iter_from)
    if ranks.is_main:
        save_weights(context.build, result.exported, {"kind": "segmenter", "model": config.model.given()})
        save_image(result.image, context.build / paths.SAMPLES)
        write_curves(job, result)
    return training_outcome(job, result, ranks, artifacts=[paths.SAMPLES])
