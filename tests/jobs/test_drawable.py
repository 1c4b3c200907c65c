"""A figure or row that its cells cannot give is refused before anything is run."""

import pytest

from favae.config.reporting import CURVES, FIGURE_STAGES, FigureConfig, SeriesConfig
from favae.jobs.drawable import _undrawable, lacking
from favae.jobs.grid import load_grid
from favae.reporting.lines import _QUANTITIES


def problems(scale: str, kind: str, *cells: str) -> list[str]:
    series = [SeriesConfig(label=cell, cell=cell) for cell in cells]
    return list(_undrawable(load_grid(scale), FigureConfig(id="x", kind=kind, title="x", series=series)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scale", "kind", "good", "bad", "text"),
    [
        ("demo", "sigma", "train_autoencoder/natural-f4-favae", "train_autoencoder/natural-f4-vqgan", "no learnable sigmas"),
        ("ffl-small", "drawn", "vae-on-celeba", "ae-on-celeba", "has no latents to draw from"),
        ("stft", "latent_grid", "evaluate_reconstruction/mnist-l2-s0-on-mnist", "", ""),
        ("ffl-small", "latent_grid", "", "vae-on-celeba", "has no two latents to draw from"),
        ("ffl-pix2pix-small", "reconstructions", "evaluate_generator/pix2pix-facades-s0-on-facades", "", ""),
        ("ffl-pix2pix-small", "drawn", "", "evaluate_generator/pix2pix-facades-s0-on-facades", "has no latents to draw from"),
        ("ffl-stylegan2-small", "drawn", "evaluate_generator/stylegan2-faces-n8-s0-on-faces", "", ""),
        ("ffl-stylegan2-small", "reconstructions", "", "evaluate_generator/stylegan2-faces-n8-s0-on-faces", "have no original"),
    ],
)  # fmt: skip
def test_cells_must_have_what_a_figure_shows(scale: str, kind: str, good: str, bad: str, text: str) -> None:
    def full(cell: str) -> str:
        return cell if "/" in cell else f"evaluate_reconstruction/celeba-{cell}"

    if good:
        assert problems(scale, kind, full(good)) == []
    if bad:
        (line,) = problems(scale, kind, full(bad))
        assert text in line and full(bad) in line


def test_curves_need_one_training_with_a_loss_that_is_drawn() -> None:
    assert tuple(_QUANTITIES) == CURVES
    without, favae = "train_autoencoder/ae-s0", "train_autoencoder/natural-f4-favae"
    assert problems("ffl-faces", "learning_curves", without) == [
        "no curve has a validation loss of l1, lpips, image_ffl, cross_entropy"
    ]
    assert problems("demo", "learning_curves", favae) == []
    assert problems("stft", "learning_curves", "train_autoencoder/mnist-l1-s0") == []


def test_rows_of_images_show_the_same_images() -> None:
    cells = [f"evaluate_reconstruction/faces-vqgan-f4-s0-on-{dataset}" for dataset in ("faces", "celeba")]
    assert problems("faces", "reconstructions", cells[0]) == []
    assert problems("faces", "reconstructions", *cells) == [f"{cells[1]} shows other images than {cells[0]}"]


def test_every_figure_and_row_of_every_scale_can_be_made() -> None:
    seen = set()
    for scale in ("demo", "paper", "faces", "stft", "ffl", "ffl-small", "ffl-faces", "ffl-gan", "official-outputs"):
        grid = load_grid(scale)
        for job in grid:
            assert list(lacking(grid, job)) == []
            seen |= {figure.kind for figure in getattr(job.config, "figures", [])}
    assert seen == set(FIGURE_STAGES)
