"""Preparation: raw pictures of any layout to shards, an index with hashes, captions, and a summary for the card."""

import csv
import functools
import hashlib
import multiprocessing
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from favae.config.dataset import DatasetSpec, TilesLayout
from favae.data.images import BadImage, Decoded, read_image, resize, to_array
from favae.data.layouts import list_records
from favae.data.mnist import read_images
from favae.data.records import SPLITS, ImageRecord, count_splits
from favae.data.shards import ShardWriter
from favae.data.tiles import tile_caption

INDEX_COLUMNS = ("split", "shard", "row", "id", "source", "sha256", "label", "box")
CAPTION_COLUMNS = ("id", "caption")
BAD_IMAGE_COLUMNS = ("split", "id", "source", "reason")
_CHUNK = 16  # records a worker takes at a time
_NAMED = 20  # bad images named in an error message; the report has them all

Progress = Callable[[int, int], None]


class BadImagesError(ValueError):
    """Some pictures cannot be used and the policy is to fail. `bad` has them all."""

    def __init__(self, bad: list[tuple[ImageRecord, str]], total: int) -> None:
        lines = [f"  {record.source}: {reason}" for record, reason in bad[:_NAMED]]
        if len(bad) > _NAMED:
            lines.append(f"  ... and {len(bad) - _NAMED:,} more in bad_images.csv")
        super().__init__(
            f"{len(bad):,} of {total:,} pictures cannot be used:\n" + "\n".join(lines) + "\n"
            "Replace them, or set on_bad_image: skip to go on without them (the card then says how many)"
        )
        self.bad = bad


@dataclass(frozen=True, slots=True)
class _Loaded:
    pixels: np.ndarray
    sha256: str
    changes: tuple[str, ...]


@dataclass
class _Tally:
    """What preparation counts while pictures go by."""

    bad: list[tuple[ImageRecord, str]] = field(default_factory=list)
    changes: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    flat: int = 0
    captions: int = 0
    pixels: dict[str, Any] = field(default_factory=lambda: {split: hashlib.sha256() for split in SPLITS})
    splits_of: dict[str, set[str]] = field(default_factory=dict)


def prepare(
    spec: DatasetSpec, raw_root: Path, out_dir: Path, workers: int = 1, progress: Progress | None = None
) -> dict[str, Any]:
    """Write shards, `index.csv`, `captions.csv` and `bad_images.csv` into `out_dir`; the same bytes for any `workers`.

    Args:
        spec: what to read and how.
        raw_root: folder of the raw data; unused by tiles.
        out_dir: existing empty folder. The caller publishes it.
        workers: processes that decode.
        progress: called with (pictures done, pictures in all).

    Returns:
        For the card: `counts`, `found` (before skipping), `image_shape`, `pixel_sha256` per split, `bad_images`,
        `bad_image_reasons`, `conversions`, `flat_tiles`, `captions`, and `in_several_splits`, the number of files that
        occur byte for byte in more than one split.

    Raises:
        BadImagesError: pictures that cannot be used, all of them, when the policy is to fail. `bad_images.csv` is
            written.
        ValueError: raw data that do not match the layout, its lists or the expected counts, or an empty training split.
    """
    records = list_records(spec, raw_root)
    tally = _Tally()
    loaded = _load_all(records, spec, workers)
    writers = {s: ShardWriter(out_dir, s, spec.shard_rows, _image_shape(spec)) for s in SPLITS}
    with (
        (out_dir / "index.csv").open("w", newline="", encoding="utf-8") as index_file,
        (out_dir / "captions.csv").open("w", newline="", encoding="utf-8") as captions_file,
    ):
        index, captions = csv.writer(index_file, lineterminator="\n"), csv.writer(captions_file, lineterminator="\n")
        index.writerow(INDEX_COLUMNS)
        captions.writerow(CAPTION_COLUMNS)
        for done, (record, result) in enumerate(zip(records, loaded, strict=True), start=1):
            if isinstance(result, str):
                tally.bad.append((record, result))
            elif not (tally.bad and spec.on_bad_image == "fail"):  # no data will be kept: only look for more bad ones
                _write(record, result, spec, writers, index, captions, tally)
            if progress:
                progress(done, len(records))
    for writer in writers.values():
        writer.close()
    _write_bad_images(out_dir / "bad_images.csv", tally.bad)
    if tally.bad and spec.on_bad_image == "fail":
        raise BadImagesError(tally.bad, len(records))
    if not tally.rows["train"]:
        raise ValueError(f"no training picture is left of {len(records)} found ({len(tally.bad)} bad)")
    return _summary(spec, records, tally)


