"""Preparation: raw images of any layout to shards, an index with hashes, captions, and a summary for the card."""

import csv
import functools
import hashlib
import json
import logging
import shutil
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from favae.config.dataset import DatasetConfig
from favae.config.pairs import PairsLayoutConfig
from favae.data.digest import RAW_TABLE, digest, raw_files, write_raw_files
from favae.data.images import BadImage, Decoded, binarize, read_image, resize, squash, to_array
from favae.data.layouts import RawFiles, list_records
from favae.data.mnist import read_images
from favae.data.output import DatasetWriter
from favae.data.pair_records import load_pair
from favae.data.records import ImageRecord, count_splits, name_hash
from favae.runtime import paths

BAD_IMAGE_COLUMNS = ("split", "id", "source", "reason")
log = logging.getLogger(__name__)
_SAVE_EVERY = 1024  # records between two saved states, from which an interrupted preparation resumes
_CHUNK = 8  # records per worker and turn: few, so that all workers finish at about the same time
_NAMED = 20  # bad images listed in an error message; bad_images.csv has all

Progress = Callable[[int, int], None]


class BadImagesError(ValueError):
    """Some images cannot be used and `on_bad_image` is fail. `bad` lists all of them."""

    def __init__(self, bad: list[tuple[ImageRecord, str]], total: int, report: Path) -> None:
        lines = [f"  {record.source}: {reason}" for record, reason in bad[:_NAMED]]
        if len(bad) > _NAMED:
            lines.append(f"  ... and {len(bad) - _NAMED:,} more in {report}")
        super().__init__(
            f"{len(bad):,} of {total:,} images cannot be used:\n" + "\n".join(lines) + "\n"
            "Replace them, or set on_bad_image: skip to leave them out (the card then records how many)"
        )
        self.bad = bad


@dataclass(frozen=True, slots=True)
class _Loaded:
    pixels: np.ndarray
    sha256: str
    changes: tuple[str, ...]


def prepare(
    config: DatasetConfig,
    raw_root: Path,
    out_dir: Path,
    workers: int = 1,
    progress: Progress | None = None,
    unfinished: Path | None = None,
) -> dict[str, Any]:
    """Write shards, `index.csv`, `captions.csv`, `bad_images.csv` and `raw.csv` into `out_dir`; the same bytes for any `workers`.

    Args:
        config: parameters of the data set.
        raw_root: folder of the raw data; unused by tiles.
        out_dir: existing empty folder, which the caller publishes.
        workers: number of threads that decode.
        progress: called with (images done, total number of images).
        unfinished: folder for unfinished work, on the file system of `out_dir`. If the process is killed, the next one
            with the same listing and parameters resumes there. By default `out_dir`, without resuming.

    Returns:
        For the card: `found` (before skipping), `raw` (files, bytes and a digest of the listing), `unused` (files that
        were left out, by reason), `counts`, `image_shape`, `pixel_sha256` per split, `bad_images`, `bad_image_reasons`,
        `conversions`, `flat_tiles`, `captions`, and `in_several_splits`, the number of files that occur byte for byte
        in more than one split.

    Raises:
        BadImagesError: some images cannot be used and `on_bad_image` is fail. `bad_images.csv` is written.
        ValueError: raw data that do not match the layout, its lists or the expected counts, or an empty training split.
    """
    raw = RawFiles()
    records = list_records(config, raw_root, raw)
    files = raw_files(config, raw_root, records, raw)
    for line in raw.unused.lines():
        log.warning("%s: %s", config.layout.kind, line)
    work = out_dir if unfinished is None else unfinished
    work.mkdir(parents=True, exist_ok=True)
    with DatasetWriter(config, work, _identity(config, records) if unfinished else "") as output:
        _fill(output, records, config, workers, progress, keep=unfinished is not None)
    report = out_dir / "bad_images.csv"
    bad = [(records[number], reason) for number, reason in output.bad]
    _write_bad_images(report, bad)
    if bad and config.on_bad_image == "fail":
        raise BadImagesError(bad, len(records), report)
    if not output.counts["train"]:
        example = f"; {bad[0][0].source}: {bad[0][1]}" if bad else ""
        raise ValueError(f"no training image is left of {len(records)} found ({len(bad)} bad{example})")
    if unfinished is not None:
        for path in output.files():
            path.replace(out_dir / path.name)
        shutil.rmtree(unfinished)
    write_raw_files(out_dir / RAW_TABLE, files)
    if isinstance(config.layout, PairsLayoutConfig):
        (out_dir / paths.PLANES).write_text(json.dumps(config.planes) + "\n", encoding="utf-8")
    return {
        "found": dict(count_splits(records)),
        "raw": digest(files),
        "unused": raw.unused.summary(),
        "bad_images": len(bad),
        "bad_image_reasons": dict(sorted(Counter(reason.split(":")[0] for _, reason in bad).items())),
        **output.summary(),
    }


