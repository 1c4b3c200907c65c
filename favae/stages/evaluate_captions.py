"""Stage `evaluate_captions`: whether a thing named in a caption changes what the images show.

For the caption of each held-out image, images are sampled with and without the thing, from the same random numbers. A
segmenter says what they show. `caption_hat` is the share of images with a hat among those whose caption names one, minus the
share among the others; `caption_hair` the share of the pixels that are hair with "much hair" minus that with "little hair". The
same is measured for real images and their own captions (`caption_hat_real`): what the segmenter can see at this size.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from favae.config.cat import CaptionTestConfig
from favae.data.mask_captions import THINGS, WORN, Face, class_shares
from favae.data.pixels import side_by_side, to_float
from favae.evaluation.protocol import MetricResult, measured, not_measured
from favae.inference.text_to_image import sample_images
from favae.jobs.grid import Job
from favae.models.segmenter import Segmenter
from favae.results.publish import Outcome
from favae.runtime import paths
from favae.runtime.cpu import choose_device, device_name
from favae.runtime.progress import Progress
from favae.stages.context import Context, config_of
from favae.stages.inputs import Inputs
from favae.stages.outputs import save_image, values_of, write_metrics

_SHOWN = 8  # captions of the image that people look at
_HAIR = "hair"

Draw = Callable[[list[str]], Iterator[Tensor]]  # images [B,C,H,W] of captions, in batches


def run(job: Job, context: Context) -> Outcome:
    """Write `metrics.json`, `images.csv` (one row per caption) and `samples.png` (without and with each thing)."""
    config, inputs = config_of(job, CaptionTestConfig), Inputs(job)
    device = choose_device(context.threads)
    cat, decoder, segmenter = inputs.text_to_image(device), inputs.tokenizer(device), inputs.segmenter(device)
    split = inputs.split(config.split)
    rows = range(len(split) if config.n == "all" else min(config.n, len(split)))
    faces = [Face.parse(split.captions(row)[0]) for row in rows]
    progress = Progress(f"sampling {job.cell}", 2 * len(THINGS) * len(faces))

    def draw(captions: list[str]) -> Iterator[Tensor]:
        for _, images in sample_images(cat, decoder, captions, config.guidance, config, device):
            yield images
            progress.advance(len(images))

    effects, shown = effects_of(faces, draw, segmenter)
    progress.close()
    parts = (rows[first : first + config.batch_size] for first in range(0, len(rows), config.batch_size))
    real = real_effects(faces, (to_float(split.images(part).to(device)) for part in parts), segmenter)
    record = {
        "split": config.split,
        "guidance": config.guidance,
        "seed": config.seed,
        "segmenter": job.roles["segmenter"],
    }
    results = {
        f"{name}_{config.split}": measured(float(values.mean()), len(values), record)
        for name, values in effects.items()
    } | {f"{name}_real_{config.split}": _of_real(value, len(faces), record) for name, value in real.items()}
    write_metrics(context.build, results, inputs.dataset.resize)
    effects.insert(0, "id", [split.ids[row] for row in rows])
    effects.to_csv(context.build / paths.IMAGES, index=False)
    save_image(shown, context.build / paths.SAMPLES)
    return Outcome(
        {"cat": job.roles["cat"], "segmenter": job.roles["segmenter"], "captions": len(faces)},
        metrics=values_of(results),
        artifacts=[paths.SAMPLES],
        device=device_name(device),
        gpus=int(device.type == "cuda"),
    )


def effects_of(faces: Sequence[Face], draw: Draw, segmenter: Segmenter) -> tuple[pd.DataFrame, Tensor]:
    """For each face (row) and thing (column `caption_<thing>`): what is there with it minus what is there without it.

    Also an image for people: a row per thing, without and with it in turn.
    """
    columns: dict[str, np.ndarray] = {}
    shown: list[Tensor] = []
    for part, name in THINGS.items():
        without, including = (
            _seen(draw(_with(faces, part, named=named)), part, segmenter, shown) for named in (False, True)
        )
        columns[f"caption_{name}"] = including - without
    return pd.DataFrame(columns), side_by_side(shown)


def _seen(batches: Iterable[Tensor], part: str, segmenter: Segmenter, shown: list[Tensor]) -> np.ndarray:
    """What the segmenter finds of a thing in each image; the first images are added to `shown`."""
    found: list[np.ndarray] = []
    first: list[Tensor] = []
    for images in batches:
        found.append(_found(segmenter, images)[part])
        first += list(images[: _SHOWN - len(first)].cpu())
    shown.append(torch.stack(first))
    return np.concatenate(found)


def real_effects(faces: Sequence[Face], images: Iterable[Tensor], segmenter: Segmenter) -> dict[str, float | None]:
    """The same of real images [B,3,H,W] in [-1, 1], by their own captions; None where a caption is in no or in all images."""
    found = pd.concat([pd.DataFrame(_found(segmenter, batch)) for batch in images], ignore_index=True)
    effects: dict[str, float | None] = {}
    for part, name in THINGS.items():
        named = np.array([_is_named(face, part) for face in faces])
        one, other = found[part][named == 1], found[part][named == 0]
        effects[f"caption_{name}"] = float(one.mean() - other.mean()) if len(one) and len(other) else None
    return effects


def _with(faces: Sequence[Face], part: str, *, named: bool) -> list[str]:
    """The captions with or without a thing; all else as it is."""
    if part == _HAIR:
        return [replace(face, hair="much" if named else "little").caption for face in faces]
    return [replace(face, worn=face.worn | {part} if named else face.worn - {part}).caption for face in faces]


def _is_named(face: Face, part: str) -> int:
    """1 if the caption names a thing, 0 if not, -1 for some hair, which is neither much nor little."""
    if part == _HAIR:
        return {"much": 1, "little": 0}.get(face.hair, -1)
    return int(part in face.worn)


@torch.inference_mode()
def _found(segmenter: Segmenter, images: Tensor) -> dict[str, np.ndarray]:
    """What the segmenter finds in images [B,3,H,W] in [-1, 1]: 1 or 0 for what is worn, the share of the pixels for hair."""
    shares = [class_shares(labels) for labels in segmenter(images).argmax(1).cpu().numpy()]
    worn = [Face.of(share).worn for share in shares]
    found = {part: np.array([float(part in things) for things in worn]) for part in WORN}
    return found | {_HAIR: np.array([share[_HAIR] for share in shares])}


def _of_real(value: float | None, n: int, record: dict[str, Any]) -> MetricResult:
    if value is None:
        return not_measured("captions name it in no image, or in all", record)
    return measured(value, n, record)
