"""What the two stages that measure have in common: where reference statistics lie, and how results are written."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from favae.config.dataset import DatasetConfig
from favae.evaluation.protocol import MetricResult
from favae.jobs.grid import Job, load_grid
from favae.runtime import paths
from favae.stages.runner import Context


def statistics_folder(job: Job) -> Path:
    """Statistics of the real images that a measuring job compares with (`favae.evaluation.reference`)."""
    return paths.result_dir(job.scale, "compute_reference_statistics", job.roles["reference"]) / "statistics"


def write_metrics(job: Job, context: Context, results: Mapping[str, MetricResult]) -> None:
    """Write `metrics.json`; the crop of the data set's images joins each protocol. Values go to the run record too."""
    dataset = cast(DatasetConfig, load_grid(job.scale).job("prepare_dataset", job.roles["dataset"]).config)
    for result in results.values():
        result["protocol"]["crop"] = dataset.resize
    (context.build / "metrics.json").write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    context.metrics = {name: m["value"] for name, m in results.items() if m["value"] is not None}
