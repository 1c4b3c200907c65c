"""Tiles: small pictures cut from photographs, with splits that share no source pixel and captions that are true.

Regions of one picture W x H whose held-out band is on the right and whose test part comes first:

    +-----------+-+-------+
    |           | | test  |
    |   train   |g|-------|   g: `gap` pixels that nobody uses
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
from favae.data.shipped import PICTURES, Picture, picture_path

_PART_SHOWN = 0.45  # of a part lies in the tile, or
_TILE_FILLED = 0.4  # of the tile lies in the part: then the caption names it
_MOST_PARTS = 2


def tile_records(layout: TilesLayoutConfig) -> list[ImageRecord]:
    """All tiles of the layout's pictures, ordered by split, picture, window and position (row-major).

    Raises:
        ValueError: unknown picture (the known ones are listed), a file other than the expected one, or a window that
            fits no region of a picture.
    """
    unknown = [name for name in layout.pictures if name not in PICTURES]
    if unknown:
        close = difflib.get_close_matches(unknown[0], PICTURES, n=3, cutoff=0)
        raise ValueError(f"layout.pictures: unknown name {unknown[0]!r}; available, for instance: {', '.join(close)}")
    records: list[ImageRecord] = []
    for split in SPLITS:
        for name in layout.pictures:
            records.extend(_tiles_of(name, split, layout))
    return records


def regions(picture: Picture, layout: TilesLayoutConfig) -> dict[Split, Box]:
    """The train, val and test boxes of a picture: disjoint, `gap` pixels apart, in source pixels."""
    width, height = picture.size
    horizontal = picture.band in ("left", "right")
    across, along = (width, height) if horizontal else (height, width)
    first = picture.band in ("left", "top")
    train, band = _cut(across, layout.held_out if first else 1 - layout.held_out, layout.gap)
    if first:
        train, band = band, train
    test_first = picture.test_end == "first"
    test, val = _cut(along, 1 - layout.val_share if test_first else layout.val_share, layout.gap)
    if not test_first:
        test, val = val, test

    def box(x: tuple[int, int], y: tuple[int, int]) -> Box:
        return (x[0], y[0], x[1], y[1]) if horizontal else (y[0], x[0], y[1], x[1])

    return {"train": box(train, (0, along)), "val": box(band, val), "test": box(band, test)}


def tile_caption(record: ImageRecord, pixels: np.ndarray) -> str:
    """The record's caption, completed by what can be measured in the tile's pixels (uint8 [H,W,C])."""
    return f"{record.captions[0]}; {_brightness(pixels)}, {_texture(pixels)}, mostly {_colour(pixels)}"


def _tiles_of(name: str, split: Split, layout: TilesLayoutConfig) -> Iterator[ImageRecord]:
    picture = PICTURES[name]
    path = _checked_path(name, picture)
    region = regions(picture, layout)[split]
    sides = sorted(round(share * min(picture.size)) for share in layout.windows)
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
                source=picture.source,
                split=split,
                captions=(f"{_distance(number, len(sides))} {_subject(picture, box)}",),
                box=box,
            )


def _checked_path(name: str, picture: Picture) -> Path:
    path = picture_path(picture)
    if not path.is_file():
        raise ValueError(f"picture {name!r} is not in this installation: {picture.source} is missing")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != picture.sha256:
        raise ValueError(
            f"{picture.source} has SHA-256 {found}, expected {picture.sha256}: this release ships another file; "
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


def _subject(picture: Picture, box: Box) -> str:
    """What the tile shows and where in the picture it lies."""
    shown: dict[str, int] = {}
    for what, part in picture.parts:
        overlap = _overlap(box, part)
        if overlap >= _PART_SHOWN * _area(part) or overlap >= _TILE_FILLED * _area(box):
            shown[what] = max(overlap, shown.get(what, 0))
    named = sorted(shown, key=lambda what: -shown[what])[:_MOST_PARTS]
    position = _position(picture, box)
    return f"{' and '.join(named) + ', in ' if named else ''}{position} {picture.description}"


def _position(picture: Picture, box: Box) -> str:
    width, height = picture.size
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
    """Name of the colour that most pixels have."""
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
