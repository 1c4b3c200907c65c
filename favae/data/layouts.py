"""Published layouts: from files and lists of a data set, as its authors ship it, to records; nothing is decoded."""

import gzip
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from favae.config.dataset import (
    CelebAHQLayoutConfig,
    CelebALayoutConfig,
    DatasetConfig,
    FFHQLayoutConfig,
    FolderLayoutConfig,
    ImageNetLayoutConfig,
    ListFilesConfig,
    MNISTLayoutConfig,
    Split,
)
from favae.data import mnist
from favae.data.records import (
    SPLITS,
    ImageRecord,
    apply_limit,
    carve_validation,
    check_counts,
    check_unique,
    name_hash,
)
from favae.data.tiles import tile_records

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"}
_PARTITIONS: dict[str, Split] = {"0": "train", "1": "val", "2": "test"}
_CELEBAHQ_PICTURES = 30_000
_MM_CELEBAHQ_TRAINING = 24_000
_FFHQ_TRAINING = 60_000
_FFHQ_PICTURES = 70_000


def list_records(config: DatasetConfig, raw_root: Path) -> list[ImageRecord]:
    """All pictures of the data set, ordered by split, then as the layout orders them; `limit` applied.

    Args:
        spec: the data set.
        raw_root: folder that the layout's `root` and list files are relative to; unused by tiles.

    Raises:
        ValueError: folders, lists or captions missing or malformed, counts other than expected, two pictures with one
            id. Pictures that are listed but missing are no error here: preparation reports them with other bad ones.
    """
    layout = config.layout
    if layout.kind == "tiles":
        records = tile_records(layout)
    else:
        records = _READERS[layout.kind](layout, Path(raw_root))
        records = carve_validation(records, getattr(layout, "val_from_train", 0))
    check_unique(records)
    check_counts(records, config.expected_counts)
    return apply_limit(sorted(records, key=lambda r: SPLITS.index(r.split)), config.limit)


def celebahq_records(layout: CelebAHQLayoutConfig, raw_root: Path) -> list[ImageRecord]:
    """CelebA-HQ by picture number, split by CelebA's partition or by lists, with captions if wanted."""
    root = _folder(raw_root / layout.root)
    if layout.split == "celeba_partition":
        splits = _join_partition(root / "CelebA-HQ-to-CelebA-mapping.txt", root / "list_eval_partition.txt")
    elif layout.split == "mm_celebahq":
        splits = {n: "train" if n < _MM_CELEBAHQ_TRAINING else "test" for n in range(_CELEBAHQ_PICTURES)}
    else:
        splits = _read_number_lists(layout.lists, raw_root)
    records = [
        ImageRecord(str(n), root / "CelebA-HQ-img" / f"{n}.jpg", f"CelebA-HQ-img/{n}.jpg", split)
        for n, split in sorted(splits.items())
    ]
    records = _present(records) if layout.files == "present" else records
    if layout.captions == "none":
        return records
    return [replace(r, captions=_read_captions(root / "celeba-caption" / f"{r.id}.txt")) for r in records]


def ffhq_records(layout: FFHQLayoutConfig, raw_root: Path) -> list[ImageRecord]:
    """FFHQ by picture number, which is the last number in a file's name."""
    root = _folder(raw_root / layout.root)
    files: dict[int, Path] = {}
    for path in _images_in(root):
        number = _number(path.name)
        if number in files:
            raise ValueError(f"{files[number]} and {path} are both FFHQ picture {number}; keep one of them")
        files[number] = path
    if layout.split == "number":
        splits = {n: _ffhq_split(n) for n in files}
    elif layout.split == "json":
        splits = _read_ffhq_json(root / "ffhq-dataset-v2.json")
    else:
        splits = _read_number_lists(layout.lists, raw_root)
    records = []
    for number, split in sorted(splits.items()):
        path = files.get(number, root / f"{number:05d}.png")
        records.append(ImageRecord(f"{number:05d}", path, path.relative_to(root).as_posix(), split))
    return _present(records) if layout.files == "present" else records


