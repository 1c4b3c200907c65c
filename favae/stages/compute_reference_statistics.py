"""Stage `compute_reference_statistics`: features of a data set's real images, once for all evaluations on them."""

import copy
import logging
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from favae.config.evaluation import EvaluationConfig, ReferenceConfig
from favae.data.dataset import PreparedSplit, iterate_batches
from favae.data.records import SPLITS
from favae.evaluation.evaluators import GenerationEvaluator
from favae.evaluation.frechet import FeatureStatistics, save_reference
from favae.jobs.grid import Job
from favae.results.publish import Outcome
from favae.runtime import paths
from favae.runtime.cpu import choose_device, device_name
from favae.runtime.progress import track
from favae.stages.context import Context, config_of
from favae.stages.inputs import Inputs

log = logging.getLogger(__name__)


def run(job: Job, context: Context) -> Outcome:
    """Write `statistics/<images>-<network>.npz`, except for networks whose weights are missing, which the log names."""
    config, inputs = config_of(job, ReferenceConfig), Inputs(job)
    device = choose_device(context.threads)
    counts = inputs.counts
    splits = [s for s in SPLITS if s in config.images or ("all" in config.images and counts[s])]
    size = inputs.dataset.stored_size("test")
    measured = {
        name: _measure(inputs.split(name), size, config, device, f"features of {job.cell}, {name}") for name in splits
    }
    folder = context.build / paths.STATISTICS
    folder.mkdir()
    for images in config.images:
        chosen = measured.values() if images == "all" else [measured[images]]
        save_reference(folder, images, _union([evaluator.real_statistics() for evaluator in chosen]))
    missing = measured[splits[0]].meters.missing
    for network, reason in missing.items():
        log.warning("%s: no statistics of %s features: %s", job.name, network, reason)
    summary = {"dataset": job.roles["dataset"], "images": list(config.images), "missing": sorted(missing)}
    return Outcome(summary, device=device_name(device), gpus=int(device.type == "cuda"))


def _measure(
    split: PreparedSplit, size: tuple[int, int], config: ReferenceConfig, device: torch.device, title: str
) -> GenerationEvaluator:
    """An evaluator with the first `n` images of a split as its real images.

    Training images that are stored larger, to be cut, are resized to the size of the others.
    """
    count = len(split) if config.n == "all" else min(config.n, len(split))
    protocol = EvaluationConfig(metrics=("frechet",), feature_networks=config.feature_networks)
    evaluator = GenerationEvaluator(protocol, device)
    steps = -(-count // config.batch_size)
    for _, stored in track(iterate_batches(split, config.batch_size, count=count), title, steps):
        evaluator.update_real(_at_size(stored.to(device), size))
    return evaluator


def _at_size(stored_BCHW: Tensor, size: tuple[int, int]) -> Tensor:
    """Stored images, uint8, resized with an antialiased bicubic filter if they have another size."""
    if tuple(stored_BCHW.shape[2:]) == size:
        return stored_BCHW
    resized = F.interpolate(stored_BCHW.float(), size=size, mode="bicubic", antialias=True)
    return resized.clamp(0, 255).round().to(torch.uint8)


def _union(parts: Sequence[dict[str, FeatureStatistics]]) -> dict[str, FeatureStatistics]:
    """Merged statistics of several splits, by network."""
    total = copy.deepcopy(parts[0])
    for part in parts[1:]:
        for network, statistics in part.items():
            total[network].merge(statistics)
    return total
