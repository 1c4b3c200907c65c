"""Stage `evaluate_reconstruction`: a trained autoencoder on the held-out split of a data set, its own or another (zero-shot)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Normal

from favae.config.evaluation import EvaluationConfig
from favae.data.dataset import PreparedSplit, example_rows, iterate_batches
from favae.data.pixels import to_float, to_uint8
from favae.evaluation.evaluators import GenerationEvaluator, ReconstructionEvaluator
from favae.evaluation.frechet import FeatureStatistics
from favae.evaluation.protocol import MetricResult
from favae.jobs.grid import Job
from favae.models import Autoencoder
from favae.results.publish import Outcome
from favae.runtime import paths
from favae.runtime.cpu import choose_device, device_name
from favae.runtime.progress import track
from favae.stages.context import Context, config_of
from favae.stages.inputs import Inputs
from favae.stages.outputs import values_of, write_examples, write_metrics
from favae.training.companions import drawn_latents

_EXAMPLES = 8
_DRAWN = 64  # images from the prior
_GRID = 12  # of a side of the latent grid

Reconstruct = Callable[[Tensor, range], tuple[Tensor, Tensor | None]]
Examples = dict[str, list[Any]]


def run(job: Job, context: Context) -> Outcome:
    """Write `metrics.json`, `images.csv` (one row per image), `spectrum.csv` and `examples.npz`."""
    protocol, inputs = config_of(job, EvaluationConfig), Inputs(job)
    device = choose_device(context.threads)
    model, split = inputs.model(device), inputs.split(protocol.split)
    reference = inputs.reference(protocol.split)
    evaluator = ReconstructionEvaluator(protocol, device, codebook_size=model.codes, reference=reference)
    count = len(split) if protocol.n == "all" else min(protocol.n, len(split))
    examples = _evaluate(evaluator, _reconstruction(model, protocol, count), split, count, f"evaluating {job.cell}")
    results = evaluator.result()
    if model.latent:
        examples |= _from_prior(model)
    if protocol.synthesis == "prior":
        results |= _synthesis(model, protocol, count, reference, device)
    write_metrics(context.build, results, inputs.dataset.resize)
    evaluator.per_image().to_csv(context.build / paths.IMAGES, index=False)
    evaluator.spectrum().to_csv(context.build / paths.SPECTRUM, index=False)
    write_examples(context.build, examples)
    return Outcome(
        {"model": job.roles["model"], "dataset": job.roles["dataset"], "images": count},
        metrics=values_of(results),
        device=device_name(device),
        gpus=int(device.type == "cuda"),
    )


@torch.inference_mode()
def _evaluate(
    evaluator: ReconstructionEvaluator, reconstruct: Reconstruct, split: PreparedSplit, count: int, title: str
) -> Examples:
    """Show the first `count` images and their reconstructions to the evaluator; returns the examples among them."""
    size, wanted = evaluator.protocol.batch_size, set(example_rows(split, count, _EXAMPLES))
    examples: Examples = {"original": [], "reconstruction": [], "id": []}
    for rows, stored in track(iterate_batches(split, size, count=count), title, -(-count // size)):
        stored = stored.to(evaluator.device)
        image, indices = reconstruct(to_float(stored), rows)
        ids = [split.ids[row] for row in rows]
        evaluator.update(stored, image, indices, ids)
        _collect(examples, [i for i, row in enumerate(rows) if row in wanted], stored, image, ids)
    return examples


def _collect(examples: Examples, chosen: Sequence[int], stored: Tensor, image: Tensor, ids: Sequence[str]) -> None:
    for i in chosen:
        examples["original"].append(stored[i].permute(1, 2, 0).expand(-1, -1, 3).cpu().numpy())
        examples["reconstruction"].append(to_uint8(image[i : i + 1])[0].numpy())
        examples["id"].append(ids[i])


def _reconstruction(model: Autoencoder, protocol: EvaluationConfig, count: int) -> Reconstruct:
    """A function of images and their rows in the split: reconstructions, and code indices where there is a codebook."""
    noise = drawn_latents(count, model.latent) if model.latent and protocol.latent == "sample" else None

    def reconstruct(image: Tensor, rows: range) -> tuple[Tensor, Tensor | None]:
        own = None if noise is None else noise[rows.start : rows.stop].to(image.device)
        return model.reconstruct_with_codes(image, own)

    return reconstruct


@torch.inference_mode()
def _from_prior(model: Autoencoder) -> Examples:
    """Images of latents drawn from N(0, 1) and, of two-dimensional ones, of a grid of its quantiles (Kingma and Welling)."""
    device = next(model.parameters()).device
    latents = {"drawn": drawn_latents(_DRAWN, model.latent)}
    if model.latent == 2:
        steps = Normal(0.0, 1.0).icdf(torch.linspace(0.05, 0.95, _GRID))
        latents["grid"] = torch.cartesian_prod(steps, steps)
    return {name: list(to_uint8(model.decode(z.to(device))).numpy()) for name, z in latents.items()}


@torch.inference_mode()
def _synthesis(
    model: Autoencoder,
    protocol: EvaluationConfig,
    count: int,
    reference: Mapping[str, FeatureStatistics],
    device: torch.device,
) -> dict[str, MetricResult]:
    """Frechet distances of `count` images drawn from the prior. Raises ValueError for a model without one."""
    if not model.latent:
        raise ValueError("synthesis: prior needs a variational autoencoder; set it to none for this model")
    evaluator = GenerationEvaluator(protocol, device, reference=reference)
    for latents in drawn_latents(count, model.latent, seed=1).split(protocol.batch_size):
        evaluator.update_generated(model.decode(latents.to(device)))
    return evaluator.result()