def _fill(
    output: DatasetWriter,
    records: list[ImageRecord],
    config: DatasetConfig,
    workers: int,
    progress: Progress | None,
    keep: bool,
) -> None:
    """Decode and write all records after those that `output` already has."""
    start = output.done
    loaded = _load_all(records[start:], config, workers)
    for number, (record, result) in enumerate(zip(records[start:], loaded, strict=True), start=start):
        if isinstance(result, str):
            output.bad.append((number, result))
        elif not (output.bad and config.on_bad_image == "fail"):  # otherwise only look for further bad images
            output.add(record, result.pixels, result.sha256, result.changes)
        if keep and (number + 1) % _SAVE_EVERY == 0 and not (output.bad and config.on_bad_image == "fail"):
            output.save(number + 1)
        if progress:
            progress(number + 1, len(records))


def _identity(config: DatasetConfig, records: list[ImageRecord]) -> str:
    """Hash of the parameters and of all records, with size and time of each file; valid on this machine only."""
    found = hashlib.sha256(f"{config.model_dump_json()} Pillow {Image.__version__}\n".encode())
    states: dict[Path, str] = {}
    for record in records:
        files = record.pair.files() if record.pair else [record.path]
        for path in files:
            if path not in states:
                try:
                    status = path.stat()
                    states[path] = f"{status.st_size} {status.st_mtime_ns}"
                except OSError:
                    states[path] = "missing"
        state = " ".join(states[path] for path in files)
        found.update(f"{record!r} {state}\n".encode(errors="surrogateescape"))
    return found.hexdigest()


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
    # Pillow and hashlib release the GIL, and threads need not copy images between processes.
    with ThreadPoolExecutor(workers) as pool:
        yield from _in_order(pool, chunks, config, ahead=4 * workers)


def _in_order(
    pool: Executor, chunks: Iterable[list[ImageRecord]], config: DatasetConfig, ahead: int
) -> Iterator[_Loaded | str]:
    """Results in order of submission. The number of pending tasks is bounded, so that decoded images do not accumulate
    in memory."""
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
    if record.pair is not None:
        try:
            return _Loaded(*load_pair(record, config))
        except BadImage as error:
            return error.reason if error.path == str(record.path) else str(error)
    read = _sources.read if record.box else read_image
    try:
        decoded: Decoded = read(record.path, config.channels, config.non_rgb, config.exif, config.most_megapixels)
    except BadImage as error:
        return error.reason
    image = decoded.image.crop(record.box) if record.box else decoded.image
    pixels = _to_pixels(image, record, config)
    changes = decoded.changes + (("upscaled",) if min(image.size) < config.image_size else ())
    sha256 = hashlib.sha256(image.tobytes()).hexdigest() if record.box else decoded.sha256
    return _Loaded(pixels, sha256, changes)


class _Sources(threading.local):
    """Cache of the last photographs that a thread decoded: consecutive tiles are often cut from the same photograph."""

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
    height, width = config.stored_size(record.split)
    if height == width:
        pixels = to_array(resize(image, height, config.resize, config.filter))
    else:
        pixels = to_array(squash(image, (height, width), config.filter))
    return pixels if config.binarize == "none" else binarize(pixels, config.binarize, name_hash(record.id))
