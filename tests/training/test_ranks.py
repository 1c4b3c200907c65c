"""Ranks together process every image once; batches must be divisible by their number."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributed.run import get_args_parser

from favae.data.dataset import iterate_batches
from favae.jobs.grid import load_grid
from favae.stages.context import Context
from favae.stages.launch import rank_command
from favae.training.distributed import Ranks


@given(
    images=st.integers(1, 40), batch=st.integers(1, 9), world=st.integers(1, 5), count=st.none() | st.integers(1, 50)
)
def test_ranks_together_get_the_first_images_once_each(images: int, batch: int, world: int, count: int | None) -> None:
    class Split:
        def __len__(self) -> int:
            return images

        def images(self, rows: range) -> torch.Tensor:
            return torch.tensor(rows)

    seen = []
    for rank in range(world):
        for rows, stored in iterate_batches(Split(), batch, rank, world, count):  # type: ignore[arg-type]
            assert list(rows) == stored.tolist() and 0 < len(rows) <= batch
            seen += list(rows)
    assert seen == list(range(min(images, count or images)))


@given(batch=st.integers(1, 64), world=st.integers(1, 8))
def test_a_batch_that_ranks_do_not_divide_is_refused(batch: int, world: int) -> None:
    ranks = Ranks(0, world, torch.device("cpu"))
    if batch % world:
        with pytest.raises(ValueError, match=f"batch_size {batch} is not divisible by {world} ranks"):
            ranks.share(batch)
    else:
        assert ranks.share(batch) * world == batch


def test_torchrun_does_not_read_the_options_of_a_rank(own_parameters: Path) -> None:
    job = load_grid("tiny").job("train_autoencoder", "natural-f4-favae")
    command = rank_command(job, Context(Path("state"), Path("state/build"), 2, Path("job.log")), threads=2)
    read = get_args_parser().parse_args(["--no-python", "--nproc-per-node=2", *command])
    assert [read.training_script, *read.training_script_args] == command
