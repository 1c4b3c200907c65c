"""Reconstruct a user's own images, of any size and mode, with a trained model."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from favae.data.images import BadImage, image_size, read_image, to_array
from favae.data.walk import shown
from favae.inference.export import load_autoencoder, refuse_misfit, refuse_not_finite
from favae.inference.targets import Planned, made_from, plan
from favae.inference.tiling import reconstruct_pixels, tilings
from favae.models import FAVAE, build_autoencoder
from favae.runtime.cpu import keep_freed_memory, use_threads
from favae.runtime.files import replacing
from favae.runtime.progress import Progress

log = logging.getLogger(__name__)
_MOST_WORKERS = 4  # each thread needs the memory of one tile
_FIRST_OF_SEVERAL = "first of several frames"  # as `read_image` says it
_FEW_TILES = 8  # so few tiles take seconds: no progress bar


@dataclass(frozen=True)
class Reconstructed:
    """The result for one image: the file that was written, or the reason why there is none."""

    source: Path
    target: Path | None
    problem: str = ""


def reconstruct_files(images: Iterable[Path], model_folder: Path, out: Path) -> Iterator[Reconstructed]:
    """Reconstruct each image among files and folders into a PNG file in `out` (see `targets.plan` for its name).

    An image that cannot be read or written does not stop the others; its `problem` is the reason.

    Raises:
        FileNotFoundError, ValueError: the model cannot be read, or a file that this command did not write would be
            overwritten. Nothing is written in these cases.
    """
    planned, unused = plan(list(images), out, model_folder)
    for line in unused.lines():
        log.warning("%s", line)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    refuse_misfit(model_folder, "autoencoder", build_autoencoder)
    model = load_autoencoder(model_folder, device)
    refuse_not_finite(model, model_folder)
    threads = torch.get_num_threads()
    if device == "cpu":
        use_threads(threads)
        keep_freed_memory()
    tiles = [_tiles(model, item.source) for item in planned]
    progress = Progress("reconstruct", sum(tiles)) if sum(tiles) > _FEW_TILES else None
    with closing(progress) if progress else nullcontext():
        for item, expected in zip(planned, tiles, strict=True):
            # Processing several tiles at once is faster than using several threads per tile, because these wait for one
            # another.
            workers = min(threads, expected, _MOST_WORKERS) if device == "cpu" else 1
            torch.set_num_threads(max(1, threads // workers))
            before = progress.done if progress else 0
            yield _reconstruct(model, item, made_from(item.source, model_folder), device, progress, workers)
            if progress:
                progress.advance(before + expected - progress.done)
    torch.set_num_threads(threads)


def _tiles(model: FAVAE, source: Path) -> int:
    """Number of tiles of an image, 1 if it cannot be read."""
    try:
        width, height = image_size(source)
    except BadImage:
        return 1
    down, across = tilings(model, height, width)
    return len(down.starts) * len(across.starts)


def _reconstruct(
    model: FAVAE, item: Planned, origin: PngInfo, device: str, progress: Progress | None, workers: int
) -> Reconstructed:
    try:
        decoded = read_image(item.source, model.config["image_channels"])
        if _FIRST_OF_SEVERAL in decoded.changes:
            log.warning("%s: %s is reconstructed", shown(item.source), _FIRST_OF_SEVERAL)
        advance = progress.advance if progress else lambda: None
        result = reconstruct_pixels(model, to_array(decoded.image), device, advance, workers)
        with replacing(item.target) as temporary:
            Image.fromarray(result).save(temporary, format="PNG", pnginfo=origin)
    except BadImage as error:
        return Reconstructed(item.source, None, error.reason)
    except OSError as error:
        return Reconstructed(item.source, None, f"{shown(item.target)} cannot be written: {error.strerror or error}")
    except MemoryError:
        return Reconstructed(item.source, None, "there is not enough memory for an image of this size")
    return Reconstructed(item.source, item.target)
