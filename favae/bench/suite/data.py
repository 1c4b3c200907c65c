"""Preparation of a data set, and reading it in training, compared with Pillow on single files."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from favae.bench.compare import Case, Disagreement, Work, comparison
from favae.bench.networks import random_batch
from favae.bench.section import Settings
from favae.config.dataset import DatasetConfig
from favae.data.batches import TrainingBatches
from favae.data.dataset import PreparedSplit
from favae.data.prepare import prepare
from favae.runtime import paths

_DIFFERENT, _BATCH = 16, 8


def _write_images(folder: Path, count: int, side: int) -> list[Path]:
    """`count` JPEG files, most of them links to the first few, and one more for the validation split."""
    train, val = folder / "images" / "train", folder / "images" / "val"
    train.mkdir(parents=True)
    val.mkdir()
    noise = np.random.default_rng(0)
    smooth = random_batch(_DIFFERENT, side).images.permute(0, 2, 3, 1).numpy()
    files = [train / f"{i:06d}.jpg" for i in range(count)]
    for i, path in enumerate(files):
        if i < _DIFFERENT:
            grain = noise.integers(-12, 13, (side, side, 1))
            Image.fromarray((smooth[i].astype(int) + grain).clip(0, 255).astype(np.uint8)).save(path, quality=92)
        else:
            os.link(files[i % _DIFFERENT], path)
    os.link(files[0], val / "0.jpg")
    return files


def _read(path: Path, side: int) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR))


def _spec(side: int) -> DatasetConfig:
    layout = {"kind": "folder", "root": "images"}
    return DatasetConfig.model_validate({"layout": layout, "image_size": side})


def _preparation(peer: Literal["one process", "every core"]) -> Callable[[Settings], AbstractContextManager[Work]]:
    @contextmanager
    def build(settings: Settings) -> Iterator[Work]:
        count, large, side = (24, 64, 16) if settings.quick else (960, 1024, 256)
        processes = (
            ProcessPoolExecutor(settings.threads, get_context("spawn")) if peer == "every core" else nullcontext()
        )
        with TemporaryDirectory() as name, processes as pool:
            folder = Path(name)
            files = _write_images(folder, count, large)
            read = partial(_read, side=side)

            def run_ours() -> np.ndarray:
                with TemporaryDirectory(dir=folder) as out:
                    prepare(_spec(side), folder, Path(out), workers=settings.threads)
                    return np.load(Path(out) / "train-00000.npy")[:_DIFFERENT]

            def run_peer() -> np.ndarray:
                pixels = np.stack(list(pool.map(read, files, chunksize=8) if pool else map(read, files)))
                np.save(folder / "peer.npy", pixels)
                return pixels[:_DIFFERENT]

            def agree() -> str:
                if not np.array_equal(run_ours(), run_peer()):
                    raise Disagreement("pixels of prepared images are not Pillow's")
                return "pixels equal"

            yield Work(run_ours, run_peer, agree)

    return build


def _prepared(folder: Path, side: int, workers: int) -> PreparedSplit:
    shards = folder / paths.SHARDS
    shards.mkdir()
    prepare(_spec(side), folder, shards, workers=workers)
    return PreparedSplit(shards, "train")


def write_prepared(folder: Path, count: int, side: int) -> PreparedSplit:
    """The training split of a prepared data set of `count` images."""
    _write_images(folder, count, side)
    return _prepared(folder, side, workers=1)


@contextmanager
def _input(settings: Settings) -> Iterator[Work]:
    count, side = (24, 16) if settings.quick else (1024, 256)
    with TemporaryDirectory() as name:
        folder = Path(name)
        files = _write_images(folder, count, side)
        batches = TrainingBatches(_prepared(folder, side, settings.threads), _BATCH, seed=0)
        steps = batches.steps_per_epoch

        def run_ours() -> Tensor:
            source = batches.iter_from(0)
            last = [next(source).images for _ in range(steps)][-1]
            source.close()  # type: ignore[attr-defined]
            return last

        def run_peer() -> Tensor:
            for step in range(steps):
                rows = batches.batch(step).rows if step == steps - 1 else range(step * _BATCH, (step + 1) * _BATCH)
                pixels = np.stack([_read(files[row], side) for row in rows])
                last = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
            return last

        def agree() -> str:
            if not torch.equal(run_ours(), run_peer()):
                raise Disagreement("a batch from shards is not Pillow's")
            return "pixels equal"

        yield Work(run_ours, run_peer, agree)


SECTION = comparison(
    7,
    "Data",
    [
        Case(
            "960 JPEG files of 1024 pixels to one shard of 256",
            _preparation("one process"),
            faster=1.8,
            measures_memory=False,
        ),
        Case("the same, and Pillow on every core", _preparation("every core"), measures_memory=False),
        Case("1024 images of 256 pixels, batches of 8", _input, faster=3, measures_memory=False),
    ],
    "Peer: Pillow on single files, one process. Ours also checks, hashes and indexes every file (`prepare`, in threads), and reads "
    "training batches from memory-mapped shards in a thread. Both end with uint8 batches, because the training device converts them "
    "to float. The goal of 1.8 for preparation assumes two free cores. The row after it shows how much the second core really "
    "helped at the time: there the peer is plain Pillow with one process per core, started beforehand.",
    devices=("cpu",),
)
