"""From a file's bytes to 8-bit pixels, with every way in which a published picture can be wrong named."""

import hashlib
import io
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I")
_TRANSPARENT_MODES = ("RGBA", "LA", "PA", "RGBa", "La")
# What Pillow raises for broken files: its own errors are OSError or SyntaxError, its parsers let the others through.
_DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, Image.DecompressionBombError)
_EXIF_ORIENTATION = 0x0112


class BadImage(ValueError):
    """A picture that cannot be used, and why."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded picture: mode RGB or L, the SHA-256 of the file, and what had to be changed (such as `CMYK to RGB`)."""

    image: Image.Image
    sha256: str
    changes: tuple[str, ...]


def read_image(
    path: Path,
    channels: Literal[1, 3] = 3,
    non_rgb: Literal["convert", "bad"] = "convert",
    exif: Literal["apply", "ignore"] = "apply",
) -> Decoded:
    """Read, check and fully decode one picture file.

    PNG checksums are verified and every format is decoded to its last line, so truncation is found. A JPEG with
    damaged bytes in the middle can decode without complaint; only the file's hash, in the index, tells it apart.

    Args:
        path: file to read; the first frame of a file with several.
        channels: 3 for mode RGB, 1 for mode L (ITU-R 601 luma).
        non_rgb: convert other modes, or treat them as bad.
        exif: turn the picture as its EXIF orientation says, or leave it as stored.

    Raises:
        BadImage: missing, empty, not an image, truncated, corrupt, or in a mode that is not accepted.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise BadImage(str(path), "missing") from None
    except OSError as error:
        raise BadImage(str(path), f"cannot be read: {error}") from None
    if not data:
        raise BadImage(str(path), "empty file")
    image, changes = _decode(data, str(path), exif)
    wanted = "RGB" if channels == 3 else "L"
    if image.mode != wanted:
        change = f"{image.mode} to {wanted}"
        if non_rgb == "bad":
            raise BadImage(str(path), f"mode {image.mode}, expected {wanted} (set non_rgb: convert to accept it)")
        image = _convert(image, wanted, str(path))
        changes.append(change)
    return Decoded(image, hashlib.sha256(data).hexdigest(), tuple(changes))


def resize(image: Image.Image, size: int, method: Literal["squash", "center_crop"]) -> Image.Image:
    """Resize to `size` x `size` by Pillow's antialiased bilinear filter, as torchvision does with PIL images.

    `squash` is `Resize((size, size))`; `center_crop` is `Resize(size)` followed by `CenterCrop(size)`.
    """
    if method == "squash":
        return image if image.size == (size, size) else image.resize((size, size), Image.Resampling.BILINEAR)
    short, long = sorted(image.size)
    scaled_long = int(size * long / short)
    width, height = (size, scaled_long) if image.width <= image.height else (scaled_long, size)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image.crop((left, top, left + size, top + size))


def to_array(image: Image.Image) -> np.ndarray:
    """Pixels of a mode RGB or L picture as uint8 [H,W,3] or [H,W,1]."""
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def binarize(pixels: np.ndarray, method: Literal["threshold", "sample"], seed: int) -> np.ndarray:
    """uint8 pixels made 0 or 255: 255 above half of 255, or with probability pixel / 255 by draws that `seed` decides."""
    if method == "threshold":
        limit: np.ndarray | float = 127.5
    else:
        words = np.random.Philox(seed).random_raw(pixels.size).reshape(pixels.shape)
        limit = 255 * ((words >> np.uint64(11)) / 2**53)  # uniform in [0, 255): 0 stays black, 255 white
    return np.where(pixels > limit, np.uint8(255), np.uint8(0))


def _decode(data: bytes, path: str, exif: Literal["apply", "ignore"]) -> tuple[Image.Image, list[str]]:
    try:
        image = Image.open(io.BytesIO(data))
        if image.format == "PNG":  # which alone has checksums; verifying them consumes the file, so it is opened again
            image.verify()
            image = Image.open(io.BytesIO(data))
        image.load()
        if exif == "apply" and image.getexif().get(_EXIF_ORIENTATION, 1) != 1:
            return ImageOps.exif_transpose(image), ["EXIF rotation"]
    except Image.UnidentifiedImageError:
        raise BadImage(path, "not an image, or damaged at the start") from None
    except _DECODER_ERRORS as error:
        raise BadImage(path, f"truncated or corrupt: {error}") from None
    return image, []


def _convert(image: Image.Image, wanted: str, path: str) -> Image.Image:
    if image.mode in SIXTEEN_BIT_MODES:
        return _from_sixteen_bit(image, path).convert(wanted)
    if image.mode == "F":
        raise BadImage(path, "floating-point pixels have no defined white; expected 8 or 16 bits a channel")
    if image.mode in _TRANSPARENT_MODES or "transparency" in image.info:
        on_white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(on_white, image.convert("RGBA"))
    return image.convert(wanted)


def _from_sixteen_bit(image: Image.Image, path: str) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise BadImage(path, f"pixel values {values.min()}..{values.max()}; expected 8 or 16 bits a channel")
    return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8), mode="L")
