"""The code of the product's own jobs: what they use is in, a loss that they do not use is out."""

import pytest

from favae.fingerprint.job import changed_units, code_of
from favae.jobs.grid import Grid

FFL = "favae.losses.frequency"


@pytest.fixture(scope="module")
def grid() -> Grid:
    return Grid("ffl-small")


@pytest.mark.parametrize(
    ("cell", "used"),
    [("celeba-ae", False), ("celeba-vae", False), ("celeba-ae-ffl", True), ("celeba-vae-ffl-10", True)],
)
def test_a_training_has_the_focal_frequency_loss_in_its_code_if_its_recipe_names_it(
    grid: Grid, cell: str, used: bool
) -> None:
    units = code_of(grid.job("train_autoencoder", cell)).units
    assert (FFL in units) is used
    assert "favae.training.loop" in units and "favae.models.ffl" in units
    assert not {"favae.models.favae", "favae.models.cat", "favae.losses.stft"} & units.keys()


def test_the_code_names_the_numeric_libraries_that_it_uses(grid: Grid) -> None:
    training = code_of(grid.job("train_autoencoder", "celeba-ae")).libraries
    evaluation = code_of(grid.job("evaluate_reconstruction", "celeba-ae-on-celeba")).libraries
    assert {"torch", "numpy"} <= training.keys()
    assert {"torch", "torchmetrics", "lpips", "pytorch-fid"} <= evaluation.keys()
    assert "torchmetrics" not in training


def test_every_unit_that_differs_or_is_gone_is_named(grid: Grid) -> None:
    job = grid.job("train_autoencoder", "celeba-ae-ffl")
    units = code_of(job).units
    assert changed_units(units, job) == []
    other = {**units, FFL: {**units[FFL], "FocalFrequencyLoss.forward": "0" * 10, "gone": "1" * 10}}
    assert changed_units(other, job) == [
        "favae.losses.frequency:FocalFrequencyLoss.forward",
        "favae.losses.frequency:gone",
    ]
