"""Stage `evaluate_generator`: images of a trained generator against the real ones of a split.

With conditions, every image is generated from that of a real image and compared with it; without, images are drawn.
"""

from typing import Any

import pandas as pd
import torch
from torch import Tensor

from favae.config.evaluation import GeneratorEvaluationConfig
from favae.data.conditions import shown
from favae.data.dataset import PreparedSplit, example_rows, iterate_batches
from favae.data.pixels import to_uint8
from favae.evaluation.evaluators import GenerationEvaluator, ReconstructionEvaluator
from favae.evaluation.image_metrics import output_levels, stored_levels
from favae.evaluation.labels import LabelScores
from favae.evaluation.sets import SetMetrics
from favae.inference.generate import TrainedGenerator
from favae.jobs.grid import Job
from favae.results.publish import Outcome
from favae.runtime import paths
from favae.runtime.cpu import choose_device, device_name
from favae.runtime.progress import track
from favae.stages.context import Context, config_of
from favae.stages.inputs import Inputs
from favae.stages.outputs import values_of, write_examples, write_metrics

_EXAMPLES = 8
_DRAWN = 64  # drawn images that figures show

Examples = dict[str, list[Any]]


def run(job: Job, context: Context) -> Outcome:
    """Write `metrics.json`, `images.csv` (one row per pair), `spectrum.csv` and `examples.npz`."""
    protocol, inputs = config_of(job, GeneratorEvaluationConfig), Inputs(job)
    device = choose_device(context.threads)
    model, split = inputs.generator(device), inputs.split(protocol.split)
    reference, others = inputs.reference(protocol.split), inputs.reference("train")
    if model.condition is None:
        drawn = GenerationEvaluator(protocol, device, reference=reference)
        sets = SetMetrics(protocol, drawn.meters)
        examples, results = _drawn(model, drawn, sets, split, job.cell), drawn.result()
        table, spectrum = pd.DataFrame({"id": []}), sets.spectrum()  # a drawn image has no row of its own
    else:
        pairs = ReconstructionEvaluator(protocol, device, images="translation", reference=reference)
        sets, labels = SetMetrics(protocol, pairs.meters), LabelScores(protocol, device)
        examples = _translated(model, pairs, sets, labels, split, job.cell)
        results = pairs.result() | labels.result()
        table, spectrum = pairs.per_image(), pairs.spectrum()
    results |= sets.result(others)
    write_metrics(context.build, results, inputs.dataset.resize)
    table.to_csv(context.build / paths.IMAGES, index=False)
    spectrum.to_csv(context.build / paths.SPECTRUM, index=False)
    write_examples(context.build, examples)
    return Outcome(
        {"model": job.roles["model"], "dataset": job.roles["dataset"], "images": sets.fake.n, "real": sets.real.n},
        metrics=values_of(results),
        device=device_name(device),
        gpus=int(device.type == "cuda"),
    )


def _translated(
    model: TrainedGenerator,
    evaluator: ReconstructionEvaluator,
    sets: SetMetrics,
    labels: LabelScores,
    split: PreparedSplit,
    cell: str,
) -> Examples:
    """Generate from the first `n` conditions of the split; returns examples of condition, original and generated image."""
    protocol = evaluator.protocol
    assert isinstance(protocol, GeneratorEvaluationConfig) and model.condition is not None
    count = len(split) if protocol.n == "all" else min(protocol.n, len(split))
    wanted, channels = set(example_rows(split, count, _EXAMPLES)), split.planes["image"]
    examples: Examples = {"original": [], "reconstruction": [], "condition": [], "id": []}
    torch.manual_seed(protocol.seed)
    starts = range(0, count, protocol.batch_size)
    for first in track(starts, f"evaluating {cell}", len(starts)):
        rows = range(first, min(first + protocol.batch_size, count))
        stored = split.stored(rows).to(evaluator.device)
        real, condition = stored[:, :channels], stored[:, channels:]
        fake = model.translate(condition, protocol.test_mode)
        ids = [split.ids[row] for row in rows]
        evaluator.update(real, fake, None, ids)
        sets.add_real(stored_levels(real))
        levels = output_levels(fake, protocol.quantize)
        sets.add_fake(levels, evaluator.features)
        labels.add(levels, condition[:, 0])
        for i, row in enumerate(rows):
            if row in wanted:
                drawn = to_uint8(shown(condition[i : i + 1], model.condition))[0].numpy()
                values = real[i].permute(1, 2, 0).cpu().numpy(), to_uint8(fake[i : i + 1])[0].numpy(), drawn, ids[i]
                for name, value in zip(examples, values, strict=True):
                    examples[name].append(value)
    return examples


def _drawn(
    model: TrainedGenerator, evaluator: GenerationEvaluator, sets: SetMetrics, split: PreparedSplit, cell: str
) -> Examples:
    """Draw `n` images (`all`: as many as the split has) and add all real ones; returns the first images of both."""
    protocol = evaluator.protocol
    assert isinstance(protocol, GeneratorEvaluationConfig)
    count, size = len(split) if protocol.n == "all" else protocol.n, protocol.batch_size
    images = model.draw(count, size, protocol.seed, protocol.truncation, protocol.noise)
    shown_first: list[Tensor] = []
    for fake in track(images, f"drawing {cell}", -(-count // size)):
        evaluator.update_generated(fake)
        sets.add_fake(output_levels(fake, protocol.quantize), evaluator.features)
        if sum(map(len, shown_first)) < _DRAWN:
            shown_first.append(to_uint8(fake))
    for _, stored in iterate_batches(split, size):
        stored = stored.to(evaluator.device)
        evaluator.update_real(stored)
        sets.add_real(stored_levels(stored))
    return {"drawn": list(torch.cat(shown_first)[:_DRAWN].numpy())}
