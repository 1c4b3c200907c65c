"""Stage `evaluate_segmentation`: the labels that a segmenter finds in generated images, compared with their conditions.

The scores are named after the segmenter, `segmenter_miou`, because it is not one of the networks of the papers. Five
controls stand beside them: without these a score says little.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from favae.config.pairs import LabelsConditionConfig
from favae.config.segmentation import SegmentationConfig
from favae.data.dataset import PreparedSplit
from favae.data.pixels import to_float
from favae.evaluation.protocol import MetricResult, measured
from favae.evaluation.segmentation import Confusion
from favae.jobs.grid import Job
from favae.models.segmenter import Segmenter
from favae.results.publish import Outcome
from favae.runtime.cpu import choose_device, device_name
from favae.stages.context import Context, config_of
from favae.stages.inputs import Inputs
from favae.stages.outputs import values_of, write_metrics

CONTROLS = ("real", "blurred", "grey", "mean_colours", "other")


def run(job: Job, context: Context) -> Outcome:
    """Write `metrics.json`."""
    config, inputs = config_of(job, SegmentationConfig), Inputs(job)
    device = choose_device(context.threads)
    model, segmenter, split = inputs.generator(device), inputs.segmenter(device), inputs.split(config.split)
    if not isinstance(model.condition, LabelsConditionConfig):
        raise ValueError(f"{job.where}: model {job.roles['model']!r} is not generated from label maps")
    count = len(split) if config.n == "all" else min(config.n, len(split))
    scores = {name: Confusion(model.condition.classes) for name in ("", *CONTROLS)}
    colours = _mean_colours(split, count, model.condition.classes).to(device)
    torch.manual_seed(config.seed)
    for stored in _batches(split, count, config.batch_size):
        stored = stored.to(device)
        real, condition = to_float(stored[:, :3]), stored[:, 3:]
        labels = condition[:, 0]
        images = {"": model.translate(condition, config.test_mode).clamp(-1, 1), **_controls(real, labels, colours)}
        for name, image in images.items():
            scores[name].update(_found(segmenter, image), labels)
    results = _results(scores, config)
    write_metrics(context.build, results, inputs.dataset.resize)
    return Outcome(
        {"model": job.roles["model"], "segmenter": job.roles["segmenter"], "images": count},
        metrics=values_of(results),
        device=device_name(device),
        gpus=int(device.type == "cuda"),
    )


@torch.inference_mode()
def _found(segmenter: Segmenter, image: Tensor) -> Tensor:
    return segmenter(image).argmax(1)


def _batches(split: PreparedSplit, count: int, size: int) -> Iterator[Tensor]:
    for first in range(0, count, size):
        yield split.stored(range(first, min(first + size, count)))


def _mean_colours(split: PreparedSplit, count: int, classes: int) -> Tensor:
    """Mean colour of the pixels of each class, [256,3] in [-1, 1]; grey for classes that do not occur."""
    sums, pixels = torch.zeros(256, 3, dtype=torch.float64), torch.zeros(256, dtype=torch.float64)
    for stored in _batches(split, count, 32):
        labels = stored[:, 3].flatten().long()
        sums.index_add_(0, labels, to_float(stored[:, :3]).permute(0, 2, 3, 1).reshape(-1, 3).double())
        pixels += torch.bincount(labels, minlength=256)
    return (sums / pixels.clamp(min=1)[:, None]).float()


def _controls(real: Tensor, labels_BHW: Tensor, colours: Tensor) -> dict[str, Tensor]:
    """What else the segmenter is shown with the same labels."""
    return {
        "real": real,
        "blurred": F.avg_pool2d(F.pad(real, (1, 1, 1, 1), mode="reflect"), 3, stride=1),
        "grey": real.mean(1, keepdim=True).expand_as(real),
        "mean_colours": colours[labels_BHW.long()].permute(0, 3, 1, 2),
        "other": real.roll(1, 0),
    }


def _results(scores: dict[str, Confusion], config: SegmentationConfig) -> dict[str, MetricResult]:
    record = {"split": config.split, "test_mode": config.test_mode, "seed": config.seed, "score_size": "generated"}
    found = {}
    for name, confusion in scores.items():
        values = {"miou": confusion.miou, "accuracy": confusion.accuracy}
        if not name:
            values["accuracy_including"] = confusion.accuracy_including
        for metric, value in values.items():
            base = f"segmenter_{metric}" + (f"_{name}" if name else "")
            found[f"{base}_{config.split}"] = measured(value, confusion.n, record)
    return found
