"""Published layouts: read the files and lists of a data set as its authors publish it, and yield records. No image is
decoded."""

import re
from collections.abc import Callable, Container, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from favae.config.dataset import (
    CelebAHQLayoutConfig,
    CelebALayoutConfig,
    DatasetConfig,
    FFHQLayoutConfig,
    FolderLayoutConfig,
    ImageNetLayoutConfig,
    MNISTLayoutConfig,
    Split,
)
from favae.data import mnist
from favae.data.forms import existing_folder, find, find_file, find_folder, hint, images_below, nested
from favae.data.mask_captions import caption_of
from favae.data.pair_records import pair_records
from favae.data.records import (
    SPLITS,
    ImageRecord,
    apply_limit,
    carve_validation,
    check_counts,
    check_names,
    check_unique,
    name_hash,
)
from favae.data.texts import TextFiles, image_number
from favae.data.tiles import tile_records
from favae.data.walk import Unused, shown, subfolders

_CELEBAHQ_IMAGES = 30_000
_MM_CELEBAHQ_TRAINING = 24_000
_FFHQ_TRAINING = 60_000
_FFHQ_IMAGES = 70_000
_FFHQ_JSON = "ffhq-dataset-v2.json"
_CELEBA_FOLDERS = ("img_align_celeba", "img_align_celeba_png")
_CELEBAHQ_FOLDERS = ("CelebA-HQ-img", "celeba_hq_256", "data256x256", "data512x512", "data1024x1024", "images")
_PARTITION_LISTS = ("list_eval_partition.txt", "list_eval_partition.csv")
_IMAGENET_PARTS = (("train", "val"), ("ILSVRC2012_img_train", "ILSVRC2012_img_val"))
_PUBLISHED = "it is part of the published data set"


class RawFiles:
    """The lists that a layout read, and the files that it left out."""

    def __init__(self) -> None:
        self.texts = TextFiles()
        self.unused = Unused()

    def images(self, folder: Path, companions: frozenset[str] = frozenset()) -> list[Path]:
        """Image files below an existing folder, in the order of their relative names. Raises ValueError if there are none."""
        return images_below(folder, self.unused, companions)

    def labels(self, path: Path) -> np.ndarray:
        """Labels of an idx1 file; it is recorded as a list."""
        self.texts.remember(path, path.read_bytes())
        return mnist.read_labels(path)


def list_records(config: DatasetConfig, raw_root: Path, raw: RawFiles | None = None) -> list[ImageRecord]:
    """All images of the data set after applying `limit`, ordered by split, then in the order of the layout.

    Args:
        config: the data set.
        raw_root: folder that the layout's `root` and list files are relative to; unused by tiles.
        raw: records which lists were read and which files were left out.

    Raises:
        ValueError: folders, lists or captions missing or malformed, unexpected counts, two images with the same id, a
            name that is not UTF-8. Listed images that are missing are not an error here: preparation reports them with
            other bad images.
    """
    layout = config.layout
    if layout.kind == "tiles":
        records = tile_records(layout)
    else:
        records = _READERS[layout.kind](layout, Path(raw_root), raw or RawFiles())
        records = carve_validation(records, getattr(layout, "val_from_train", 0))
        if config.more_training is not None:
            records += _more_training(config.more_training, Path(raw_root), raw or RawFiles())
    check_names(records)
    check_unique(records)
    check_counts(records, config.expected_counts)
    return apply_limit(sorted(records, key=lambda r: SPLITS.index(r.split)), config.limit)


