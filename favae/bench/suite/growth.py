"""What grows with the data: cold reads, the index and hashes, compared with memory maps, lists and repeated hashing."""

import contextlib
import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch

from favae.bench.compare import Disagreement
from favae.bench.section import Row, Section, Settings
from favae.data.dataset import PreparedSplit
from favae.data.shards import shard_name
from favae.runtime import paths
from favae.runtime.hash_memory import sha256_of
from favae.runtime.hashes import sha256_file

_BATCH = 16
_RANKS = 2
_IO = Path("/proc/self/io")
_INDEX_ROW = "train,{shard},{row},{name},ILSVRC/Data/CLS-LOC/train/{name}.JPEG,{number:064x},{label},\n"


@dataclass(frozen=True)
class _Pair:
    """Values of ours and of the peer, one per round."""

    ours: list[float]
    peer: list[float]

    def row(self, what: str, unit: str, goal: str, agreement: str, *, more_is_better: bool) -> Row:
        ours, peer = statistics.median(self.ours), statistics.median(self.peer)
        ratio = ours / max(peer, 1e-9) if more_is_better else peer / max(ours, 1e-9)
        return what, f"{ours:.3g} {unit}", f"{peer:.3g} {unit}", f"{ratio:.3g}", goal, agreement


def _in_turns(ours: Callable[[], float], peer: Callable[[], float], rounds: int) -> _Pair:
    pair = _Pair([], [])
    for number in range(rounds):
        for who in ("ours", "peer") if number % 2 == 0 else ("peer", "ours"):
            (pair.ours if who == "ours" else pair.peer).append((ours if who == "ours" else peer)())
    return pair


