"""Tiles: small images cut from photographs, with disjoint splits (no shared source pixel) and correct captions.

Regions of one photograph of W x H whose held-out band is on the right and whose test part comes first:

    +-----------+-+-------+
    |           | | test  |
    |   train   |g|-------|   g: `gap` unused pixels
    |           | |  val  |
    +-----------+-+-------+
"""

import difflib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from favae.config.dataset import Split, TilesLayoutConfig
from favae.data.records import SPLITS, Box, ImageRecord
from favae.data.shipped import SHIPPED_IMAGES, ShippedImage, shipped_path

_PART_SHOWN = 0.45  # of a part is in the tile, or
_TILE_FILLED = 0.4  # of the tile is in the part: then the caption names the part
_MOST_PARTS = 2


def tile_records(layout: TilesLayoutConfig) -> list[ImageRecord]:
    """All tiles of the layout's photographs, ordered by split, photograph, window and position (row-major).

    Raises:
        ValueError: unknown photograph, a file other than the expected one, or a window that is larger than a region.
    """
    unknown = [name for name in layout.images if name not in SHIPPED_IMAGES]
    if unknown:
        close = difflib.get_close_matches(unknown[0], SHIPPED_IMAGES, n=3, cutoff=0)
        raise ValueError(f"layout.images: unknown name {unknown[0]!r}; available, for instance: {', '.join(close)}")
    records: list[ImageRecord] = []
    for split in SPLITS:
        for name in layout.images:
            records.extend(_tiles_of(name, split, layout))
    return records


def regions(photo: ShippedImage, layout: TilesLayoutConfig) -> dict[Split, Box]:
    """The train, val and test boxes of a photograph: disjoint, `gap` pixels apart, in source pixels."""
    width, height = photo.size
    horizontal = photo.band in ("left", "right")
    across, along = (width, height) if horizontal else (height, width)
    first = photo.band in ("left", "top")
    train, band = _cut(across, layout.held_out if first else 1 - layout.held_out, layout.gap)
    if first:
        train, band = band, train
    test_first = photo.test_end == "first"
    test, val = _cut(along, 1 - layout.val_share if test_first else layout.val_share, layout.gap)
    if not test_first:
        test, val = val, test

    def box(x: tuple[int, int], y: tuple[int, int]) -> Box:
        return (x[0], y[0], x[1], y[1]) if horizontal else (y[0], x[0], y[1], x[1])

    return {"train": box(train, (0, along)), "val": box(band, val), "test": box(band, test)}


def tile_caption(record: ImageRecord, pixels: np.ndarray) -> str:
    """The record's caption, completed by brightness and colour of the tile's pixels (uint8 [H,W,C])."""
    return f"{record.captions[0]}; {_brightness(pixels)}, {_texture(pixels)}, mostly {_colour(pixels)}"


def _tiles_of(name: str, split: Split, layout: TilesLayoutConfig) -> Iterator[ImageRecord]:
    photo = SHIPPED_IMAGES[name]
    path = _checked_path(name, photo)
    region = regions(photo, layout)[split]
    sides = sorted(round(share * min(photo.size)) for share in layout.windows)
    for number, side in enumerate(sides):
        stride = max(1, round(side * (layout.train_stride if split == "train" else layout.held_out_stride)))
        boxes = list(_windows(region, side, stride))
        if not boxes:
            raise ValueError(
                f"a window of {side} pixels does not fit the {split} region {region} of {name!r}; "
                "give smaller windows, or a larger held_out or val_share"
            )
        for box in boxes:
            yield ImageRecord(
                id=f"{name}-{side}-{box[0]:04d}-{box[1]:04d}",
                path=path,
                source=photo.source,
                split=split,
                captions=(f"{_distance(number, len(sides))} {_subject(photo, box)}",),
                box=box,
            )


def _checked_path(name: str, photo: ShippedImage) -> Path:
    path = shipped_path(photo)
    if not path.is_file():
        raise ValueError(f"image {name!r} is not in this installation: {photo.source} is missing")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != photo.sha256:
        raise ValueError(
            f"{photo.source} has SHA-256 {found}, expected {photo.sha256}: this release ships another file; "
            f"leave {name!r} out or install the pinned version"
        )
    return path


