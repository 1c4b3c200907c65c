"""Stage `compute_reference_statistics`: features of a data set's real images, once for all evaluations on them."""

import copy
import logging
from collections.abc import Sequence
from typing import cast

import torch

from favae.config.dataset import Split
from favae.config.evaluation import EvaluationConfig, ReferenceConfig
from favae.data.dataset import PreparedSplit, iterate_batches
from favae.data.records import SPLITS
from favae.evaluation.evaluators import GenerationEvaluator
from favae.evaluation.frechet import FeatureStatistics
from favae.evaluation.reference import save_reference
from favae.jobs.grid import Job
from favae.results.cards import read_card
from favae.runtime import paths
from favae.runtime.progress import track
from favae.stages.devices import choose_device
from favae.stages.runner import Context

log = logging.getLogger(__name__)


def run(job: Job, context: Context) -> None:
    """Write `statistics/<images>-<network>.npz`, but for networks whose weights are missing: the log says why."""
    config = cast(ReferenceConfig, job.config)
    device = choose_device(context)
    counts = read_card(job.inputs["dataset"]).summary["counts"]
    splits = [s for s in SPLITS if s in config.images or ("all" in config.images and counts[s])]
    measured = {split: _measure(job, split, device) for split in splits}
    folder = context.build / "statistics"
    folder.mkdir()
    for images in config.images:
        chosen = measured.values() if images == "all" else [measured[images]]
        save_reference(folder, images, _union([evaluator.real_statistics() for evaluator in chosen]))
    missing = measured[splits[0]].meters.missing
    for network, reason in missing.items():
        log.warning("%s: no statistics of %s features: %s", job.name, network, reason)
    context.summary = {"dataset": job.roles["dataset"], "images": list(config.images), "missing": sorted(missing)}


def _measure(job: Job, name: Split, device: torch.device) -> GenerationEvaluator:
    """An evaluator that has seen the first `n` images of a split as real ones."""
    config = cast(ReferenceConfig, job.config)
    split = PreparedSplit(paths.result_dir(job.scale, "prepare_dataset", job.roles["dataset"]) / "shards", name)
    count = len(split) if config.n == "all" else min(config.n, len(split))
    protocol = EvaluationConfig(metrics=("frechet",), feature_networks=config.feature_networks)
    evaluator = GenerationEvaluator(protocol, device)
    steps = -(-count // config.batch_size)
    for rows, stored in track(iterate_batches(split, config.batch_size), f"features of {job.cell}, {name}", steps):
        if rows.start >= count:
            break
        evaluator.update_real(stored[: count - rows.start].to(device))
    return evaluator


def _union(parts: Sequence[dict[str, FeatureStatistics]]) -> dict[str, FeatureStatistics]:
    """Statistics of several splits together, by network."""
    total = copy.deepcopy(parts[0])
    for part in parts[1:]:
        for network, statistics in part.items():
            total[network].merge(statistics)
    return total
