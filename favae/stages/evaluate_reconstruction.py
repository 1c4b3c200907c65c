"""Stage `evaluate_reconstruction`: a trained autoencoder on the held-out split of a data set, its own or another (zero-shot)."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch.distributions import Normal

from favae.config.evaluation import EvaluationConfig
from favae.data.dataset import PreparedSplit, iterate_batches
from favae.data.examples import example_rows
from favae.data.pixels import to_float, to_uint8
from favae.evaluation.evaluators import GenerationEvaluator, ReconstructionEvaluator
from favae.evaluation.frechet import FeatureStatistics
from favae.evaluation.protocol import MetricResult
from favae.evaluation.reference import load_reference
from favae.inference.export import load_any_autoencoder
from favae.jobs.grid import Job
from favae.models import Autoencoder
from favae.runtime import paths
from favae.runtime.progress import track
from favae.stages.devices import choose_device
from favae.stages.evaluation import statistics_folder, write_metrics
from favae.stages.runner import Context
from favae.training.companions import drawn_latents

_EXAMPLES = 8
_DRAWN = 64  # pictures from the prior
_GRID = 12  # of a side of the latent grid


def run(job: Job, context: Context) -> None:
    """Write `metrics.json`, `images.csv` (one row an image), `spectrum.csv` and `examples.npz`."""
    protocol = cast(EvaluationConfig, job.config)
    device = choose_device(context)
    model = load_any_autoencoder(paths.result_dir(job.scale, "train_autoencoder", job.roles["model"]), device)
    split = PreparedSplit(
        paths.result_dir(job.scale, "prepare_dataset", job.roles["dataset"]) / "shards", protocol.split
    )
    reference = load_reference(statistics_folder(job), protocol.split)
    evaluator = ReconstructionEvaluator(protocol, device, codebook_size=model.codes, reference=reference)
    count = len(split) if protocol.n == "all" else min(protocol.n, len(split))
    noise = drawn_latents(count, model.latent) if model.latent and protocol.latent == "sample" else None
    wanted = set(example_rows(split, count, _EXAMPLES))
    examples: dict[str, list[Any]] = {"original": [], "reconstruction": [], "id": []}
    steps = -(-count // protocol.batch_size)
    with torch.inference_mode():
        for rows, stored in track(iterate_batches(split, protocol.batch_size), f"evaluating {job.cell}", steps):
            if rows.start >= count:
                break
            rows, stored = rows[: count - rows.start], stored[: count - rows.start].to(device)
            own_noise = None if noise is None else noise[rows.start : rows.stop].to(device)
            picture, indices = model.reconstruct_with_codes(to_float(stored), own_noise)
            evaluator.update(stored, picture, indices, [split.ids[r] for r in rows])
            for position, row in enumerate(rows):
                if row in wanted:
                    examples["original"].append(stored[position].permute(1, 2, 0).expand(-1, -1, 3).cpu().numpy())
                    examples["reconstruction"].append(to_uint8(picture[position : position + 1])[0].numpy())
                    examples["id"].append(split.ids[row])
    results = evaluator.result()
    if model.latent:
        examples |= _from_prior(model)
    if protocol.synthesis == "prior":
        results |= _synthesis(model, protocol, count, reference, device)
    _write(job, context, evaluator, results, examples)
    context.summary = {"model": job.roles["model"], "dataset": job.roles["dataset"], "images": count}


@torch.inference_mode()
def _from_prior(model: Autoencoder) -> dict[str, Any]:
    """Pictures of latents drawn from N(0, 1) and, of two-dimensional ones, of a grid of its quantiles (Kingma and Welling)."""
    device = next(model.parameters()).device
    latents = {"drawn": drawn_latents(_DRAWN, model.latent)}
    if model.latent == 2:
        steps = Normal(0.0, 1.0).icdf(torch.linspace(0.05, 0.95, _GRID))
        latents["grid"] = torch.cartesian_prod(steps, steps)
    return {name: list(to_uint8(model.decode(z.to(device))).numpy()) for name, z in latents.items()}


def _synthesis(
    model: Autoencoder,
    protocol: EvaluationConfig,
    count: int,
    reference: Mapping[str, FeatureStatistics],
    device: torch.device,
) -> dict[str, MetricResult]:
    """Frechet distances of `count` pictures drawn from the prior. Raises ValueError for a model without one."""
    if not model.latent:
        raise ValueError("synthesis: prior needs a variational autoencoder; set it to none for this model")
    evaluator = GenerationEvaluator(protocol, device, reference=reference)
    with torch.inference_mode():
        for latents in drawn_latents(count, model.latent, seed=1).split(protocol.batch_size):
            evaluator.update_generated(model.decode(latents.to(device)))
    return evaluator.result()


def _write(
    job: Job,
    context: Context,
    evaluator: ReconstructionEvaluator,
    results: dict[str, MetricResult],
    examples: dict[str, list[Any]],
) -> None:
    write_metrics(job, context, results)
    evaluator.per_image().to_csv(context.build / "images.csv", index=False)
    evaluator.spectrum().to_csv(context.build / "spectrum.csv", index=False)
    arrays = {name: np.stack(values) for name, values in examples.items()}
    np.savez_compressed(context.build / "examples.npz", allow_pickle=False, **arrays)
