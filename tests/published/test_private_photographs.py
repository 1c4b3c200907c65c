"""Photographs of a data set whose terms forbid it are never offered to git: by the terms, not by anyone's memory."""

import io
from pathlib import Path

import numpy as np
import pytest

from favae.jobs.grid import load_grid
from favae.runtime import paths
from favae.sync.shipment import is_private, offered, private_figures, without_photographs


@pytest.mark.parametrize(
    ("scale", "cell", "private"),
    [
        ("demo", "evaluate_reconstruction/natural-f4-favae-on-natural", False),
        ("demo", "generate_images/natural-f4-cat", False),
        ("stft", "evaluate_reconstruction/mnist-l2-s0-on-mnist", False),
        ("ffl-small", "evaluate_reconstruction/celeba-ae-on-celeba", True),
        ("ffl-pix2pix-small", "evaluate_generator/pix2pix-facades-s0-on-facades", True),
        ("ffl-spade-small", "train_generator/spade-masks-s0", True),
        ("official-outputs", "evaluate_generator/official-faces-spade", True),
    ],
)
def test_examples_and_samples_are_offered_only_where_the_terms_allow_it(scale: str, cell: str, private: bool) -> None:
    grid = load_grid(scale)
    job = grid.job(*cell.split("/"))
    names = {path.name for path in offered(grid, job)}
    assert is_private(grid, job) == private
    images = {"examples.npz", "samples.png"} & {output.name for output in job.stage.outputs}
    assert images and (images & names == set() if private else images <= names)


@pytest.mark.parametrize(
    ("scale", "cell", "kept"),
    [
        (
            "ffl-pix2pix-small",
            "evaluate_generator/pix2pix-facades-s0-on-facades",
            {"condition", "reconstruction", "id"},
        ),
        ("ffl-spade-small", "evaluate_generator/spade-masks-s0-on-masks", None),
        ("demo", "evaluate_reconstruction/natural-f4-favae-on-natural", None),  # published as they are
    ],
)
def test_examples_are_published_without_their_photographs_where_the_terms_allow_that(
    scale: str, cell: str, kept: set[str] | None, tmp_path: Path
) -> None:
    grid = load_grid(scale)
    job = grid.job(*cell.split("/"))
    images = {name: np.full((2, 4, 4, 3), 7, np.uint8) for name in ("original", "condition", "reconstruction")}
    path = tmp_path / paths.EXAMPLES
    np.savez_compressed(path, id=np.array(["a", "b"]), **images)
    expected = without_photographs(grid, job, path)
    assert expected == without_photographs(grid, job, path)
    assert (set(np.load(io.BytesIO(expected)).files) if expected else None) == kept


@pytest.mark.parametrize(
    ("scale", "left_out"),
    [
        ("demo", set()),
        ("faces", {"reconstructions", "ablation", "compression", "zero_shot", "samples"}),
        ("ffl-small", {"autoencoder", "vae"}),
        ("stft", set()),
    ],
)
def test_figures_of_photographs_are_left_out_only_where_the_terms_forbid_them(scale: str, left_out: set[str]) -> None:
    assert {path.stem for path in private_figures(load_grid(scale))} == left_out
