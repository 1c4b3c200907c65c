"""Preparation: raw pictures of any layout to shards, an index with hashes, captions, and a summary for the card."""

import csv
import functools
import hashlib
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from favae.config.dataset import DatasetConfig, TilesLayoutConfig
from favae.data.images import BadImage, Decoded, binarize, read_image, resize, to_array
from favae.data.layouts import list_records
from favae.data.mnist import read_images
from favae.data.records import SPLITS, ImageRecord, count_splits, name_hash
from favae.data.shards import ShardWriter
from favae.data.tiles import tile_caption
from favae.runtime import paths

INDEX_COLUMNS = ("split", "shard", "row", "id", "source", "sha256", "label", "box")
CAPTION_COLUMNS = ("id", "caption")
BAD_IMAGE_COLUMNS = ("split", "id", "source", "reason")
_CHUNK = 8  # records a worker takes at a time: few, so that all end together
_NAMED = 20  # bad images named in an error message; the report has them all

Progress = Callable[[int, int], None]


class BadImagesError(ValueError):
    """Some pictures cannot be used and the policy is to fail. `bad` has them all."""

    def __init__(self, bad: list[tuple[ImageRecord, str]], total: int, report: Path) -> None:
        lines = [f"  {record.source}: {reason}" for record, reason in bad[:_NAMED]]
        if len(bad) > _NAMED:
            lines.append(f"  ... and {len(bad) - _NAMED:,} more in {report}")
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


def prepare(
    config: DatasetConfig, raw_root: Path, out_dir: Path, workers: int = 1, progress: Progress | None = None
) -> dict[str, Any]:
    """Write shards, `index.csv`, `captions.csv` and `bad_images.csv` into `out_dir`; the same bytes for any `workers`.

    Args:
        spec: what to read and how.
        raw_root: folder of the raw data; unused by tiles.
        out_dir: existing empty folder. The caller publishes it.
        workers: threads that decode.
        progress: called with (pictures done, pictures in all).

    Returns:
        For the card: `found` (before skipping), `counts`, `image_shape`, `pixel_sha256` per split, `bad_images`,
        `bad_image_reasons`, `conversions`, `flat_tiles`, `captions`, and `in_several_splits`, the number of files that
        occur byte for byte in more than one split.

    Raises:
        BadImagesError: pictures that cannot be used, all of them, when the policy is to fail. `bad_images.csv` is
            written.
        ValueError: raw data that do not match the layout, its lists or the expected counts, or an empty training split.
    """
    records = list_records(config, raw_root)
    bad: list[tuple[ImageRecord, str]] = []
    with _Output(config, out_dir) as output:
        results = zip(records, _load_all(records, config, workers), strict=True)
        for done, (record, result) in enumerate(results, start=1):
            if isinstance(result, str):
                bad.append((record, result))
            elif not (bad and config.on_bad_image == "fail"):  # no data will be kept: only look for more bad ones
                output.add(record, result)
            if progress:
                progress(done, len(records))
    report = out_dir / "bad_images.csv"
    _write_bad_images(report, bad)
    if bad and config.on_bad_image == "fail":
        raise BadImagesError(bad, len(records), report)
    if not output.counts["train"]:
        raise ValueError(f"no training picture is left of {len(records)} found ({len(bad)} bad)")
    return {
        "found": dict(count_splits(records)),
        "bad_images": len(bad),
        "bad_image_reasons": dict(sorted(Counter(reason.split(":")[0] for _, reason in bad).items())),
        **output.summary(),
    }