def _write_split(folder: Path, count: int, side: int, shard_rows: int, *, pixels: bool) -> Path:
    """A prepared split as ImageNet's is: names, labels, no captions. Without `pixels`, shards are holes."""
    shards = folder / paths.SHARDS
    shards.mkdir()
    with (shards / paths.INDEX).open("w", encoding="utf-8") as index:
        index.write("split,shard,row,id,source,sha256,label,box\n")
        for number in range(count):
            name = f"n{number // 1300:08d}/n{number // 1300:08d}_{number}"
            shard, row = divmod(number, shard_rows)
            index.write(_INDEX_ROW.format(shard=shard, row=row, name=name, number=number, label=number // 1300))
    (shards / paths.CAPTIONS).write_text("id,caption\n", encoding="utf-8")
    noise = np.random.default_rng(0)
    for shard, first in enumerate(range(0, count, shard_rows)):
        shape = (min(shard_rows, count - first), side, side, 3)
        file = shards / shard_name("train", shard)
        if pixels:
            with file.open("wb") as opened:
                np.save(opened, noise.integers(0, 256, shape, dtype=np.uint8))
                os.fsync(opened.fileno())  # pages that are not on disk cannot be dropped from memory
        else:
            np.lib.format.open_memmap(file, "w+", np.uint8, shape).flush()
    return shards


class _Mapped:
    """The straightforward reader: memory maps."""

    def __init__(self, folder: Path, rows: int) -> None:
        self._maps = [np.load(path, mmap_mode="r") for path in sorted(folder.glob("train-*.npy"))]
        self._rows = rows

    def images(self, rows: np.ndarray) -> torch.Tensor:
        """Uint8 [B,C,H,W]."""
        x_BHWC = np.empty((len(rows), *self._maps[0].shape[1:]), dtype=np.uint8)
        shards = rows // self._rows
        for shard in np.unique(shards):
            chosen = np.flatnonzero(shards == shard)
            x_BHWC[chosen] = self._maps[shard][rows[chosen] % self._rows]
        return torch.from_numpy(np.ascontiguousarray(x_BHWC.transpose(0, 3, 1, 2)))


def _forget_pages(folder: Path) -> None:
    for path in folder.glob("*.npy"):
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def _bytes_read() -> int:
    return int(
        next(line for line in _IO.read_text(encoding="utf-8").splitlines() if line.startswith("read_bytes")).split()[1]
    )


def _reads(settings: Settings) -> Iterator[Row]:
    count, side, rows, used = (96, 16, 32, 64) if settings.quick else (4096, 256, 512, 512)
    rounds = 1 if settings.quick else min(settings.rounds, 5)
    with TemporaryDirectory() as name:
        shards = _write_split(Path(name), count, side, rows, pixels=True)
        ours = PreparedSplit(shards, "train")
        order = np.random.default_rng(0).permutation(count)
        if not torch.equal(ours.images(order[:_BATCH]), _Mapped(shards, rows).images(order[:_BATCH])):
            raise Disagreement("a batch is not what the memory map gives")
        amounts = _Pair([], [])

        def read(who: Literal["ours", "peer"], *, cold: bool) -> float:
            source: Any = ours if who == "ours" else _Mapped(shards, rows)
            chosen = np.random.default_rng(len(amounts.ours)).permutation(count)[:used]
            if cold:
                _forget_pages(shards)
            before, start = _bytes_read(), time.perf_counter()
            for first in range(0, used, _BATCH):
                source.images(chosen[first : first + _BATCH])
            seconds = time.perf_counter() - start
            if cold:
                share = (_bytes_read() - before) / (used * side * side * 3)
                (amounts.ours if who == "ours" else amounts.peer).append(share)
            return used / seconds

        speeds = _in_turns(lambda: read("ours", cold=True), lambda: read("peer", cold=True), rounds)
        what = f"random batches of {_BATCH} images of {side} pixels"
        yield speeds.row(f"{what}, cold", "images/s", "at least 3", "pixels equal", more_is_better=True)
        yield amounts.row("bytes read for each byte used", "", "ours at most 1.1", "", more_is_better=False)
        for path in shards.glob("*.npy"):
            path.read_bytes()
        speeds = _in_turns(lambda: read("ours", cold=False), lambda: read("peer", cold=False), 3 * rounds)
        yield speeds.row(f"{what}, warm", "images/s", "at least 1", "pixels equal", more_is_better=True)


class _Lists:
    """The index as lists, in each process."""

    def __init__(self, folder: Path) -> None:
        self.ids: list[str] = []
        self.labels: list[int] = []
        self.positions: list[tuple[int, int]] = []
        with (folder / paths.INDEX).open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                self.ids.append(row["id"])
                self.labels.append(int(row["label"]))
                self.positions.append((int(row["shard"]), int(row["row"])))


def _index(settings: Settings) -> Iterator[Row]:
    count, rows = (3000, 1000) if settings.quick else (1_281_167, 8192)
    with TemporaryDirectory() as name, contextlib.chdir(name):
        paths.STATE.mkdir(parents=True)
        shards = _write_split(Path(name), count, 1, rows, pixels=False)
        start = time.perf_counter()
        ours = PreparedSplit(shards, "train")
        first = time.perf_counter() - start
        lists = _Lists(shards)
        if list(ours.ids) != lists.ids or list(ours.labels) != lists.labels:
            raise Disagreement("the columns are not what the index says")
        del lists
        time.sleep(0 if settings.quick else 3)  # a file that was just written is not remembered
        PreparedSplit(shards, "train")

        def seconds(make: Callable[[], object]) -> float:
            start = time.perf_counter()
            make()
            return time.perf_counter() - start

        opened = _in_turns(
            lambda: seconds(lambda: PreparedSplit(shards, "train")), lambda: seconds(lambda: _Lists(shards)), 3
        )
        what = f"open an index of {count:,} images"
        yield opened.row(what, "s", "ours under 1 s", f"equal; {first:.1f} s once per data set", more_is_better=False)
        memory = _Pair([_memory(shards, "ours")], [_memory(shards, "peer")])
        yield memory.row(f"its memory in {_RANKS} ranks", "MB", "ours under 100 MB", "", more_is_better=False)


def _memory(shards: Path, who: Literal["ours", "peer"]) -> float:
    """Megabytes of memory for the index in all ranks together; shared pages are counted once."""
    command = [sys.executable, "-W", "ignore", "-m", "favae.bench.suite.growth", json.dumps([str(shards), who])]
    ranks = [subprocess.Popen(command, stdin=-1, stdout=-1, text=True) for _ in range(_RANKS)]
    answers = []
    for rank in ranks:
        assert rank.stdout is not None
        rank.stdout.readline()  # it has opened the index
    for rank in ranks:
        assert rank.stdin is not None and rank.stdout is not None
        rank.stdin.write("measure\n")
        rank.stdin.flush()
        answers.append(float(rank.stdout.readline()))
    for rank in ranks:
        rank.communicate("end\n")
    return sum(answers) / 1e6


def _own_share() -> int:
    """Bytes of memory of this process; a page shared by n processes counts as 1/n."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("Pss:")).split()[1])


def _rank(folder: str, who: str) -> None:
    before = _own_share()
    held = PreparedSplit(Path(folder), "train") if who == "ours" else _Lists(Path(folder))
    for said in ("opened", None):
        sys.stdout.write(f"{said or _own_share() - before}\n")
        sys.stdout.flush()
        sys.stdin.readline()
    del held


def _hashes(settings: Settings) -> Iterator[Row]:
    size = 1 << 20 if settings.quick else 1 << 30
    with TemporaryDirectory() as name, contextlib.chdir(name):
        paths.STATE.mkdir(parents=True)
        file = Path("data.bin")
        file.write_bytes(os.urandom(1 << 20) * (size >> 20))
        os.utime(file, (0, 0))
        time.sleep(2.5)  # a file that was just written is not remembered
        if sha256_of(file) != sha256_file(file):
            raise Disagreement("the remembered hash is not the file's")

        def seconds(run: Callable[[Path], str]) -> float:
            start = time.perf_counter()
            run(file)
            return time.perf_counter() - start

        pair = _in_turns(lambda: seconds(sha256_of), lambda: seconds(sha256_file), 3)
        yield pair.row(f"hash of {size >> 20} MiB, again", "s", "", "hashes equal", more_is_better=False)


def _rows(settings: Settings) -> Iterator[Row]:
    if not _IO.exists() or shutil.disk_usage(Path()).free < 4 << 30:
        return  # Linux tells what was read; the shards need a gigabyte
    for part in (_reads, _index, _hashes):
        yield from part(settings)


SECTION = Section(
    31,
    "Growth with the data",
    ("what", "ours", "peer", "times better", "goal", "agreement"),
    _rows,
    "Peers: memory maps of the shards, the index read into lists by each process, and hashing again. Cold: the shards' pages are "
    "dropped from memory before each round (`POSIX_FADV_DONTNEED`); what the disk gave is counted by the kernel "
    "(`/proc/self/io`). The temporary folder must be on a disk. Medians of rounds in turns.",
    devices=("cpu",),
)


if __name__ == "__main__":
    _rank(*json.loads(sys.argv[1]))
