"""Decoding image files to 8-bit pixels, with a named reason for each kind of bad file."""

import functools
import hashlib
import io
import stat
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image, ImageCms, ImageOps

from favae.data.walk import shown

SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I")
MOST_MEGAPIXELS = 200  # the largest sensors of phones
_TRANSPARENT_MODES = ("RGBA", "LA", "PA", "RGBa", "La")
# Exceptions of Pillow for broken files: its own are OSError or SyntaxError; the others come from its parsers.
_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    AttributeError,
    AssertionError,
    LookupError,
    ArithmeticError,
    BufferError,
    RuntimeError,
    struct.error,
    zlib.error,
)
_EXIF_ORIENTATION = 0x0112
_PIXELS_PER_STRIP = 1 << 22  # pixels at a time in conversions that need wide intermediate values
_LARGEST_ASPECT = 16  # aspect ratio above which the centre is cut out before resizing instead of after
_BYTES_PER_PIXEL = 8  # of the widest format stored without compression: 16 bits, 4 channels
_BYTES_BESIDE_PIXELS = 64 << 20  # metadata, thumbnails, colour profiles
# Formats that Pillow reads only with an additional package, by the brand at byte 8 of the file or by its first bytes.
_BRANDS = {
    b"avif": "AVIF",
    b"avis": "AVIF",
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"), "HEIC"),
}
_STARTS = {
    b"\xff\x0a": "JPEG XL",
    b"\x00\x00\x00\x0cJXL ": "JPEG XL",
    b"FUJIFILMCCD-RAW": "camera raw",
    b"<svg": "SVG",
    b"8BPS": "Photoshop",
    b"%PDF": "PDF",
    b"\0\0\1\0": "ICO, a file of icons",
    b"icns": "ICNS, a file of icons",
}
# Containers hold an image of a size of its own, which Pillow decodes whatever the header that was checked says.
_NOT_READ = ("EPS", "ICO", "CUR", "ICNS", "BLP", "IPTC")
_READERS = {"HEIC": "pillow-heif", "AVIF": "pillow-avif-plugin", "JPEG XL": "pillow-jxl-plugin"}
# Pillow's own limit is off: `most_megapixels` is checked here, right after the header is read.
Image.MAX_IMAGE_PIXELS = None


class BadImage(ValueError):
    """An image that cannot be used, and why."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{shown(self.path)}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded image: mode RGB or L, the SHA-256 of the file, and the conversions made (such as `CMYK to RGB`)."""

    image: Image.Image
    sha256: str
    changes: tuple[str, ...]


def read_image(
    path: Path,
    channels: Literal[1, 3] = 3,
    non_rgb: Literal["convert", "bad"] = "convert",
    exif: Literal["apply", "ignore"] = "apply",
    most_megapixels: int = MOST_MEGAPIXELS,
) -> Decoded:
    """Read, check and fully decode one image file.

    PNG checksums are verified and every format is decoded to its last line, so truncation is detected. A JPEG with
    damaged bytes in the middle may decode without an error; only its hash in the index reveals it.

    Args:
        path: file to read; of a file with several frames, the first.
        channels: 3 for mode RGB, 1 for mode L (ITU-R 601 luma).
        non_rgb: convert other modes, or reject them as bad images.
        exif: apply the EXIF orientation, or ignore it.
        most_megapixels: larger images are rejected before decoding, so that they cannot fill the memory.

    Raises:
        BadImage: missing, empty, too large, not an image, in a format without a reader, truncated, corrupt, or in a
            mode that is not accepted.
    """
    data = _read_bytes(path, most_megapixels)
    try:
        image, changes = _decode(data, str(path), exif, most_megapixels)
        wanted = "RGB" if channels == 3 else "L"
        if image.mode != wanted:
            change = f"{image.mode} to {wanted}"
            if non_rgb == "bad":
                raise BadImage(str(path), f"mode {image.mode}, expected {wanted} (set non_rgb: convert to accept it)")
            image = _convert(image, wanted, str(path))
            changes.append(change)
    except MemoryError:
        raise BadImage(str(path), "too large: there is not enough memory to decode it") from None
    return Decoded(image, hashlib.sha256(data).hexdigest(), tuple(changes))


def read_stored(path: Path, most_megapixels: int = MOST_MEGAPIXELS) -> Image.Image:
    """An image file as it is stored, in its own mode, fully decoded. Raises BadImage as `read_image`."""
    try:
        return _decode(_read_bytes(path, most_megapixels), str(path), "ignore", most_megapixels)[0]
    except MemoryError:
        raise BadImage(str(path), "too large: there is not enough memory to decode it") from None