class _Output:
    """The files of a prepared data set while they are written, and what is counted meanwhile."""

    def __init__(self, config: DatasetConfig, folder: Path) -> None:
        self._tiles = config.layout if isinstance(config.layout, TilesLayoutConfig) else None
        self._image_shape = (config.image_size, config.image_size, config.channels)
        self._stack = ExitStack()
        self._writers = {
            split: self._stack.enter_context(ShardWriter(folder, split, config.shard_rows, self._image_shape))
            for split in SPLITS
        }
        self._index = self._table(folder / paths.INDEX, INDEX_COLUMNS)
        self._captions = self._table(folder / paths.CAPTIONS, CAPTION_COLUMNS)
        self._pixels = {split: hashlib.sha256() for split in SPLITS}
        self._changes: Counter[str] = Counter()
        self._first_split: dict[str, str] = {}
        self._copied: set[str] = set()
        self._flat_tiles = 0
        self._caption_count = 0
        self.counts: dict[str, int] = dict.fromkeys(SPLITS, 0)

    def __enter__(self) -> "_Output":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, record: ImageRecord, loaded: _Loaded) -> None:
        """Write one picture, unless it is a tile that shows nothing."""
        texts = record.captions
        if self._tiles:
            if loaded.pixels.std() < self._tiles.min_std:
                self._flat_tiles += 1
                return
            texts = (tile_caption(record, loaded.pixels),)
        shard, row = self._writers[record.split].append(loaded.pixels)
        label = "" if record.label is None else record.label
        box = "" if record.box is None else " ".join(map(str, record.box))
        self._index.writerow((record.split, shard, row, record.id, record.source, loaded.sha256, label, box))
        self._captions.writerows((record.id, text) for text in texts)
        self._caption_count += len(texts)
        self._changes.update(loaded.changes)
        self._pixels[record.split].update(loaded.pixels.tobytes())
        if self._first_split.setdefault(loaded.sha256, record.split) != record.split:
            self._copied.add(loaded.sha256)
        self.counts[record.split] += 1

    def summary(self) -> dict[str, Any]:
        """What was written."""
        return {
            "counts": self.counts,
            "image_shape": list(self._image_shape),
            "pixel_sha256": {split: digest.hexdigest() for split, digest in self._pixels.items()},
            "conversions": dict(sorted(self._changes.items())),
            "flat_tiles": self._flat_tiles,
            "captions": self._caption_count,
            "in_several_splits": len(self._copied),
        }

    def _table(self, path: Path, columns: tuple[str, ...]) -> Any:
        writer = csv.writer(
            self._stack.enter_context(path.open("w", newline="", encoding="utf-8")), lineterminator="\n"
        )
        writer.writerow(columns)
        return writer


def _write_bad_images(path: Path, bad: list[tuple[ImageRecord, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(BAD_IMAGE_COLUMNS)
        writer.writerows((record.split, record.id, record.source, reason) for record, reason in bad)


def _load_all(records: list[ImageRecord], config: DatasetConfig, workers: int) -> Iterator[_Loaded | str]:
    """Pixels, or the reason why there are none, for every record in order."""
    chunks = [records[i : i + _CHUNK] for i in range(0, len(records), _CHUNK)]
    if workers <= 1:
        for chunk in chunks:
            yield from _load_chunk(chunk, config)
        return
    # Threads: Pillow and hashlib let go of the interpreter while they work, and pictures need not be sent between processes.
    with ThreadPoolExecutor(workers) as pool:
        yield from _in_order(pool, chunks, config, ahead=4 * workers)


def _in_order(
    pool: Executor, chunks: Iterable[list[ImageRecord]], config: DatasetConfig, ahead: int
) -> Iterator[_Loaded | str]:
    """Results in order of submission with a bounded number in flight, so decoded pictures never pile up in memory."""
    waiting: deque[Future[list[_Loaded | str]]] = deque()
    for chunk in chunks:
        waiting.append(pool.submit(_load_chunk, chunk, config))
        if len(waiting) >= ahead:
            yield from waiting.popleft().result()
    while waiting:
        yield from waiting.popleft().result()


def _load_chunk(records: list[ImageRecord], config: DatasetConfig) -> list[_Loaded | str]:
    return [_load(record, config) for record in records]


def _load(record: ImageRecord, config: DatasetConfig) -> _Loaded | str:
    if record.item is not None:
        return _load_item(record, config)
    read = _sources.read if record.box else read_image
    try:
        decoded: Decoded = read(record.path, config.channels, config.non_rgb, config.exif)
    except BadImage as error:
        return error.reason
    image = decoded.image.crop(record.box) if record.box else decoded.image
    pixels = _to_pixels(image, record, config)
    changes = decoded.changes + (("upscaled",) if min(image.size) < config.image_size else ())
    sha256 = hashlib.sha256(image.tobytes()).hexdigest() if record.box else decoded.sha256
    return _Loaded(pixels, sha256, changes)


class _Sources(threading.local):
    """The last photographs that a thread decoded: many tiles of one follow one another."""

    def __init__(self) -> None:
        self.read = functools.lru_cache(maxsize=2)(read_image)


_sources = _Sources()


def _load_item(record: ImageRecord, config: DatasetConfig) -> _Loaded:
    image = Image.fromarray(read_images(record.path)[record.item], mode="L")
    sha256 = hashlib.sha256(image.tobytes()).hexdigest()
    changes = ("upscaled",) if image.width < config.image_size else ()
    image = image if config.channels == 1 else image.convert("RGB")
    return _Loaded(_to_pixels(image, record, config), sha256, changes)


def _to_pixels(image: Image.Image, record: ImageRecord, config: DatasetConfig) -> np.ndarray:
    pixels = to_array(resize(image, config.image_size, config.resize))
    return pixels if config.binarize == "none" else binarize(pixels, config.binarize, name_hash(record.id))