def _write(
    record: ImageRecord,
    loaded: _Loaded,
    spec: DatasetSpec,
    writers: dict[Any, ShardWriter],
    index: Any,
    captions: Any,
    tally: _Tally,
) -> None:
    tiles = isinstance(spec.layout, TilesLayout)
    if isinstance(spec.layout, TilesLayout) and loaded.pixels.std() < spec.layout.min_std:
        tally.flat += 1
        return
    shard, row = writers[record.split].append(loaded.pixels)
    label = "" if record.label is None else record.label
    box = "" if record.box is None else " ".join(map(str, record.box))
    index.writerow((record.split, shard, row, record.id, record.source, loaded.sha256, label, box))
    texts = (tile_caption(record, loaded.pixels),) if tiles else record.captions
    captions.writerows((record.id, text) for text in texts)
    tally.captions += len(texts)
    tally.rows[record.split] += 1
    tally.changes.update(loaded.changes)
    tally.pixels[record.split].update(loaded.pixels.tobytes())
    tally.splits_of.setdefault(loaded.sha256, set()).add(record.split)


def _summary(spec: DatasetSpec, records: list[ImageRecord], tally: _Tally) -> dict[str, Any]:
    return {
        "counts": {split: tally.rows[split] for split in SPLITS},
        "found": dict(count_splits(records)),
        "image_shape": list(_image_shape(spec)),
        "pixel_sha256": {split: tally.pixels[split].hexdigest() for split in SPLITS},
        "bad_images": len(tally.bad),
        "bad_image_reasons": dict(sorted(Counter(reason.split(":")[0] for _, reason in tally.bad).items())),
        "conversions": dict(sorted(tally.changes.items())),
        "flat_tiles": tally.flat,
        "captions": tally.captions,
        "in_several_splits": sum(len(splits) > 1 for splits in tally.splits_of.values()),
    }


def _write_bad_images(path: Path, bad: list[tuple[ImageRecord, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(BAD_IMAGE_COLUMNS)
        writer.writerows((record.split, record.id, record.source, reason) for record, reason in bad)


def _image_shape(spec: DatasetSpec) -> tuple[int, int, int]:
    return spec.image_size, spec.image_size, spec.channels


def _load_all(records: list[ImageRecord], spec: DatasetSpec, workers: int) -> Iterator[_Loaded | str]:
    """Pixels, or the reason why there are none, for every record in order."""
    chunks = [records[i : i + _CHUNK] for i in range(0, len(records), _CHUNK)]
    if workers <= 1:
        for chunk in chunks:
            yield from _load_chunk(chunk, spec)
        return
    # Spawned, not forked: the caller may have started threads (torch), which do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(chunks) or 1), mp_context=context) as pool:
        yield from _in_order(pool, chunks, spec, ahead=4 * workers)


def _in_order(
    pool: ProcessPoolExecutor, chunks: Iterable[list[ImageRecord]], spec: DatasetSpec, ahead: int
) -> Iterator[_Loaded | str]:
    """Results in order of submission with a bounded number in flight, so decoded pictures never pile up in memory."""
    waiting: deque[Future[list[_Loaded | str]]] = deque()
    for chunk in chunks:
        waiting.append(pool.submit(_load_chunk, chunk, spec))
        if len(waiting) >= ahead:
            yield from waiting.popleft().result()
    while waiting:
        yield from waiting.popleft().result()


def _load_chunk(records: list[ImageRecord], spec: DatasetSpec) -> list[_Loaded | str]:
    return [_load(record, spec) for record in records]


def _load(record: ImageRecord, spec: DatasetSpec) -> _Loaded | str:
    if record.item is not None:
        return _load_item(record, spec)
    read = _read_source if record.box else read_image
    try:
        decoded: Decoded = read(record.path, spec.channels, spec.non_rgb, spec.exif)
    except BadImage as error:
        return error.reason
    image = decoded.image.crop(record.box) if record.box else decoded.image
    pixels = to_array(resize(image, spec.image_size, spec.resize))
    changes = decoded.changes + (("upscaled",) if min(image.size) < spec.image_size else ())
    sha256 = hashlib.sha256(image.tobytes()).hexdigest() if record.box else decoded.sha256
    return _Loaded(pixels, sha256, changes)


# Many tiles of one photograph follow one another.
_read_source = functools.lru_cache(maxsize=2)(read_image)


def _load_item(record: ImageRecord, spec: DatasetSpec) -> _Loaded:
    image = Image.fromarray(read_images(record.path)[record.item], mode="L")
    sha256 = hashlib.sha256(image.tobytes()).hexdigest()
    changes = ("upscaled",) if image.width < spec.image_size else ()
    image = image if spec.channels == 1 else image.convert("RGB")
    return _Loaded(to_array(resize(image, spec.image_size, spec.resize)), sha256, changes)
