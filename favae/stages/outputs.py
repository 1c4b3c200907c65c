"""Files that several stages write: metrics, examples, images, learning curves; and the outcome of a training."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from favae.evaluation.protocol import MetricResult
from favae.jobs.grid import Job
from favae.results.publish import Outcome
from favae.runtime import paths
from favae.runtime.cpu import device_name
from favae.runtime.files import replacing
from favae.training.distributed import Ranks
from favae.training.loop import Result


def write_metrics(folder: Path, results: Mapping[str, MetricResult], crop: str) -> None:
    """Write `metrics.json`, with `crop` (`DatasetConfig.resize` of the data set) added to the protocol of each metric."""
    complete = {name: {**result, "protocol": {**result["protocol"], "crop": crop}} for name, result in results.items()}
    (folder / paths.METRICS).write_text(json.dumps(complete, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def values_of(results: Mapping[str, MetricResult]) -> dict[str, float]:
    """Values of the measured metrics, for the run record."""
    return {name: result["value"] for name, result in results.items() if result["value"] is not None}


def write_examples(folder: Path, examples: Mapping[str, list[Any]]) -> None:
    """Write `examples.npz`: each list stacked to one array."""
    arrays = {name: np.stack(values) for name, values in examples.items()}
    np.savez_compressed(folder / paths.EXAMPLES, allow_pickle=False, **arrays)


def save_image(image: Tensor | None, path: Path) -> None:
    """Write uint8 [H,W,3] as PNG. Does nothing for None."""
    if image is not None:
        Image.fromarray(image.numpy()).save(path)


def write_curves(job: Job, result: Result) -> None:
    """Write the learning curves of a training; call it on rank 0 only."""
    with replacing(_curves(job)) as temporary:
        result.curves.table().to_csv(temporary, index=False)


def training_outcome(job: Job, result: Result, ranks: Ranks, artifacts: list[str]) -> Outcome:
    """Summary, metrics and device of a finished training. The same on every rank except for the GPU memory."""
    best = result.best_objective if math.isfinite(result.best_objective) else None  # None without validation
    on_gpu = ranks.device.type == "cuda"
    return Outcome(
        summary={"steps": result.step, "best_step": result.best_step, "best_objective": best},
        metrics={f"val/{name}": value for name, value in result.metrics.items()}
        | {"best_step": float(result.best_step)},
        artifacts=artifacts,
        published=[_curves(job).as_posix()],
        device=device_name(ranks.device),
        gpus=ranks.world_size if on_gpu else 0,
        gpu_bytes=torch.cuda.max_memory_allocated(ranks.device) if on_gpu else None,
        resumed=result.resumed,
    )


def _curves(job: Job) -> Path:
    return paths.curves(job.scale, job.stage.name, job.cell)
