"""Stage `train_segmenter`: a segmenter on the real pairs of a labelled data set."""

import torch

from favae.config.pairs import LabelsConditionConfig, PairsLayoutConfig
from favae.config.segmentation import SegmenterConfig
from favae.data.batches import TrainingBatches
from favae.inference.export import save_weights
from favae.jobs.grid import Job
from favae.results.publish import Outcome
from favae.runtime import paths
from favae.stages.context import Context, config_of
from favae.stages.inputs import Inputs
from favae.stages.outputs import save_image, training_outcome, write_curves
from favae.training.distributed import start_ranks
from favae.training.gan import TrainingData
from favae.training.loop import Loop, Plan
from favae.training.segmenter import SegmenterTask


def run(job: Job, context: Context) -> Outcome:
    """Write `model.safetensors`, `config.json`, `samples.png` and the curves."""
    config, inputs = config_of(job, SegmenterConfig), Inputs(job)
    ranks, dataset, train = start_ranks(config.training.threads), inputs.dataset, inputs.split("train")
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
    data = TrainingData(train, inputs.split_if_any("val"), condition, dataset.stored_size("val"))
    task = SegmenterTask(config, data, ranks)
    plan = Plan.of(config.training, len(train))
    result = Loop(task, plan, context.state, ranks, config.training, job.cell).run(batches.iter_from)
    if ranks.is_main:
        save_weights(context.build, result.exported, {"kind": "segmenter", "model": config.model.given()})
        save_image(result.image, context.build / paths.SAMPLES)
        write_curves(job, result)
    return training_outcome(job, result, ranks, artifacts=[paths.SAMPLES])
