"""Training batches that are a pure function of (seed, step): resuming needs only the step.

Random numbers are raw 64-bit words of NumPy's Philox generator, keyed by (seed, purpose, epoch or step). NumPy
guarantees those bits for all versions, which it does not for `permutation` or `shuffle`.
"""

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch

from favae.data.dataset import PreparedSplit

_PURPOSES = ("order", "captions", "flip", "crop")


@dataclass(frozen=True, slots=True)
class Batch:
    """Images uint8 [B,C,H,W], their row numbers in the split int64 [B], and one caption per image ([] without captions).

    In a paired data set `condition` holds the other planes, uint8 [B,K,H,W], cut and mirrored like the images.
    """

    images: torch.Tensor
    rows: np.ndarray
    captions: list[str]
    condition: torch.Tensor | None = None


class TrainingBatches:
    """Batches of one split for one of `world_size` processes.

    Every epoch is a new permutation of the split, the same in all processes; images that do not fill a global batch of
    `batch_size * world_size` are dropped. Each process gets a consecutive part of the global batch, so two processes
    with batch 4 see the same images as one process with batch 8.

    An image with n captions has a different one in each epoch, and all of them after n epochs. The first is drawn with
    the seed. (In the official code each pair of image and caption is one sample; its epoch is n of these.)

    Args:
        split: the images to read.
        batch_size: images per process and step.
        seed: seed of order, captions and augmentation.
        rank: of this process.
        world_size: number of processes.
        augment: `none` (official FA-VAE) or `flip`, which mirrors half of the images left to right.
        prefetch: batches that `iter_from` prepares ahead in a thread; 0 for none.
        crop: side of a random square that is cut from each image, or None.
        flip_pairs: left and right classes of a label map, exchanged when it is mirrored.

    Raises:
        ValueError: a global batch larger than the split, a rank that is not below `world_size`, or a crop larger than
            the images.
    """

    def __init__(
        self,
        split: PreparedSplit,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        augment: Literal["none", "flip"] = "none",
        prefetch: int = 2,
        crop: int | None = None,
        flip_pairs: Sequence[tuple[int, int]] = (),
    ) -> None:
        if batch_size < 1 or not 0 <= rank < world_size:
            raise ValueError(
                f"got batch_size {batch_size}, rank {rank} of {world_size}; expected batch_size > 0, 0 <= rank < world"
            )
        if batch_size * world_size > len(split):
            raise ValueError(
                f"a batch of {batch_size} on {world_size} processes needs {batch_size * world_size} images, but the "
                f"{split.split} split of {split.folder} has {len(split)}; give a smaller batch_size"
            )
        if augment not in ("none", "flip"):
            raise ValueError(f"unknown augment {augment!r}, expected 'none' or 'flip'")
        if crop is not None and crop > min(split.image_shape[1:]):
            raise ValueError(f"a crop of {crop} does not fit into images of {split.image_shape[1:]}: reduce image_size")
        self._crop = crop
        self._exchange = torch.arange(256, dtype=torch.uint8)
        for left, right in flip_pairs:
            self._exchange[left], self._exchange[right] = right, left
        self._split = split
        self._batch_size = batch_size
        self._seed = seed
        self._first = rank * batch_size
        self._global = batch_size * world_size
        self._augment = augment
        self._prefetch = prefetch
        self._order: tuple[int, np.ndarray] | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Number of whole global batches in one pass over the split."""
        return len(self._split) // self._global

    def batch(self, step: int) -> Batch:
        """The batch of training step `step`, counted from 0 over all epochs."""
        epoch, within = divmod(step, self.steps_per_epoch)
        start = within * self._global + self._first
        rows = self._permutation(epoch)[start : start + self._batch_size]
        stored = self._split.stored(rows)
        if self._crop is not None:
            stored = self._cut(stored, step)
        if self._augment == "flip":
            bits = self._random("flip", step, self._global)[self._first : self._first + self._batch_size]
            self._mirror(stored, torch.from_numpy(bits >> np.uint64(63) == 1))
        channels = self._split.planes["image"]
        condition = stored[:, channels:] if stored.shape[1] > channels else None
        return Batch(stored[:, :channels], rows, self._choose_captions(rows, epoch), condition)

    def _cut(self, stored: torch.Tensor, step: int) -> torch.Tensor:
        """A random square of each image, the same of all its planes."""
        assert self._crop is not None
        bits = self._random("crop", step, 2 * self._global)[2 * self._first : 2 * (self._first + self._batch_size)]
        free = np.array(stored.shape[2:], dtype=np.uint64) - np.uint64(self._crop) + np.uint64(1)
        corners = (bits.reshape(-1, 2) % free).astype(int).tolist()
        side = self._crop
        return torch.stack(
            [x[:, top : top + side, left : left + side] for x, (top, left) in zip(stored, corners, strict=True)]
        )

    def _mirror(self, stored: torch.Tensor, mirrored: torch.Tensor) -> None:
        """Mirror the chosen images in place, and exchange left and right classes of their label maps."""
        flipped = stored[mirrored].flip(-1)
        if "labels" in self._split.planes:
            plane = self._split.planes["image"]
            flipped[:, plane] = self._exchange[flipped[:, plane].long()]
        stored[mirrored] = flipped

    def iter_from(self, step: int) -> Iterator[Batch]:
        """Batches of `step`, `step` + 1, ... without end, prefetched by a thread, in pinned memory if CUDA is available.

        An error in the thread is raised here. Close the iterator (or let it be garbage-collected) to stop the thread.
        """
        if self._prefetch < 1:
            while True:
                yield self._pinned(self.batch(step))
                step += 1
        ready: queue.Queue[Batch | BaseException] = queue.Queue(self._prefetch)
        stop = threading.Event()
        thread = threading.Thread(target=self._produce, args=(step, ready, stop), name="batches", daemon=True)
        thread.start()
        try:
            while True:
                item = ready.get()
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()
            thread.join()

    def _produce(self, step: int, ready: "queue.Queue[Batch | BaseException]", stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                item: Batch | BaseException = self._pinned(self.batch(step))
            except Exception as error:  # noqa: BLE001 - handed to the consumer, which raises it
                item = error
            while not stop.is_set():
                try:
                    ready.put(item, timeout=0.1)
                    break
                except queue.Full:
                    continue
            if isinstance(item, BaseException):
                return
            step += 1

    @staticmethod
    def _pinned(batch: Batch) -> Batch:
        if not torch.cuda.is_available():
            return batch
        condition = None if batch.condition is None else batch.condition.pin_memory()
        return Batch(batch.images.pin_memory(), batch.rows, batch.captions, condition)

    def _permutation(self, epoch: int) -> np.ndarray:
        if self._order is None or self._order[0] != epoch:
            bits = self._random("order", epoch, len(self._split))
            self._order = (epoch, np.argsort(bits, kind="stable"))
        return self._order[1]

    def _choose_captions(self, rows: np.ndarray, epoch: int) -> list[str]:
        offered = [self._split.captions(int(row)) for row in rows]
        if not any(offered):
            return []
        first = self._first_captions
        return [texts[(int(first[row]) + epoch) % len(texts)] for row, texts in zip(rows, offered, strict=True)]

    @cached_property
    def _first_captions(self) -> np.ndarray:
        """For each image, a random number that chooses the caption it starts with. The same in all epochs."""
        return self._random("captions", 0, len(self._split))

    def _random(self, purpose: Literal["order", "captions", "flip", "crop"], counter: int, count: int) -> np.ndarray:
        """`count` uniform 64-bit words, a pure function of the arguments and the seed."""
        key = np.random.SeedSequence([self._seed, _PURPOSES.index(purpose), counter])
        return np.random.Philox(key).random_raw(count)