def _cut(length: int, share: float, gap: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Two intervals of [0, length) with `gap` unused pixels around the cut at `share`."""
    cut = round(length * share)
    return (0, cut - gap // 2), (cut + gap - gap // 2, length)


def _windows(region: Box, side: int, stride: int) -> Iterator[Box]:
    left, top, right, bottom = region
    for y in range(top, bottom - side + 1, stride):
        for x in range(left, right - side + 1, stride):
            yield (x, y, x + side, y + side)


def _overlap(a: Box, b: Box) -> int:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(0, width) * max(0, height)


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _subject(photo: ShippedImage, box: Box) -> str:
    """What the tile shows and where it is in the photograph."""
    shown: dict[str, int] = {}
    for what, part in photo.parts:
        overlap = _overlap(box, part)
        if overlap >= _PART_SHOWN * _area(part) or overlap >= _TILE_FILLED * _area(box):
            shown[what] = max(overlap, shown.get(what, 0))
    named = sorted(shown, key=lambda what: -shown[what])[:_MOST_PARTS]
    position = _position(photo, box)
    return f"{' and '.join(named) + ', in ' if named else ''}{position} {photo.description}"


def _position(photo: ShippedImage, box: Box) -> str:
    width, height = photo.size
    column = min(2, 3 * (box[0] + box[2]) // (2 * width))
    row = min(2, 3 * (box[1] + box[3]) // (2 * height))
    vertical, horizontal = ("upper", "", "lower")[row], ("left", "", "right")[column]
    if not vertical and not horizontal:
        return "the middle of"
    if not horizontal:
        return "the top of" if row == 0 else "the bottom of"
    return f"the {vertical} {horizontal} of" if vertical else f"the {horizontal} of"


def _distance(number: int, of: int) -> str:
    if of == 1 or 0 < number < of - 1:
        return "a view of"
    return "a close view of" if number == 0 else "a wide view of"


def _luma(pixels: np.ndarray) -> np.ndarray:
    """ITU-R 601 luma, float [H,W] in 0..255."""
    weights = [0.299, 0.587, 0.114] if pixels.shape[2] == 3 else [1.0]
    return pixels.astype(np.float64) @ np.array(weights)


def _brightness(pixels: np.ndarray) -> Literal["dark", "of medium brightness", "bright"]:
    mean = _luma(pixels).mean()
    if mean < 70:
        return "dark"
    return "bright" if mean > 170 else "of medium brightness"


def _texture(pixels: np.ndarray) -> Literal["smooth", "softly textured", "finely detailed"]:
    luma = _luma(pixels)
    gradient = (np.abs(np.diff(luma, axis=0)).mean() + np.abs(np.diff(luma, axis=1)).mean()) / 2
    if gradient < 4:
        return "smooth"
    return "finely detailed" if gradient > 10 else "softly textured"


_HUES = ((15, "red"), (45, "orange"), (70, "yellow"), (165, "green"), (200, "teal"), (260, "blue"), (330, "purple"))


def _colour(pixels: np.ndarray) -> str:
    """Name of the most frequent colour of the pixels."""
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    rgb = pixels.reshape(-1, 3).astype(np.float64) / 255
    value, low = rgb.max(axis=1), rgb.min(axis=1)
    chroma = value - low
    red, green, blue = rgb.T
    safe = np.where(chroma == 0, 1, chroma)
    hue = np.where(
        value == red, (green - blue) / safe, np.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4)
    )
    hue = (hue * 60) % 360
    names = np.full(len(rgb), "red", dtype=object)
    for limit, name in reversed(_HUES):
        names[hue < limit] = name
    names[(names == "orange") & (value < 0.7)] = "brown"
    names[chroma < 0.12 * np.maximum(value, 0.5)] = "grey"
    names[(names == "grey") & (value > 0.82)] = "white"
    names[value < 0.16] = "black"
    found, counts = np.unique(names.astype(str), return_counts=True)
    return str(found[counts.argmax()])
