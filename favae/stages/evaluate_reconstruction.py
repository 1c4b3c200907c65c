"""Stage `evaluate_reconstruction`: a trained autoencoder on the held-out split of a data set, its own or another (zero-shot)."""

from typing import Any, cast

import numpy as np
import torch

from favae import paths
from favae.config.evaluation import EvaluationProtocol
from favae.config.grid import Job
from favae.data.dataset import PreparedSplit, iterate_batches, to_float
from favae.data.examples import example_rows
from favae.evaluation.evaluators import ReconstructionEvaluator
from favae.evaluation.reference import load_reference
from favae.model_io import load_autoencoder
from favae.progress import track
from favae.stages.devices import choose_device
from favae.stages.evaluation import statistics_folder, write_metrics
from favae.stages.runner import Context
from favae.training.pictures import to_uint8

_EXAMPLES = 8


def run(job: Job, context: Context) -> None:
    """Write `metrics.json`, `images.csv` (one row an image), `spectrum.csv` and `examples.npz`."""
    protocol = cast(EvaluationProtocol, job.spec)
    device = choose_device(context)
    model = load_autoencoder(paths.result_dir(job.scale, "train_autoencoder", job.roles["model"]), device)
    split = PreparedSplit(
        paths.result_dir(job.scale, "prepare_dataset", job.roles["dataset"]) / "shards", protocol.split
    )
    reference = load_reference(statistics_folder(job), protocol.split)
    evaluator = ReconstructionEvaluator(protocol, device, codebook_size=model.quantizer.codes, reference=reference)
    count = len(split) if protocol.n == "all" else min(protocol.n, len(split))
    wanted = set(example_rows(split, count, _EXAMPLES))
    examples: dict[str, list[Any]] = {"original": [], "reconstruction": [], "id": []}
    steps = -(-count // protocol.batch_size)
    with torch.inference_mode():
        for rows, stored in track(iterate_batches(split, protocol.batch_size), f"evaluating {job.cell}", steps):
            if rows.start >= count:
                break
            rows, stored = rows[: count - rows.start], stored[: count - rows.start].to(device)
            quantized = model.quantize(model.encode(to_float(stored)).z, update_codebook=False)
            picture = model.decode(quantized.z).image
            evaluator.update(stored, picture, quantized.indices, [split.ids[r] for r in rows])
            for position, row in enumerate(rows):
                if row in wanted:
                    examples["original"].append(stored[position].permute(1, 2, 0).cpu().numpy())
                    examples["reconstruction"].append(to_uint8(picture[position : position + 1])[0].numpy())
                    examples["id"].append(split.ids[row])
    _write(job, context, evaluator, examples)
    context.summary = {"model": job.roles["model"], "dataset": job.roles["dataset"], "images": count}


def _write(job: Job, context: Context, evaluator: ReconstructionEvaluator, examples: dict[str, list[Any]]) -> None:
    write_metrics(job, context, evaluator.result())
    evaluator.per_image().to_csv(context.build / "images.csv", index=False)
    evaluator.spectrum().to_csv(context.build / "spectrum.csv", index=False)
    arrays = {name: np.stack(values) for name, values in examples.items()}
    np.savez_compressed(context.build / "examples.npz", allow_pickle=False, **arrays)
