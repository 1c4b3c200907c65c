"""Stage `generate_images`: sample CAT from held-out captions, decode, compare with real images."""

from typing import Any, cast

import numpy as np
import torch

from favae.config.cat import GenerateConfig
from favae.data.dataset import PreparedSplit
from favae.data.examples import example_rows
from favae.data.pixels import to_uint8
from favae.data.records import name_hash
from favae.evaluation.evaluators import GenerationEvaluator
from favae.evaluation.reference import load_reference
from favae.inference.export import load_autoencoder, load_text_to_image
from favae.jobs.grid import Job
from favae.runtime import paths
from favae.runtime.progress import Progress
from favae.stages.devices import choose_device
from favae.stages.evaluation import statistics_folder, write_metrics
from favae.stages.runner import Context


def run(job: Job, context: Context) -> None:
    """Write `metrics.json` (per guidance scale) and `examples.npz` (captions, real images, samples at each scale)."""
    config = cast(GenerateConfig, job.config)
    device = choose_device(context)
    cat = load_text_to_image(paths.result_dir(job.scale, "train_cat", job.roles["cat"]), device)
    decoder = load_autoencoder(paths.result_dir(job.scale, "train_autoencoder", job.roles["model"]), device)
    if decoder.quantizer.codes != cat.cat.codes:
        raise ValueError(f"{job.where}: CAT knows {cat.cat.codes} codes, the decoder {decoder.quantizer.codes}")
    split = PreparedSplit(
        paths.result_dir(job.scale, "prepare_dataset", job.roles["dataset"]) / "shards", config.protocol.split
    )
    prompts = _prompts(split, config)
    total = len(prompts) * len(config.guidance)
    progress = Progress(f"sampling {job.cell}", total)
    result: dict[str, Any] = {}
    shown = example_rows(split, len({row for row, _ in prompts}), config.examples)
    chosen = {next(i for i, (row, _) in enumerate(prompts) if row == wanted) for wanted in shown}
    examples: dict[str, list[Any]] = {"caption": [prompts[i][1] for i in sorted(chosen)], "real": []}
    examples["real"] = [split.images([prompts[i][0]])[0].permute(1, 2, 0).numpy() for i in sorted(chosen)]
    reference = load_reference(statistics_folder(job), config.protocol.split)
    everything = load_reference(statistics_folder(job), "all") if config.against == "split_and_all" else None
    for scale in config.guidance:
        evaluator = GenerationEvaluator(config.protocol, device, reference=reference)
        generator = torch.Generator(device).manual_seed(config.seed)
        samples = []
        for first in range(0, len(prompts), config.batch_size):
            batch = prompts[first : first + config.batch_size]
            picture = _sample(cat, decoder, [caption for _, caption in batch], scale, config, generator)
            evaluator.update_generated(picture)
            samples += [p for i, p in enumerate(to_uint8(picture).numpy(), first) if i in chosen]
            progress.advance(len(batch))
        examples[f"guidance_{scale:g}"] = samples
        measured = evaluator.result()
        if everything is not None:
            measured |= evaluator.result_against_all(everything)
        result |= {f"{name}_guidance{scale:g}": metric for name, metric in measured.items()}
    progress.close()
    write_metrics(job, context, result)
    arrays = {name: np.stack(values) for name, values in examples.items()}
    np.savez_compressed(context.build / "examples.npz", allow_pickle=False, **arrays)
    context.summary = {"cat": job.roles["cat"], "prompts": len(prompts)}


def _prompts(split: PreparedSplit, config: GenerateConfig) -> list[tuple[int, str]]:
    """(row, caption): `captions_per_image` captions of each held-out image, the protocol's `n` in all."""
    prompts = [(row, caption) for row in range(len(split)) for caption in _captions(split, row, config)]
    wanted = len(prompts) if config.protocol.n == "all" else config.protocol.n
    if not 0 < wanted <= len(prompts):
        raise ValueError(
            f"{split.folder}: the {split.split} split has {len(prompts):,} captions to sample from, the protocol asks "
            f"for n = {config.protocol.n}: lower n, or choose a data set with captions"
        )
    return prompts[:wanted]


def _captions(split: PreparedSplit, row: int, config: GenerateConfig) -> list[str]:
    """An image's captions that are drawn from. The random choice is a hash of seed, image and caption's number."""
    captions = split.captions(row)
    order = list(range(len(captions)))
    if config.captions == "random":
        order.sort(key=lambda number: name_hash(f"{config.seed}/{split.ids[row]}/{number}"))
    return [captions[number] for number in order[: config.captions_per_image]]


@torch.inference_mode()
def _sample(
    cat: Any, decoder: Any, captions: list[str], guidance: float, config: GenerateConfig, generator: torch.Generator
) -> torch.Tensor:
    text, mask = cat.embed(captions)
    indices = cat.cat.generate(
        text,
        mask,
        guidance=guidance,
        top_k=config.top_k,
        top_p=config.top_p,
        generator=generator,
        **({"temperature": config.temperature} if "temperature" in config.model_fields_set else {}),
    )
    side = decoder.latent_size
    return decoder.decode_indices(indices.view(-1, side, side))