def imagenet_records(layout: ImageNetLayoutConfig, raw_root: Path) -> list[ImageRecord]:
    """ILSVRC-2012: `train/<wnid>/` is train, `val/` is test."""
    root = _folder(raw_root / layout.root)
    wnids = sorted(p.name for p in _folder(root / "train").iterdir() if p.is_dir())
    labels = {wnid: label for label, wnid in enumerate(wnids)}
    parts: tuple[tuple[str, Split], ...] = (("train", "train"), ("val", "test"))
    return [
        ImageRecord(
            path.relative_to(root).with_suffix("").as_posix(),
            path,
            path.relative_to(root).as_posix(),
            split,
            label=labels.get(path.parent.name),
        )
        for part, split in parts
        for path in _images_in(root / part)
    ]


def celeba_records(layout: CelebALayoutConfig, raw_root: Path) -> list[ImageRecord]:
    """Aligned CelebA; with a test list, every picture on disk that is not in the list trains."""
    root = _folder(raw_root / layout.root)
    folder = root / "img_align_celeba"
    if layout.split == "partition":
        splits = _read_partition(root / "list_eval_partition.txt")
    else:
        splits = dict.fromkeys((p.name for p in _images_in(folder)), "train")
        splits.update(dict.fromkeys((Path(line).name for line in _read_lines(root / layout.test_list)), "test"))
    records = [
        ImageRecord(Path(name).stem, folder / name, f"img_align_celeba/{name}", split)
        for name, split in sorted(splits.items())
    ]
    return _present(records) if layout.files == "present" else records


def folder_records(layout: FolderLayoutConfig, raw_root: Path) -> list[ImageRecord]:
    """A folder of pictures, by subfolders train, val, test or by a seeded hash of each name."""
    root = _folder(raw_root / layout.root)
    records = []
    for path in _images_in(root):
        name = path.relative_to(root).as_posix()
        captions = _read_captions(path.with_suffix(".txt")) if layout.captions == "sidecar" else ()
        records.append(ImageRecord(name, path, name, _folder_split(name, layout, root), captions))
    return records


def mnist_records(layout: MNISTLayoutConfig, raw_root: Path) -> list[ImageRecord]:
    """MNIST's four idx files; checksums compared first."""
    root = _folder(raw_root / layout.root)
    records: list[ImageRecord] = []
    parts: tuple[tuple[str, Split], ...] = (("train", "train"), ("t10k", "test"))
    for part, split in parts:
        images = mnist.find_file(root, f"{part}-images-idx3-ubyte")
        labels = mnist.find_file(root, f"{part}-labels-idx1-ubyte")
        if layout.checksums == "official":
            mnist.check_md5(images)
            mnist.check_md5(labels)
        values = mnist.read_labels(labels)
        if len(values) != len(mnist.read_images(images)):
            raise ValueError(f"{images.name} and {labels.name} in {root} have different lengths; download them again")
        records.extend(
            ImageRecord(f"{part}-{i:05d}", images, f"{images.name}#{i}", split, label=int(value), item=i)
            for i, value in enumerate(values)
        )
    return records


_READERS: dict[str, Callable[[Any, Path], list[ImageRecord]]] = {
    "celebahq": celebahq_records,
    "ffhq": ffhq_records,
    "imagenet": imagenet_records,
    "celeba": celeba_records,
    "folder": folder_records,
    "mnist": mnist_records,
}


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise ValueError(f"the raw-data folder {path} does not exist; put the data set there or correct `root`")
    return path


