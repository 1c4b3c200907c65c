"""A trained model on a user's own pictures, of any size and mode."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from favae.data.images import read_image, to_array
from favae.data.pixels import to_float, to_uint8
from favae.inference.export import load_autoencoder
from favae.models import FAVAE
from favae.runtime.files import replacing

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}


def reconstruct_any_size(model: FAVAE, x_BCHW: Tensor) -> Tensor:
    """Reconstruct [B,C,H,W] in [-1, 1] of any H and W: padded at right and bottom to a multiple of the factor, cut back after."""
    height, width = x_BCHW.shape[-2:]
    factor = model.downsampling_factor
    padded = F.pad(x_BCHW, (0, -width % factor, 0, -height % factor), mode="replicate")
    return model.reconstruct(padded)[..., :height, :width]


def picture_files(paths: Iterable[Path]) -> list[Path]:
    """Picture files among files and folders, in order. Raises FileNotFoundError for a path that is not there."""
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
        found += sorted(p for p in path.iterdir() if p.suffix.lower() in _SUFFIXES) if path.is_dir() else [path]
    if not found:
        raise FileNotFoundError(f"no pictures ({', '.join(sorted(_SUFFIXES))}) in {', '.join(map(str, paths))}")
    return found


@torch.inference_mode()
def reconstruct_files(images: Iterable[Path], model_folder: Path, out: Path) -> Iterator[Path]:
    """Write `<name>.png` for each picture; yields the written paths.

    Raises:
        FileNotFoundError, ValueError: a picture or the model cannot be read; the message names it.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load_autoencoder(model_folder, device)
    channels = model.config["image_channels"]
    for path in picture_files(images):
        pixels = torch.tensor(to_array(read_image(path, channels).image))
        stored = pixels.permute(2, 0, 1)[None]
        picture = reconstruct_any_size(model, to_float(stored.to(device)))
        target = out / f"{path.stem}.png"
        with replacing(target) as temporary:
            Image.fromarray(to_uint8(picture)[0].numpy()).save(temporary, format="PNG")
        yield target