def image_size(path: Path, most_megapixels: int = MOST_MEGAPIXELS) -> tuple[int, int]:
    """(width, height) as stored, from the file's header alone. Raises BadImage as `read_image`."""
    try:
        _check_is_file(path)  # to open a pipe would wait for ever
        with path.open("rb") as file:
            return _open(file, str(path), most_megapixels).size
    except FileNotFoundError:
        raise BadImage(str(path), _missing(path)) from None
    except OSError as error:
        raise BadImage(str(path), f"cannot be read: {error.strerror or error}") from None


def resize(
    image: Image.Image, size: int, method: Literal["squash", "center_crop"], filter_name: str = "bilinear"
) -> Image.Image:
    """Resize to `size` x `size` with a filter of Pillow, antialiased; bilinear is what torchvision does for PIL images.

    `squash` is `Resize((size, size))`; `center_crop` is `Resize(size)` followed by `CenterCrop(size)`. If one side is
    more than 16 times the other, `center_crop` crops first: the same up to rounding (one or two levels), in bounded
    memory.
    """
    if method == "squash":
        return squash(image, (size, size), filter_name)
    kernel = Image.Resampling[filter_name.upper()]
    short, long = sorted(image.size)
    scaled_long = int(size * long / short)
    width, height = (size, scaled_long) if image.width <= image.height else (scaled_long, size)
    left, top = round((width - size) / 2), round((height - size) / 2)
    if long > _LARGEST_ASPECT * short:
        across, down = image.width / width, image.height / height
        box = (left * across, top * down, (left + size) * across, (top + size) * down)
        return image.resize((size, size), kernel, box=box)
    if (width, height) != image.size:
        image = image.resize((width, height), kernel)
    return image.crop((left, top, left + size, top + size))


def squash(image: Image.Image, size: tuple[int, int], filter_name: str) -> Image.Image:
    """Resize to height and width `size`, whatever the aspect ratio; unchanged if it has this size."""
    if image.size == size[::-1]:
        return image
    return image.resize(size[::-1], Image.Resampling[filter_name.upper()])


def to_array(image: Image.Image) -> np.ndarray:
    """Pixels of a mode RGB or L image as uint8 [H,W,3] or [H,W,1]."""
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def binarize(pixels: np.ndarray, method: Literal["threshold", "sample"], seed: int) -> np.ndarray:
    """Binarise uint8 pixels to 0 or 255: by the threshold 127.5, or at random with probability pixel / 255 and `seed`."""
    if method == "threshold":
        limit: np.ndarray | float = 127.5
    else:
        words = np.random.Philox(seed).random_raw(pixels.size).reshape(pixels.shape)
        limit = 255 * ((words >> np.uint64(11)) / 2**53)  # uniform in [0, 255): 0 stays black, 255 white
    return np.where(pixels > limit, np.uint8(255), np.uint8(0))


def _read_bytes(path: Path, most_megapixels: int) -> bytes:
    try:
        _check_is_file(path)
        status = path.stat()
        if status.st_size > most_megapixels * 1_000_000 * _BYTES_PER_PIXEL + _BYTES_BESIDE_PIXELS:
            raise BadImage(str(path), f"too large: a file of {status.st_size:,} bytes, {_limit(most_megapixels)}")
        data = path.read_bytes()
    except FileNotFoundError:
        raise BadImage(str(path), _missing(path)) from None
    except OSError as error:
        raise BadImage(str(path), f"cannot be read: {error.strerror or error}") from None
    if not data:
        raise BadImage(str(path), "empty file")
    return data


def _check_is_file(path: Path) -> None:
    if not stat.S_ISREG(path.stat().st_mode):
        raise BadImage(str(path), "not a file, expected an image")


def _missing(path: Path) -> str:
    if path.is_symlink():
        return f"missing: a link to {shown(path.readlink())}, which leads nowhere"
    return "missing"


def _limit(most_megapixels: int) -> str:
    return f"expected at most {most_megapixels} megapixels; make it smaller, or raise most_megapixels"


