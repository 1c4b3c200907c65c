"""Stage `generate_images`: sample CAT for held-out captions, decode, compare with real images."""

from collections.abc import Collection
from typing import Any

import numpy as np
from torch import Tensor

from favae.config.cat import GenerateConfig
from favae.data.dataset import PreparedSplit, example_rows
from favae.data.pixels import to_uint8
from favae.data.records import name_hash
from favae.evaluation.evaluators import GenerationEvaluator
from favae.inference.text_to_image import sample_images
from favae.jobs.grid import Job
from favae.results.publish import Outcome
from favae.runtime.cpu import choose_device, device_name
from favae.runtime.progress import Progress
from favae.stages.context import Context, config_of
from favae.stages.inputs import Inputs
from favae.stages.outputs import values_of, write_examples, write_metrics


def run(job: Job, context: Context) -> Outcome:
    """Write `metrics.json` (per guidance scale) and `examples.npz` (captions, real images, samples at each scale)."""
    config, inputs = config_of(job, GenerateConfig), Inputs(job)
    device = choose_device(context.threads)
    cat, decoder = inputs.text_to_image(device), inputs.tokenizer(device)
    split = inputs.split(config.protocol.split)
    prompts = prompts_of(split, config)
    captions = [caption for _, caption in prompts]
    shown = _shown(split, prompts, config.examples)
    examples: dict[str, list[Any]] = {
        "caption": [captions[i] for i in shown],
        "real": [split.images([prompts[i][0]])[0].permute(1, 2, 0).numpy() for i in shown],
    }
    reference = inputs.reference(config.protocol.split)
    everything = inputs.reference("all") if config.against == "split_and_all" else None
    progress = Progress(f"sampling {job.cell}", len(prompts) * len(config.guidance))
    results: dict[str, Any] = {}
    for guidance in config.guidance:
        evaluator = GenerationEvaluator(config.protocol, device, reference=reference)
        samples: list[np.ndarray] = []
        for first, image in sample_images(cat, decoder, captions, guidance, config, device):
            evaluator.update_generated(image)
            samples += _chosen(image, first, shown)
            progress.advance(len(image))
        examples[f"guidance_{guidance:g}"] = samples
        measured = evaluator.result()
        if everything is not None:
            measured |= evaluator.result_against_all(everything)
        results |= {f"{name}_guidance{guidance:g}": metric for name, metric in measured.items()}
    progress.close()
    write_metrics(context.build, results, inputs.dataset.resize)
    write_examples(context.build, examples)
    return Outcome(
        {"cat": job.roles["cat"], "prompts": len(prompts)},
        metrics=values_of(results),
        device=device_name(device),
        gpus=int(device.type == "cuda"),
    )


def _shown(split: PreparedSplit, prompts: list[tuple[int, str]], wanted: int) -> list[int]:
    """Indices of the prompts that figures show, in order: the first prompt of each example image."""
    rows = example_rows(split, len({row for row, _ in prompts}), wanted)
    return sorted({next(i for i, (row, _) in enumerate(prompts) if row == example) for example in rows})


def _chosen(image: Tensor, first: int, shown: Collection[int]) -> list[np.ndarray]:
    """The images of a batch that figures show, uint8 [H,W,3]."""
    return [levels for i, levels in enumerate(to_uint8(image).numpy(), first) if i in shown]


def prompts_of(split: PreparedSplit, config: GenerateConfig) -> list[tuple[int, str]]:
    """(row, caption) pairs: `captions_per_image` captions per held-out image, `n` of the protocol in total."""
    prompts = [(row, caption) for row in range(len(split)) for caption in _captions(split, row, config)]
    wanted = len(prompts) if config.protocol.n == "all" else config.protocol.n
    if not 0 < wanted <= len(prompts):
        raise ValueError(
            f"{split.folder}: the {split.split} split has {len(prompts):,} captions to sample from, but the protocol "
            f"has n = {config.protocol.n}: reduce n, or choose a data set with captions"
        )
    return prompts[:wanted]


def _captions(split: PreparedSplit, row: int, config: GenerateConfig) -> list[str]:
    """The captions of an image for which samples are drawn. `random` orders them by a hash of seed, image and index."""
    captions = split.captions(row)
    order = list(range(len(captions)))
    if config.captions == "random":
        order.sort(key=lambda number: name_hash(f"{config.seed}/{split.ids[row]}/{number}"))
    return [captions[number] for number in order[: config.captions_per_image]]