def celebahq_records(layout: CelebAHQLayoutConfig, raw_root: Path, raw: RawFiles) -> list[ImageRecord]:
    """CelebA-HQ by image number, split by CelebA's partition or by lists, with captions if wanted."""
    root = existing_folder(raw_root / layout.root)
    if layout.split == "celeba_partition":
        splits = _join_partition(root, raw.texts)
    elif layout.split == "mm_celebahq":
        splits = {n: "train" if n < _MM_CELEBAHQ_TRAINING else "test" for n in range(_CELEBAHQ_IMAGES)}
    else:
        assert layout.lists is not None  # guaranteed by the schema
        splits = raw.texts.number_lists(layout.lists, raw_root)
    folder = find_folder(root, _CELEBAHQ_FOLDERS, "the images <number>.jpg")
    numbered = []
    for path in raw.images(folder):
        if re.fullmatch(r"(imgHQ)?[0-9]{1,9}", path.stem):
            numbered.append(path)
        else:
            raw.unused.add("name is no number", path.relative_to(folder).as_posix())
    files = _by_number(numbered, folder, raw.unused)
    records = [
        ImageRecord(str(n), path, path.relative_to(root).as_posix(), split)
        for n, split in sorted(splits.items())
        for path in [files.get(n, folder / f"{n}.jpg")]
    ]
    _count_unlisted(files, splits, folder, raw.unused)
    records = _present(records, raw.unused) if layout.files == "present" else records
    if layout.captions == "none":
        return records
    captions = find_folder(root, ("celeba-caption",), "the captions <number>.txt")
    return [replace(r, captions=raw.texts.captions(captions / f"{r.id}.txt")) for r in records]


def ffhq_records(layout: FFHQLayoutConfig, raw_root: Path, raw: RawFiles) -> list[ImageRecord]:
    """FFHQ by image number, the last number in a file name."""
    root = existing_folder(raw_root / layout.root)
    published = find(root, ("images1024x1024",), Path.is_dir)  # beside thumbnails and images in the wild
    lists = frozenset({".json"} if layout.split == "json" else ())
    files = _by_number(raw.images(published or root, lists), root, raw.unused)
    if layout.split == "number":
        splits = {n: _ffhq_split(n, files[n]) for n in files}
    elif layout.split == "json":
        beside = root.parent / _FFHQ_JSON  # if `root` is the published folder images1024x1024
        path = beside if beside.is_file() else find_file(root, (_FFHQ_JSON,), "get it with FFHQ or use split: number")
        splits = raw.texts.ffhq_json(path)
    else:
        assert layout.lists is not None  # guaranteed by the schema
        splits = raw.texts.number_lists(layout.lists, raw_root)
    records = []
    for number, split in sorted(splits.items()):
        path = files.get(number, root / f"{number:05d}.png")
        records.append(ImageRecord(f"{number:05d}", path, path.relative_to(root).as_posix(), split))
    _count_unlisted(files, splits, root, raw.unused)
    return _present(records, raw.unused) if layout.files == "present" else records


def imagenet_records(layout: ImageNetLayoutConfig, raw_root: Path, raw: RawFiles) -> list[ImageRecord]:
    """ILSVRC-2012: `train/<wnid>/` is train, `val/`, flat or by wnid, is test."""
    root = existing_folder(raw_root / layout.root)
    train, val = _imagenet_parts(root)
    wnids = [folder.name for folder in subfolders(train)]
    if not wnids:
        raise ValueError(f"{shown(train)} has no folders <wnid> with the images of a class{hint(train)}")
    labels = {wnid: label for label, wnid in enumerate(wnids)}
    parts: tuple[tuple[str, Path, Split], ...] = (("train", train, "train"), ("val", val, "test"))
    records = []
    for part, folder, split in parts:
        above = folder.relative_to(root).as_posix()
        for path in raw.images(folder):
            name = path.relative_to(folder)
            record_id = f"{part}/{name.with_suffix('').as_posix()}"
            source = f"{above}/{name.as_posix()}"
            records.append(ImageRecord(record_id, path, source, split, label=labels.get(name.parts[0])))
    return records


def celeba_records(layout: CelebALayoutConfig, raw_root: Path, raw: RawFiles) -> list[ImageRecord]:
    """Aligned CelebA; with a test list, all images on disk that are not in the list are train.

    A list has the names of JPEG files; PNG files of the same images are found by the name without suffix.
    """
    root = existing_folder(raw_root / layout.root)
    folder = find_folder(root, _CELEBA_FOLDERS, "the aligned images")
    files = _by_stem(raw.images(folder), folder, raw.unused)
    if layout.split == "partition":
        listed = raw.texts.partition(find_file(root, _PARTITION_LISTS, _PUBLISHED))
        splits = {_name_on_disk(name, files): split for name, split in listed.items()}
    else:
        splits = dict.fromkeys((path.name for path in files.values()), "train")
        names = raw.texts.names(find_file(root, (layout.test_list,), _PUBLISHED))
        splits.update(dict.fromkeys((_name_on_disk(name, files) for name in names), "test"))
    records = []
    for name, split in sorted(splits.items()):
        stem = Path(name).stem
        path = files.get(stem, folder / name)
        records.append(ImageRecord(stem, path, path.relative_to(root).as_posix(), split))
    _count_unlisted(files, {Path(name).stem for name in splits}, folder, raw.unused)
    return _present(records, raw.unused) if layout.files == "present" else records


