"""Reading label and instance maps: class indices, colours, and CelebAMask-HQ's files, one per part.

Arrays are [H, W]. `favae.models.label_maps` turns a map into the input of a network.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from favae.data.images import SIXTEEN_BIT_MODES, BadImage, read_stored

DONT_CARE = 255

# Colours of the right halves of pix2pix's Facades, in CMP's order (by sight): background, facade, window, door, cornice,
# sill, balcony, blind, decoration, moulding, pillar, shop.
FACADES_COLOURS: tuple[tuple[int, int, int], ...] = (
    (0, 0, 222),
    (0, 48, 255),
    (0, 128, 255),
    (1, 207, 255),
    (32, 255, 224),
    (112, 254, 142),
    (192, 255, 63),
    (255, 240, 1),
    (255, 159, 0),
    (255, 80, 0),
    (254, 0, 0),
    (174, 0, 1),
)

# Class of each part; 0 is background. A later part covers an earlier one.
CELEBAMASK_PARTS: tuple[str, ...] = (
    "skin",
    "nose",
    "eye_g",
    "l_eye",
    "r_eye",
    "l_brow",
    "r_brow",
    "l_ear",
    "r_ear",
    "mouth",
    "u_lip",
    "l_lip",
    "hair",
    "hat",
    "ear_r",
    "neck_l",
    "neck",
    "cloth",
)
CELEBAMASK_FLIP_PAIRS: tuple[tuple[int, int], ...] = ((4, 5), (6, 7), (8, 9))
_CELEBAMASK_PER_FOLDER = 2000
_LOSSY = ("JPEG", "WEBP")


def read_label_map(path: Path, classes: int, dont_care: bool = False) -> np.ndarray:
    """Class indices, uint8, of a grey or palette image whose pixel values are classes.

    Args:
        path: file to read.
        classes: classes are 0 to classes - 1.
        dont_care: whether 255 marks pixels without a class.

    Raises:
        BadImage: missing or not an image; 16-bit, in colour or lossy, and so not 8-bit indices; a class out of range.
    """
    image = read_stored(path)
    if image.mode in SIXTEEN_BIT_MODES:
        raise BadImage(str(path), f"mode {image.mode}, 16 bits; expected 8-bit class indices (is it an instance map?)")
    if image.mode not in ("L", "P", "1"):
        raise BadImage(str(path), f"mode {image.mode}; expected class indices in a grey or palette image, not colours")
    if image.format in _LOSSY:
        raise BadImage(str(path), f"{image.format} blurs class indices; expected a lossless format such as PNG")
    labels = np.asarray(image, dtype=np.uint8)
    wrong = labels[(labels >= classes) & ~(dont_care & (labels == DONT_CARE))]
    if wrong.size:
        raise BadImage(
            str(path),
            f"class {wrong.max()} in {wrong.size:,} pixels; expected 0 to {classes - 1}" + _hint(wrong, dont_care),
        )
    return labels


def read_instance_map(path: Path) -> np.ndarray:
    """Instance ids, int32, of an 8- or 16-bit grey image.

    Raises:
        BadImage: missing, not an image, or in colour.
    """
    image = read_stored(path)
    if image.mode not in ("L", "P", *SIXTEEN_BIT_MODES):
        raise BadImage(str(path), f"mode {image.mode}; expected instance ids in 8 or 16 bits")
    return np.asarray(image).astype(np.int32)


def nearest_colour(pixels_HWC: np.ndarray, colours: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """Index of the nearest colour of each pixel, uint8 [H, W]; with JPEG, a border of one or two pixels is uncertain.

    Raises:
        ValueError: pixels that are not uint8 [H, W, 3].
    """
    if pixels_HWC.dtype != np.uint8 or pixels_HWC.ndim != 3 or pixels_HWC.shape[2] != 3:
        raise ValueError(f"colours got {pixels_HWC.dtype} of shape {pixels_HWC.shape}; expected uint8 [H, W, 3]")
    pixels = pixels_HWC.astype(np.int32)
    nearest = np.full(pixels.shape[:2], np.iinfo(np.int32).max, np.int32)
    labels = np.zeros(pixels.shape[:2], np.uint8)
    for index, colour in enumerate(colours):
        distance = np.square(pixels - np.asarray(colour, np.int32)).sum(2)
        closer = distance < nearest
        labels[closer], nearest[closer] = index, distance[closer]
    return labels


def resize_map(map_HW: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map at another height and width: the value at the pixel below the centre of each new pixel, as Pillow's nearest."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(size, map_HW.shape, strict=True)
    )
    return map_HW[rows[:, None], columns]


def merge_celebamask(annotations: Path, number: int) -> np.ndarray:
    """Classes 0 to 18, uint8, of CelebAMask-HQ's files `<number // 2000>/<number as 00000>_<part>.png`, one per part.

    The layout follows the authors' description; it was not compared with the published archive.

    Raises:
        BadImage: no part with this number, different sizes, or a file that is not an image.
    """
    folder = annotations / str(number // _CELEBAMASK_PER_FOLDER)
    parts = {part: folder / f"{number:05d}_{part}.png" for part in CELEBAMASK_PARTS}
    labels: np.ndarray | None = None
    for value, (part, path) in enumerate(parts.items(), start=1):
        if not path.is_file():
            continue
        mask = np.asarray(read_stored(path).convert("L")) > 127
        labels = np.zeros(mask.shape, np.uint8) if labels is None else labels
        if mask.shape != labels.shape:
            raise BadImage(
                str(path), f"{part} has the shape {mask.shape}, another part {labels.shape}; expected one size"
            )
        labels[mask] = value
    if labels is None:
        raise BadImage(str(parts["skin"]), f"no part of image {number} exists; expected files such as this one")
    return labels


def _hint(wrong: np.ndarray, dont_care: bool) -> str:
    if not dont_care and (wrong == DONT_CARE).all():
        return "; if 255 marks pixels without a class, set dont_care"
    return "; correct the number of classes"
