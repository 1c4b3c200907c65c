"""Images from a user's own label maps, edges or other conditions, with a trained pix2pix or SPADE."""

import logging
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from favae.config.pairs import LabelsConditionConfig
from favae.data.images import BadImage, read_image, squash, to_array
from favae.data.label_maps import FACADES_COLOURS, nearest_colour, read_instance_map, read_label_map, resize_map
from favae.data.pixels import to_uint8
from favae.data.walk import shown
from favae.inference.export import refuse_misfit, refuse_not_finite
from favae.inference.generate import TrainedGenerator, load_generator
from favae.inference.reconstruct import Reconstructed
from favae.inference.targets import made_from, plan, refuse_to_replace
from favae.models.generators import build_generator
from favae.runtime.files import replacing

log = logging.getLogger(__name__)
Mode = Literal["auto", "train", "eval"]


def translate_files(
    images: Iterable[Path],
    model_folder: Path,
    out: Path,
    instances: Path | None = None,
    mode: Mode = "auto",
    seed: int = 0,
) -> Iterator[Reconstructed]:
    """Generate an image from each condition among files and folders, at the model's size, into a PNG file in `out`.

    Args:
        images: label maps (class indices, or the colours of Facades), edges or photographs, as the model was trained.
        model_folder: folder of the trained model.
        out: folder of the images, see `targets.plan` for their names.
        instances: folder of instance maps with the names and subfolders of the label maps, for a model that was trained with
            their borders.
        mode: `train` uses batch statistics and dropout, as pix2pix is tested; `eval` neither; `auto` is the former for
            pix2pix and the latter for others.
        seed: of dropout; the same for every image, so that images do not depend on each other.

    Raises:
        FileNotFoundError, ValueError: the model cannot be read or makes no images from conditions, or a file that this
            command did not write would be overwritten. Nothing is written in these cases.
    """
    model = _trained(model_folder)
    condition = model.condition
    if condition is None:
        raise ValueError(f"{model_folder}: a {model.model['kind']} makes images from latents; use favae sample")
    if isinstance(condition, LabelsConditionConfig) and condition.edges and instances is None:
        raise ValueError(f"{model_folder}: the model was trained with borders of instances; give --instances FOLDER")
    test_mode = ("train" if model.model["kind"] == "pix2pix" else "eval") if mode == "auto" else mode
    options = f"{test_mode}, seed {seed}, instances {instances.resolve() if instances else 'none'}"
    planned, unused = plan(list(images), out, model_folder, options)
    for line in unused.lines():
        log.warning("%s", line)
    for item in planned:
        try:
            beside = instances / item.below / item.source.name if instances else None
            stored = _stored(item.source, model, beside)
            torch.manual_seed(seed)
            pixels = to_uint8(model.translate(torch.from_numpy(stored)[None], test_mode))[0].numpy()
            _save(pixels, item.target, made_from(item.source, model_folder, options=options))
        except BadImage as error:
            yield Reconstructed(item.source, None, error.reason)
        except OSError as error:
            problem = f"{shown(item.target)} cannot be written: {error.strerror or error}"
            yield Reconstructed(item.source, None, problem)
        except MemoryError:
            yield Reconstructed(item.source, None, "there is not enough memory for an image of this size")
        else:
            yield Reconstructed(item.source, item.target)


def _stored(path: Path, model: TrainedGenerator, instance_map: Path | None) -> np.ndarray:
    """Planes of a condition at the model's size, uint8 [K,H,W], as a prepared data set stores them. Raises BadImage."""
    condition, size = model.condition, model.size
    if not isinstance(condition, LabelsConditionConfig):
        return to_array(squash(read_image(path).image, size, "bicubic")).transpose(2, 0, 1).copy()
    if condition.colours == "facades":
        labels = nearest_colour(to_array(read_image(path).image), FACADES_COLOURS)
    else:
        labels = read_label_map(path, condition.classes, condition.dont_care != "refuse")
    planes = [resize_map(labels, size)]
    if condition.edges and instance_map is not None:
        ids = read_instance_map(instance_map)
        if ids.shape != labels.shape:
            raise BadImage(str(path), f"its instance map has the size {ids.shape}, expected {labels.shape}")
        ids = resize_map(ids, size)
        planes += [(ids >> 8).astype(np.uint8), (ids & 0xFF).astype(np.uint8)]
    return np.stack(planes)


def sample_file(
    model_folder: Path, out: Path, count: int, seed: int = 0, truncation: float = 1.0, single: bool = False
) -> list[Path]:
    """Draw images of a trained StyleGAN2 into a grid, `out`/seed-<seed>.png, and with `single` also each into a file.

    The same seed gives the same images on every machine of one kind; noise is the model's own.

    Raises:
        FileNotFoundError, ValueError: the model cannot be read, or makes images from conditions; count below 1; a
            file that no command of favae wrote would be replaced. Nothing is written in these cases.
    """
    if count < 1:
        raise ValueError(f"the number of images is {count}; expected at least 1")
    if not math.isfinite(truncation):
        raise ValueError(f"the truncation is {truncation}; expected a number")
    model = _trained(model_folder)
    if model.condition is not None:
        raise ValueError(f"{model_folder}: a {model.model['kind']} makes images from conditions; use favae translate")
    files = [out / f"seed-{seed}.png", *(out / f"seed-{seed}-{n:04d}.png" for n in range(count if single else 0))]
    options = f"{count} images, truncation {truncation}"
    for path in files:
        refuse_to_replace(path, model_folder, options=options)
    drawn = [to_uint8(part) for part in model.draw(count, 16, seed, truncation, noise="fixed")]
    pixels = torch.cat(drawn).numpy()
    for path, image in zip(files, [grid_of(pixels), *pixels], strict=False):
        _save(image, path, made_from(model_folder, options=options))
    return files


def _trained(folder: Path) -> TrainedGenerator:
    refuse_misfit(folder, "generator", build_generator)
    model = load_generator(folder, "cuda" if torch.cuda.is_available() else "cpu")
    refuse_not_finite(model.network, folder)
    return model


def grid_of(images_NHW3: np.ndarray) -> np.ndarray:
    """Images as one, in about as many columns as rows; places without an image are white."""
    count, height, width = images_NHW3.shape[:3]
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    sheet = np.full((rows * columns, height, width, 3), 255, np.uint8)
    sheet[:count] = images_NHW3
    return sheet.reshape(rows, columns, height, width, 3).swapaxes(1, 2).reshape(rows * height, columns * width, 3)


def _save(pixels: np.ndarray, target: Path, origin: PngInfo) -> None:
    with replacing(target) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG", pnginfo=origin)