def folder_records(layout: FolderLayoutConfig, raw_root: Path, raw: RawFiles) -> list[ImageRecord]:
    """A folder of images, by subfolders train, val, test or by a seeded hash of each name."""
    root = existing_folder(raw_root / layout.root)
    sidecar = layout.captions == "sidecar"
    records = []
    for path in raw.images(root, frozenset({".txt"} if sidecar else ())):
        name = path.relative_to(root).as_posix()
        captions = raw.texts.captions(path.with_suffix(".txt")) if sidecar else ()
        if layout.label_maps is not None:
            captions = (_map_caption(raw_root / layout.label_maps / Path(name).with_suffix(".png"), raw),)
        records.append(ImageRecord(name, path, name, _folder_split(name, layout, root), captions))
    return records


def _map_caption(path: Path, raw: RawFiles) -> str:
    caption = caption_of(path)
    raw.texts.remember(path, path.read_bytes())
    return caption


def mnist_records(layout: MNISTLayoutConfig, raw_root: Path, raw: RawFiles) -> list[ImageRecord]:
    """MNIST's four idx files, after comparing their checksums."""
    root = existing_folder(raw_root / layout.root)
    records: list[ImageRecord] = []
    parts: tuple[tuple[str, Split], ...] = (("train", "train"), ("t10k", "test"))
    for part, split in parts:
        images = mnist.find_idx(root, f"{part}-images")
        labels = mnist.find_idx(root, f"{part}-labels")
        if layout.checksums == "official":
            mnist.check_md5(images, f"{part}-images")
            mnist.check_md5(labels, f"{part}-labels")
        values = raw.labels(labels)
        if len(values) != len(mnist.read_images(images)):
            raise ValueError(
                f"{shown(images)} has {len(mnist.read_images(images)):,} images and {shown(labels)} {len(values):,} "
                "labels, expected as many; download them again"
            )
        source = images.relative_to(root).as_posix()
        records.extend(
            ImageRecord(f"{part}-{i:05d}", images, f"{source}#{i}", split, label=int(value), item=i)
            for i, value in enumerate(values)
        )
    return records


def _more_training(folder: str, raw_root: Path, raw: RawFiles) -> list[ImageRecord]:
    """All images below `folder`; their names are relative to the raw-data folder, as no other root has them."""
    paths = raw.images(existing_folder(raw_root / folder))
    names = [path.relative_to(raw_root).as_posix() for path in paths]
    return [ImageRecord(name, path, name, "train") for name, path in zip(names, paths, strict=True)]


_READERS: dict[str, Callable[[Any, Path, RawFiles], list[ImageRecord]]] = {
    "celebahq": celebahq_records,
    "ffhq": ffhq_records,
    "imagenet": imagenet_records,
    "celeba": celeba_records,
    "folder": folder_records,
    "mnist": mnist_records,
    "pairs": lambda layout, raw_root, raw: pair_records(layout, raw_root, raw.unused),
}


def _by_number(files: list[Path], root: Path, unused: Unused) -> dict[int, Path]:
    """Files by the number at the end of their names."""
    return _indexed(files, root, unused, lambda path: image_number(path.name, shown(path)))


def _by_stem(files: list[Path], root: Path, unused: Unused) -> dict[str, Path]:
    """Files by their names without suffix."""
    return _indexed(files, root, unused, lambda path: path.stem)


def _indexed(files: list[Path], root: Path, unused: Unused, key: Callable[[Path], Any]) -> dict[Any, Path]:
    """Files by `key`; of two equally large files with the same key the one nearer to `root` is used, as when an archive
    was unpacked twice."""
    found: dict[Any, Path] = {}
    for path in sorted(files, key=lambda p: (len(p.parts), p)):
        first = found.setdefault(key(path), path)
        if first is path:
            continue
        same_size = first.exists() and path.exists() and first.stat().st_size == path.stat().st_size
        if first.name != path.name or len(first.parts) == len(path.parts) or not same_size:
            raise ValueError(
                f"{shown(first)} and {shown(path)} are the same image, {key(path)}, twice; keep one of them, or let "
                "`root` name the folder of one"
            )
        unused.add("second copy of an image", path.relative_to(root).as_posix())
    return found


