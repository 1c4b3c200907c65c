"""A prepared split reads what was written, and raises an error if its files do not match the index."""

import numpy as np
import pytest
import torch

from favae.data.dataset import PreparedSplit, iterate_batches
from favae.data.pixels import to_float


def test_rows_in_any_order_over_shard_borders(prepared):
    split = prepared(shard_rows=4)
    whole = np.concatenate([np.load(p) for p in sorted(split.folder.glob("train-*.npy"))])
    rows = [9, 0, 4, 3, 4]
    x_BCHW = split.images(rows)
    assert x_BCHW.dtype == torch.uint8 and x_BCHW.is_contiguous() and x_BCHW.shape == (5, *split.image_shape)
    assert np.array_equal(x_BCHW.permute(0, 2, 3, 1).numpy(), whole[rows])
    assert torch.equal(split.images(torch.tensor(rows)), x_BCHW)
    assert split.images([]).shape == (0, *split.image_shape)


def test_ids_and_captions(prepared):
    split = prepared("test")
    assert list(split.ids) == [f"test/{i:02d}.png" for i in range(4)]
    assert split.captions(2) == ["test 2 first", "test 2 second"] and list(split.labels) == [None] * 4


@pytest.mark.parametrize("row", [-1, 10])
def test_a_row_out_of_range_is_an_error(prepared, row):
    with pytest.raises(IndexError, match="split of 10"):
        prepared().images([0, row])


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_in_one_pass_every_row_occurs_once_over_all_ranks(prepared, world_size, batch_size):
    split = prepared()
    seen = []
    for rank in range(world_size):
        for rows, x_BCHW in iterate_batches(split, batch_size, rank, world_size):
            assert 1 <= len(rows) <= batch_size and torch.equal(x_BCHW, split.images(rows))
            seen.extend(rows)
    assert sorted(seen) == list(range(10))


@pytest.mark.parametrize(("batch_size", "rank", "world_size"), [(0, 0, 1), (4, 2, 2), (4, -1, 2)])
def test_impossible_passes_are_errors(prepared, batch_size, rank, world_size):
    with pytest.raises(ValueError, match="expected batch_size"):
        next(iterate_batches(prepared(), batch_size, rank, world_size))


def test_to_float_is_the_official_normalisation():
    x = torch.arange(256, dtype=torch.uint8)
    y = to_float(x)
    assert torch.allclose(y, (x / 255 - 0.5) / 0.5, atol=1e-6) and y[0] == -1 and y[255] == 1
    assert x[7] == 7


def test_missing_split_folder_and_shard(prepared, tmp_path):
    split = prepared(limit={"val": 1})
    with pytest.raises(ValueError, match=r"index\.csv is missing"):
        PreparedSplit(tmp_path / "nowhere", "train")
    with pytest.raises(ValueError, match="unknown split 'validation'"):
        PreparedSplit(split.folder, "validation")
    (split.folder / "train-00000.npy").unlink()
    with pytest.raises(ValueError, match=r"train-00000\.npy is missing"):
        PreparedSplit(split.folder, "train")


@pytest.mark.parametrize("kept", [0, 50, 0.9])
def test_a_shard_cut_short_is_an_error_at_once(prepared, kept):
    path = prepared().folder / "train-00000.npy"
    data = path.read_bytes()
    path.write_bytes(data[: kept if isinstance(kept, int) else int(len(data) * kept)])
    with pytest.raises(ValueError, match="damaged or cut short"):
        PreparedSplit(path.parent, "train")


def test_a_shard_of_another_size_or_type_is_an_error(prepared):
    path = prepared().folder / "train-00000.npy"
    x = np.load(path)
    for other in (x[:-1], x.astype(np.int16), x.reshape(10, -1)):
        np.save(path, other)
        with pytest.raises(ValueError, match=r"expected uint8 \[10,H,W,C\]"):
            PreparedSplit(path.parent, "train")


def test_an_index_out_of_order_is_an_error(prepared):
    index = prepared().folder / "index.csv"
    lines = index.read_text().splitlines()
    lines[2], lines[3] = lines[3], lines[2]
    index.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match="not in order"):
        PreparedSplit(index.parent, "train")
