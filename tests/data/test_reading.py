"""Images are read as they are in the shards, whichever rows are asked for, by however many threads."""

import gc
import os
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from favae.data import reading
from favae.data.reading import ShardReader, open_shard


@pytest.fixture
def shards(tmp_path: Path) -> tuple[list[Path], np.ndarray]:
    """Five shards of 7, 7, 7, 7 and 3 images of 40 x 36 x 3, and all pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (31, 40, 36, 3), dtype=np.uint8)
    files = [tmp_path / f"{n}.npy" for n in range(5)]
    for n, file in enumerate(files):
        np.save(file, pixels[7 * n : 7 * n + 7])
    return files, pixels


def open_all(files: list[Path]) -> ShardReader:
    return ShardReader([open_shard(f, len(np.load(f, mmap_mode="r"))) for f in files])


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture(params=[0, reading._NOWAIT], ids=["in threads", "from memory"])
def _threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(reading, "_NOWAIT", request.param)
    monkeypatch.setattr(reading, "_PIECE", 3 * 40 * 36 * 3)
    yield


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize(
    "rows", [[], [0], [30], range(31), range(5, 23), [3, 3, 4, 4, 4, 5], [0, 6, 7, 13, 14, 20, 21, 27, 28, 30]]
)
def test_any_ascending_rows_are_the_pixels(shards: tuple[list[Path], np.ndarray], rows: range | list[int]) -> None:
    files, pixels = shards
    wanted = np.array(rows, dtype=np.int64)
    assert np.array_equal(open_all(files).read(wanted), pixels[wanted])


def test_images_of_less_than_a_page_are_the_pixels(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 28, 28, 1), dtype=np.uint8)
    for n in range(3):
        np.save(tmp_path / f"{n}.npy", pixels[7 * n : 7 * n + 7])
    rows = np.array([0, 0, 3, 6, 7, 13, 14, 19])
    assert np.array_equal(open_all([tmp_path / f"{n}.npy" for n in range(3)]).read(rows), pixels[rows])


@pytest.mark.usefixtures("_threads")
def test_a_read_that_the_kernel_cuts_short_is_continued(
    shards: tuple[list[Path], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    files, pixels = shards
    whole = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, buffers, *at: whole(fd, [buffers[0][:100]], *at))
    assert np.array_equal(open_all(files).read(np.arange(31)), pixels)


def test_threads_read_together_with_one_file_open_at_a_time(
    shards: tuple[list[Path], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    files, pixels = shards
    monkeypatch.setattr(reading, "_MOST_FILES", 1)
    monkeypatch.setattr(reading, "_NOWAIT", 0)
    reader, before = open_all(files), _open_files()
    wanted = [np.sort(np.random.default_rng(n).integers(0, 31, 12)) for n in range(200)]
    with ThreadPoolExecutor(4) as pool:
        for rows, found in zip(wanted, pool.map(reader.read, wanted), strict=True):
            assert np.array_equal(found, pixels[rows])
    assert _open_files() <= before + 1
    del reader, found
    gc.collect()
    assert _open_files() <= before


def test_few_descriptors_are_enough(tmp_path: Path) -> None:
    files = [tmp_path / f"{n}.npy" for n in range(100)]
    for n, file in enumerate(files):
        np.save(file, np.full((1, 40, 40, 3), n, np.uint8))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (_open_files() + 40, hard))
        assert open_all(files).read(np.arange(100))[:, 0, 0, 0].tolist() == list(range(100))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_file_system_that_cannot_say_what_is_in_memory_is_read_all_the_same(
    shards: tuple[list[Path], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    files, pixels = shards
    whole = os.preadv

    def refuse(descriptor: int, buffers: list[memoryview], offset: int, flags: int = 0) -> int:
        if flags:
            raise OSError(95, "Operation not supported")
        return whole(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", refuse)
    assert np.array_equal(open_all(files).read(np.arange(31)), pixels)


def test_a_shard_cut_short_after_it_was_opened_is_named(shards: tuple[list[Path], np.ndarray]) -> None:
    files, _ = shards
    reader = open_all(files)
    os.truncate(files[2], 9000)
    with pytest.raises(ValueError, match=r"2\.npy is damaged or cut short"):
        reader.read(np.arange(31))


def test_a_shard_that_went_away_is_named(shards: tuple[list[Path], np.ndarray]) -> None:
    files, _ = shards
    reader = open_all(files)
    files[1].unlink()
    with pytest.raises(OSError, match=r"No such file or directory: '.*1\.npy'"):
        reader.read(np.array([8]))


def test_images_of_two_shapes_are_refused(tmp_path: Path) -> None:
    for n, side in enumerate((4, 5)):
        np.save(tmp_path / f"{n}.npy", np.zeros((2, side, 4, 3), np.uint8))
    with pytest.raises(ValueError, match=r"1\.npy holds images of \[5, 4, 3\], but 0\.npy images of \[4, 4, 3\]"):
        open_all([tmp_path / "0.npy", tmp_path / "1.npy"])


def test_columns_first_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "0.npy", np.asfortranarray(np.zeros((2, 4, 5, 3), np.uint8)))
    with pytest.raises(ValueError, match=r"expected uint8 \[2,H,W,C\]"):
        open_shard(tmp_path / "0.npy", 2)