def _count_unlisted(files: Mapping[Any, Path], listed: Container[Any], folder: Path, unused: Unused) -> None:
    """Count the files whose keys no list has."""
    for key, path in files.items():
        if key not in listed:
            unused.add("in no list", path.relative_to(folder).as_posix())


def _name_on_disk(name: str, files: Mapping[str, Path]) -> str:
    path = files.get(Path(name).stem)
    return name if path is None else path.name


def _present(records: list[ImageRecord], unused: Unused) -> list[ImageRecord]:
    """The records whose files exist; the others are counted."""
    found = []
    for record in records:
        if record.path.is_file():
            found.append(record)
        else:
            unused.add(
                "link that leads nowhere" if record.path.is_symlink() else "listed but not present", record.source
            )
    if not found:
        raise ValueError(f"none of the {len(records):,} listed images exists, such as {shown(records[0].path)}")
    return found


def _join_partition(root: Path, texts: TextFiles) -> dict[int, Split]:
    """CelebA-HQ number -> split of the CelebA image from which it was made."""
    mapping_file = find_file(root, ("CelebA-HQ-to-CelebA-mapping.txt",), _PUBLISHED)
    partition_file = find_file(root, _PARTITION_LISTS, _PUBLISHED)
    partition = texts.partition(partition_file)
    mapping = texts.mapping(mapping_file)
    unknown = [name for name in mapping.values() if name not in partition]
    if unknown:
        raise ValueError(
            f"{len(unknown):,} images of {shown(mapping_file)}, such as {unknown[0]}, are not in "
            f"{shown(partition_file)}; download both again"
        )
    return {number: partition[name] for number, name in mapping.items()}


def _imagenet_parts(root: Path) -> tuple[Path, Path]:
    """The training and validation folders in `root`, or below it, for instance in ILSVRC/Data/CLS-LOC (Kaggle)."""
    for folder in nested(root):
        for train, val in _IMAGENET_PARTS:
            if (folder / train).is_dir() and (folder / val).is_dir():
                return folder / train, folder / val
    half = find(root, [part for parts in _IMAGENET_PARTS for part in parts], Path.is_dir)
    if half is not None:
        raise ValueError(f"found {shown(half)} alone; expected `train` with a folder per class and `val` beside it")
    raise ValueError(f"{shown(root)} has no folders `train` and `val`{hint(root)}")


def _ffhq_split(number: int, path: Path) -> Split:
    if number >= _FFHQ_IMAGES:
        raise ValueError(
            f"{shown(path)}: FFHQ has images 0..{_FFHQ_IMAGES - 1}, got number {number}; is this another data set?"
        )
    return "train" if number < _FFHQ_TRAINING else "test"


_SPLIT_SPELLINGS = {"training": "train", "validation": "val", "valid": "val", "dev": "val", "testing": "test"}


def _folder_split(name: str, layout: FolderLayoutConfig, root: Path) -> Split:
    if layout.split == "hash":
        position = name_hash(f"{layout.seed}/{name}") / 2**64
        if position < layout.test_share:
            return "test"
        return "val" if position < layout.test_share + layout.val_share else "train"
    for split in SPLITS:
        if name.startswith(f"{split}/"):
            return split
    if len(folders := {folder.parent for folder in _split_folders(root)}) == 1:
        raise ValueError(f"the folders train, val and test are in {shown(folders.pop())}: let `root` name it")
    first = re.split("/", name)[0].lower()
    meant = _SPLIT_SPELLINGS.get(first, first if first in SPLITS else None)
    advice = f"rename its folder to {meant}" if meant and "/" in name else "move it"
    raise ValueError(
        f"{shown(root / name)} is outside {shown(root)}/train, val and test; {advice}, or use split: hash, which "
        "splits one folder"
    )


def _split_folders(root: Path) -> list[Path]:
    """Folders called as splits below `root` but not in it, if it has none."""
    found = [folder / split for folder in nested(root) for split in SPLITS if (folder / split).is_dir()]
    return [] if any(folder.parent == root for folder in found) else found