def _images_in(folder: Path) -> list[Path]:
    """Image files below `folder`, by suffix, in the order of their relative names."""
    found = [p for p in _folder(folder).rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
    if not found:
        raise ValueError(f"no pictures in {folder}; looked for {', '.join(sorted(IMAGE_SUFFIXES))} at any depth")
    return sorted(found, key=lambda p: p.relative_to(folder).as_posix())


def _present(records: list[ImageRecord]) -> list[ImageRecord]:
    found = [r for r in records if r.path.is_file()]
    if not found:
        raise ValueError(f"none of the {len(records):,} listed pictures exists, such as {records[0].path}")
    return found


def _read_lines(path: Path) -> list[str]:
    """Non-empty lines of a text file, gzip when its name ends in .gz, without surrounding blanks."""
    if not path.is_file():
        raise ValueError(f"{path} is missing; it is part of the published data set")
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [line.strip() for line in data.decode("utf-8").splitlines() if line.strip()]


def _read_captions(path: Path) -> tuple[str, ...]:
    captions = tuple(_read_lines(path))
    if not captions:
        raise ValueError(f"{path} has no caption; expected one a line")
    return captions


def _read_partition(path: Path) -> dict[str, Split]:
    """CelebA's list: file name to split, from lines such as `000001.jpg 0`."""
    partition: dict[str, Split] = {}
    for line in _read_lines(path):
        name, _, code = line.partition(" ")
        if code.strip() not in _PARTITIONS:
            raise ValueError(f"{path}: got the line {line!r}, expected a file name and 0, 1 or 2")
        partition[name] = _PARTITIONS[code.strip()]
    return partition


def _join_partition(mapping_file: Path, partition_file: Path) -> dict[int, Split]:
    """CelebA-HQ number to the split of the CelebA picture it was made from."""
    partition = _read_partition(partition_file)
    mapping = _read_mapping(mapping_file)
    unknown = [name for name in mapping.values() if name not in partition]
    if unknown:
        raise ValueError(
            f"{len(unknown):,} pictures of {mapping_file}, such as {unknown[0]}, are not in {partition_file}; "
            "download both again"
        )
    return {number: partition[name] for number, name in mapping.items()}


def _read_mapping(path: Path) -> dict[int, str]:
    """CelebA-HQ number to CelebA file name, from lines such as `0  119613  119614.jpg`; a header line is skipped."""
    mapping: dict[int, str] = {}
    for line in _read_lines(path):
        columns = line.split()
        if columns[0] == "idx":
            continue
        if len(columns) != 3 or not columns[0].isdigit():
            raise ValueError(f"{path}: got the line {line!r}, expected number, original number and original file name")
        mapping[int(columns[0])] = columns[2]
    return mapping


def _read_number_lists(lists: ListFilesConfig | None, raw_root: Path) -> dict[int, Split]:
    """Picture number to split from two lists of file names; a number in both is an error."""
    assert lists is not None  # the specification has checked it
    splits: dict[int, Split] = {}
    parts: Iterable[tuple[Split, str]] = (("train", lists.train), ("test", lists.test))
    for split, file in parts:
        for line in _read_lines(raw_root / file):
            if splits.setdefault(_number(line), split) != split:
                raise ValueError(f"picture {line} is in both lists, {lists.train} and {lists.test}")
    return splits


def _read_ffhq_json(path: Path) -> dict[int, Split]:
    if not path.is_file():
        raise ValueError(f"{path} is missing; download it with FFHQ or use split: number")
    categories: dict[str, Split] = {"training": "train", "validation": "test"}
    entries = json.loads(path.read_bytes())
    unknown = {e.get("category") for e in entries.values()} - set(categories)
    if unknown:
        raise ValueError(f"{path}: got the categories {unknown}, expected training and validation")
    return {int(number): categories[entry["category"]] for number, entry in entries.items()}


def _ffhq_split(number: int) -> Split:
    if number >= _FFHQ_PICTURES:
        raise ValueError(f"FFHQ has pictures 0..{_FFHQ_PICTURES - 1}, got number {number}; is this another data set?")
    return "train" if number < _FFHQ_TRAINING else "test"


def _number(name: str) -> int:
    """The last number in a file name: 37 of `00037.png`, `imgHQ00037.npy` or `512_00037.png`."""
    found = re.search(r"(\d+)\.\w+$", name)
    if found is None:
        raise ValueError(f"got the file name {name!r}, expected one that ends in a number")
    return int(found.group(1))


def _folder_split(name: str, layout: FolderLayoutConfig, root: Path) -> Split:
    if layout.split == "hash":
        position = name_hash(f"{layout.seed}/{name}") / 2**64
        if position < layout.test_share:
            return "test"
        return "val" if position < layout.test_share + layout.val_share else "train"
    for split in SPLITS:
        if name.startswith(f"{split}/"):
            return split
    raise ValueError(
        f"{root / name} lies outside {root}/train, val and test; move it, or use split: hash to deal out one folder"
    )
