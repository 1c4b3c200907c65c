"""Paired data sets as records, and the pixels of a pair: image and condition as planes of one array.

Planes are uint8: three of the image, then three of a condition image, or one of class indices and two of instance ids
(high byte, low byte). What cuts or mirrors the array treats image and condition alike.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from favae.config.dataset import DatasetConfig
from favae.config.pairs import LabelsConditionConfig, PairsLayoutConfig
from favae.data.forms import existing_folder
from favae.data.images import BadImage, Decoded, read_image, squash, to_array
from favae.data.label_maps import (
    FACADES_COLOURS,
    merge_celebamask,
    nearest_colour,
    read_instance_map,
    read_label_map,
    resize_map,
)
from favae.data.pair import Half, Pair, joined_hash
from favae.data.paired import (
    ade20k_pairs,
    celebamask_pairs,
    check_sizes,
    cityscapes_pairs,
    edges_to_shoes_pairs,
    facades_pairs,
    folder_pairs,
    side_by_side_pairs,
    split_by_order,
)
from favae.data.records import ImageRecord
from favae.data.walk import Unused

_FORMS: dict[str, Callable[[Path, Unused], list[Pair]]] = {
    "facades": facades_pairs,
    "edges2shoes": edges_to_shoes_pairs,
    "cityscapes": cityscapes_pairs,
    "ade20k": ade20k_pairs,
    "celebamask": celebamask_pairs,
}


def pair_records(layout: PairsLayoutConfig, raw_root: Path, unused: Unused) -> list[ImageRecord]:
    """All pairs of a layout. Files that are left out are recorded in `unused`.

    Raises:
        ValueError: missing folders or partners.
    """
    root = existing_folder(raw_root / layout.root)
    if layout.form == "side_by_side":
        pairs = side_by_side_pairs(root, layout.direction, unused=unused)
    elif layout.form == "folders":
        pairs = folder_pairs(root, layout.condition_folder, layout.image_folder, unused)
    else:
        pairs = _FORMS[layout.form](root, unused)
    if layout.order is not None:
        pairs = split_by_order(pairs, layout.order.train, layout.order.val)
    return [ImageRecord(p.id, p.image.path, p.image.path.relative_to(root).as_posix(), p.split, pair=p) for p in pairs]


def load_pair(record: ImageRecord, config: DatasetConfig) -> tuple[np.ndarray, str, tuple[str, ...]]:
    """Planes [H,W,C] of a pair at its stored size, a hash of its files, and the conversions of its image.

    Raises:
        BadImage: a file that cannot be used: another size than its partner's, a class out of range, 16 bits read as 8.
    """
    pair, layout = record.pair, config.layout
    assert pair is not None and isinstance(layout, PairsLayoutConfig)
    size = config.stored_size(pair.split)
    check_sizes(pair, layout.sizes)
    decoded = _decoded(pair.image.path, config)
    planes = [to_array(squash(_half(decoded.image, pair.image.half), size, config.filter))]
    condition = layout.condition
    if isinstance(condition, LabelsConditionConfig):
        planes.append(resize_map(_labels(pair, condition, config), size)[:, :, None])
        if condition.edges:
            planes.append(_instances(pair, size))
    else:
        other = _half(_decoded(pair.condition.path, config).image, pair.condition.half)
        planes.append(to_array(squash(other, size, config.filter)))
    return np.concatenate(planes, 2), _hash(pair, decoded), decoded.changes


def _decoded(path: Path, config: DatasetConfig) -> Decoded:
    return read_image(path, 3, config.non_rgb, config.exif, config.most_megapixels)


def _half(image: Image.Image, half: Half) -> Image.Image:
    if half == "whole":
        return image
    middle = image.width // 2
    return image.crop((0, 0, middle, image.height) if half == "left" else (middle, 0, image.width, image.height))


def _labels(pair: Pair, condition: LabelsConditionConfig, config: DatasetConfig) -> np.ndarray:
    """Class indices at full size."""
    if pair.parts:
        folder, name = pair.parts[0].parent.parent, pair.parts[0].name
        return merge_celebamask(folder, int(name.partition("_")[0]))
    if condition.colours == "facades":
        pixels = to_array(_half(_decoded(pair.condition.path, config).image, pair.condition.half))
        return nearest_colour(pixels, FACADES_COLOURS)
    return read_label_map(pair.condition.path, condition.classes, condition.dont_care != "refuse")


def _instances(pair: Pair, size: tuple[int, int]) -> np.ndarray:
    """High and low byte of instance ids, [H,W,2]."""
    assert pair.instances is not None  # guaranteed by the schema: only Cityscapes has edges
    ids = read_instance_map(pair.instances)
    if ids.min() < 0 or ids.max() > 0xFFFF:
        raise BadImage(str(pair.instances), f"instance ids {ids.min()}..{ids.max()}; expected 0 to 65535")
    ids = resize_map(ids.astype(np.uint16), size)
    return np.stack([ids >> 8, ids & 0xFF], 2).astype(np.uint8)


def _hash(pair: Pair, decoded: Decoded) -> str:
    return joined_hash([decoded.sha256, *(hashlib.sha256(path.read_bytes()).hexdigest() for path in pair.files()[1:])])
