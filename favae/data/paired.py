"""Paired data sets: an image and the input from which it is generated, in published layouts or in a user's own. No
image is decoded.

The files of a pair are matched by name, so that a missing partner is found before anything runs. `check_sizes` compares
sizes, from headers only.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from favae.config.dataset import Split
from favae.data.forms import images_below, nested
from favae.data.images import BadImage, image_size
from favae.data.pair import Half, Pair, Part
from favae.data.records import SPLITS
from favae.data.walk import Unused, shown

Direction = Literal["a_to_b", "b_to_a"]
SizeRule = Literal["equal", "proportional"]

_NAMED = 3  # files listed in a message
_OWN_PARTS: tuple[tuple[str, Split], ...] = (("train", "train"), ("val", "val"), ("test", "test"))


def side_by_side_pairs(
    root: Path,
    direction: Direction,
    parts: Sequence[tuple[str, Split]] = _OWN_PARTS,
    unused: Unused | None = None,
) -> list[Pair]:
    """`<part>/<name>`: A in the left half, B in the right one (pix2pix).

    Args:
        root: folder of the data set, or a folder above it, as after unpacking an archive.
        direction: "a_to_b" generates the right half from the left one, "b_to_a" the reverse.
        parts: the subfolders and their splits; the first must exist, the others are read if they exist.
        unused: records what is left out.

    Raises:
        ValueError: unknown direction, no images in the first part, or two files of the same name.
    """
    if direction not in get_args(Direction):
        raise ValueError(f"paired data got direction {direction!r}; expected 'a_to_b' or 'b_to_a'")
    condition: Half = "left" if direction == "a_to_b" else "right"
    image: Half = "right" if direction == "a_to_b" else "left"
    pairs = []
    root = _above(root, parts[0][0])
    for number, (part, split) in enumerate(parts):
        if number and not (root / part).is_dir():
            continue
        for name, path in _by_name(root / part, unused).items():
            pairs.append(Pair(f"{part}/{name}", split, Part(path, condition), Part(path, image)))
    return pairs


def facades_pairs(root: Path, unused: Unused | None = None) -> list[Pair]:
    """Facades of pix2pix: photo left, labels right, labels to photo; published as 400 / 100 / 106."""
    return side_by_side_pairs(root, "b_to_a", unused=unused)


def edges_to_shoes_pairs(root: Path, unused: Unused | None = None) -> list[Pair]:
    """edges2shoes of pix2pix: `<n>_AB.jpg`, edges left, photo right; published as 49,825 train and 200 val.

    There is no published test part: the published val is `test` here, and `val_from_train` takes val out of train.
    """
    return side_by_side_pairs(root, "a_to_b", (("train", "train"), ("val", "test")), unused)


def folder_pairs(root: Path, condition: str = "A", image: str = "B", unused: Unused | None = None) -> list[Pair]:
    """Two folders with files of the same names; suffixes may differ. Subfolders train, val, test are splits; without
    them all pairs are train.

    Raises:
        ValueError: a missing folder, a file without partner, two files of the same name, or files outside the splits.
    """
    root = _above(root, condition)
    conditions, images = (_by_name(root / folder, unused) for folder in (condition, image))
    _same_names({condition: conditions, image: images}, root)
    in_splits = [name.split("/")[0] in SPLITS for name in conditions]
    if any(in_splits) and not all(in_splits):
        outside = next(name for name, inside in zip(conditions, in_splits, strict=True) if not inside)
        raise ValueError(
            f"{shown(root / condition / outside)} is outside train, val and test, where others are; move it"
        )
    return [
        Pair(name, _split_of(name) if all(in_splits) else "train", Part(conditions[name]), Part(images[name]))
        for name in sorted(conditions)
    ]


def celebamask_pairs(root: Path, unused: Unused | None = None) -> list[Pair]:
    """CelebAMask-HQ: `CelebA-HQ-img/<n>.jpg` and one mask per class, `CelebAMask-HQ-mask-anno/<n // 2000>/<n>_<part>.png`.

    Published as 30,000 images of 1024 pixels with masks of 512 pixels: check with sizes "proportional". No split is
    published for this use: all pairs are train, see `split_by_order`.

    Raises:
        ValueError: a missing folder, or an image without masks, or masks without image.
    """
    masks: dict[str, list[Path]] = {}
    root = _above(root, "CelebAMask-HQ-mask-anno")
    for path in _images_in(root / "CelebAMask-HQ-mask-anno", unused):
        number = path.stem.partition("_")[0]
        masks.setdefault(str(int(number)) if number.isdecimal() else path.stem, []).append(path)
    images = _by_name(root / "CelebA-HQ-img", unused)
    labels = {name: paths[0] for name, paths in masks.items()}
    _same_names({"CelebA-HQ-img": images, "CelebAMask-HQ-mask-anno": labels}, root)
    ordered = sorted(images, key=lambda name: (len(name), name))  # numbers without leading zeros
    return [Pair(n, "train", Part(labels[n]), Part(images[n]), parts=tuple(sorted(masks[n]))) for n in ordered]


def cityscapes_pairs(root: Path, unused: Unused | None = None) -> list[Pair]:
    """Cityscapes: `leftImg8bit/<split>/<city>/<stem>_leftImg8bit.png`, label and instance ids in `gtFine`.

    Published as 2,975 / 500; the labels of the published test part are dummies, so its val is `test` here, and
    `val_from_train` takes val out of train.

    Raises:
        ValueError: a missing folder, or an image or map without partner.
    """
    pairs = []
    parts: tuple[tuple[str, Split], ...] = (("train", "train"), ("val", "test"))
    for part, split in parts:
        photographs, maps = (_above(root, f"{kind}/{part}") / kind / part for kind in ("leftImg8bit", "gtFine"))
        images = _by_name(photographs, unused, "_leftImg8bit")
        labels = _by_name(maps, unused, "_gtFine_labelIds")
        instances = _by_name(maps, None, "_gtFine_instanceIds")
        _same_names({f"leftImg8bit/{part}": images, f"gtFine/{part}": labels, "instances": instances}, root)
        pairs += [
            Pair(f"{part}/{name}", split, Part(labels[name]), Part(images[name]), instances[name])
            for name in sorted(images)
        ]
    return pairs


def ade20k_pairs(root: Path, unused: Unused | None = None) -> list[Pair]:
    """ADE20K of the scene parsing challenge: `images` and `annotations`, published as 20,210 training, 2,000 validation.

    The published validation part is `test` here.

    Raises:
        ValueError: a missing folder, or an image or annotation without partner.
    """
    pairs = []
    root = _above(root, "annotations/training")
    parts: tuple[tuple[str, Split], ...] = (("training", "train"), ("validation", "test"))
    for part, split in parts:
        images, labels = (_by_name(root / kind / part, unused) for kind in ("images", "annotations"))
        _same_names({f"images/{part}": images, f"annotations/{part}": labels}, root)
        pairs += [Pair(f"{part}/{name}", split, Part(labels[name]), Part(images[name])) for name in sorted(images)]
    return pairs


def split_by_order(pairs: Sequence[Pair], train: int, val: int) -> list[Pair]:
    """In the order of ids, the first `train` pairs are train, the next `val` are val, the rest are test.

    Raises:
        ValueError: a negative number, or more than the number of pairs.
    """
    if min(train, val) < 0 or train + val > len(pairs):
        raise ValueError(f"split got {train} train and {val} val of {len(pairs)} pairs; expected at most all of them")
    ordered = sorted(pairs, key=lambda pair: (len(pair.id), pair.id) if pair.id.isdecimal() else (0, pair.id))
    return [
        replace(pair, split="train" if number < train else "val" if number < train + val else "test")
        for number, pair in enumerate(ordered)
    ]


def count_pairs(pairs: Iterable[Pair]) -> dict[Split, int]:
    """Number of pairs in each of train, val, test."""
    counts: dict[Split, int] = dict.fromkeys(SPLITS, 0)
    for pair in pairs:
        counts[pair.split] += 1
    return counts


def check_sizes(pair: Pair, rule: SizeRule = "equal") -> tuple[int, int]:
    """Width and height of the pair's image, after comparing sizes, from headers only.

    Args:
        pair: which.
        rule: "equal": both sides must have the same size; "proportional": the same aspect ratio.

    Raises:
        BadImage: a file that is missing or not an image, halves of an odd width, or sizes that do not match.
    """
    image, condition = _size(pair.image), _size(pair.condition)
    proportional = image[0] * condition[1] == image[1] * condition[0]
    if image != condition and not (rule == "proportional" and proportional):
        raise BadImage(
            str(pair.condition.path),
            f"{condition[0]}x{condition[1]} pixels, but its image {pair.image.path.name} has {image[0]}x{image[1]}; "
            "expected " + ("one size" if rule == "equal" else "one aspect ratio"),
        )
    if pair.instances is not None and _size(Part(pair.instances)) != condition:
        raise BadImage(str(pair.instances), f"another size than its label map {pair.condition.path.name}")
    return image


def _size(part: Part) -> tuple[int, int]:
    width, height = image_size(part.path)
    if part.half == "whole":
        return width, height
    if width % 2:
        raise BadImage(str(part.path), f"{width} pixels wide; expected two halves side by side, an even width")
    return width // 2, height


def _above(root: Path, name: str) -> Path:
    """The folder nearest to `root` that has the folder `name`; `root` if there is none."""
    if not root.is_dir():
        return root
    return next((folder for folder in nested(root) if (folder / name).is_dir()), root)


def _images_in(folder: Path, unused: Unused | None) -> list[Path]:
    return images_below(folder, Unused() if unused is None else unused)


def _by_name(folder: Path, unused: Unused | None, ending: str = "") -> dict[str, Path]:
    """Files by relative name without suffix and `ending`; those without the ending are left out."""
    found: dict[str, Path] = {}
    for path in _images_in(folder, unused):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if not name.endswith(ending):
            continue
        name = name.removesuffix(ending)
        if name in found:
            raise ValueError(f"{shown(found[name])} and {shown(path)} have the same name; remove one of them")
        found[name] = path
    return found


def _same_names(sides: dict[str, dict[str, Path]], root: Path) -> None:
    """Raise ValueError with the names of files that have no partner."""
    everything = set().union(*sides.values())
    for side, files in sides.items():
        missing = sorted(everything - set(files))
        if missing:
            names = ", ".join(map(shown, missing[:_NAMED])) + (", ..." if len(missing) > _NAMED else "")
            raise ValueError(
                f"{shown(root)}: {len(missing)} of {len(everything)} pairs have no partner in {side}: {names}; add the files or "
                "remove their partners"
            )


def _split_of(name: str) -> Split:
    splits: dict[str, Split] = {split: split for split in SPLITS}
    return splits[name.split("/")[0]]