def _decode(
    data: bytes, path: str, exif: Literal["apply", "ignore"], most_megapixels: int
) -> tuple[Image.Image, list[str]]:
    image = _open(io.BytesIO(data), path, most_megapixels)
    try:
        if image.format == "PNG":  # only PNG has checksums; verifying them consumes the file, so it is opened again
            image.verify()
            image = _open(io.BytesIO(data), path, most_megapixels)
        changes = ["first of several frames"] if getattr(image, "is_animated", False) else []
        image.load()
        profile = image.info.get("icc_profile")
        if isinstance(profile, bytes) and profile and _has_other_colours(profile):
            changes.append("colour profile ignored")
        if exif == "apply" and image.getexif().get(_EXIF_ORIENTATION, 1) != 1:
            return ImageOps.exif_transpose(image), [*changes, "EXIF rotation"]
    except BadImage:
        raise
    except _DECODER_ERRORS as error:
        raise BadImage(path, f"truncated or corrupt: {error}") from None
    return image, changes


@functools.lru_cache(maxsize=32)  # parsing takes a millisecond, and most images of a data set have the same profile
def _has_other_colours(profile: bytes) -> bool:
    """Whether an ICC profile gives the values of pixels another meaning than sRGB, or cannot be read. As in the papers' code,
    values are used as they are stored."""
    try:
        return "srgb" not in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile))).lower()
    except (ImageCms.PyCMSError, *_DECODER_ERRORS):
        return True


def _open(file: BinaryIO, path: str, most_megapixels: int) -> Image.Image:
    """The image after reading its header but no pixels."""
    try:
        image = Image.open(file, formats=_formats())
    except Image.UnidentifiedImageError:
        file.seek(0)
        raise BadImage(path, _what_else(file.read(64))) from None
    except _DECODER_ERRORS as error:
        raise BadImage(path, f"truncated or corrupt: {error}") from None
    if not (image.width and image.height):
        raise BadImage(path, f"truncated or corrupt: {image.width} x {image.height} pixels")
    if image.width * image.height > most_megapixels * 1_000_000:
        raise BadImage(path, f"too large: {image.width:,} x {image.height:,} pixels, {_limit(most_megapixels)}")
    return image


@functools.cache
def _formats() -> list[str]:
    """All formats that Pillow reads in this installation, except EPS, for which it runs another program, and containers."""
    Image.preinit()
    for module in ("pillow_heif", "pillow_avif", "pillow_jxl"):
        try:
            plugin = import_module(module)
        except ImportError:
            continue
        if register := getattr(plugin, "register_heif_opener", None):
            register()
    first = list(Image.ID)
    Image.init()
    return [name for name in dict.fromkeys([*first, *Image.ID]) if name not in _NOT_READ]


def _what_else(start: bytes) -> str:
    name = _BRANDS.get(start[8:12]) if start[4:8] == b"ftyp" else None
    name = name or next((n for bytes_, n in _STARTS.items() if start.lstrip().startswith(bytes_)), None)
    if name is None:
        return "not an image, or damaged at the start"
    reader = f", or install its reader: pip install {_READERS[name]}" if name in _READERS else ""
    return f"{name}, which is not read here: convert it to PNG or JPEG{reader}"


def _convert(image: Image.Image, wanted: str, path: str) -> Image.Image:
    if image.mode in SIXTEEN_BIT_MODES:
        return _from_sixteen_bit(image, path).convert(wanted)
    if image.mode == "F":
        raise BadImage(path, "floating-point pixels have no defined white; expected 8 or 16 bits per channel")
    try:
        if image.mode in _TRANSPARENT_MODES or "transparency" in image.info:
            return _by_strips(image, wanted, lambda strip: _on_white(strip).convert(wanted))
        return image.convert(wanted)
    except _DECODER_ERRORS as error:
        raise BadImage(path, f"mode {image.mode} cannot be converted to {wanted}: {error}") from None


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image.convert("RGBA"))


def _from_sixteen_bit(image: Image.Image, path: str) -> Image.Image:
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise BadImage(path, f"pixel values {values.min()}..{values.max()}; expected 8 or 16 bits per channel")
    levels = np.empty(values.shape, np.uint8)
    rows = max(1, _PIXELS_PER_STRIP // image.width)
    for top in range(0, image.height, rows):
        levels[top : top + rows] = (values[top : top + rows].astype(np.uint32) * 255 + 32767) // 65535
    return Image.fromarray(levels, mode="L")


def _by_strips(image: Image.Image, mode: str, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Apply `convert`, which must be pixel-wise, to a few rows at a time, so that its intermediate values need little
    memory."""
    rows = max(1, _PIXELS_PER_STRIP // image.width)
    if rows >= image.height:
        return convert(image)
    result = Image.new(mode, image.size)
    for top in range(0, image.height, rows):
        result.paste(convert(image.crop((0, top, image.width, min(top + rows, image.height)))), (0, top))
    return result
