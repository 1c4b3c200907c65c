"""pix2pix, SPADE and StyleGAN2 of the Focal Frequency Loss paper: recipes, sizes and doubts are those of the sources."""

from typing import Any

import pytest
import torch

from favae.config.dataset import DatasetConfig
from favae.config.evaluation import GeneratorEvaluationConfig
from favae.config.gan import GeneratorTrainingConfig
from favae.config.load import read_yaml
from favae.config.pairs import PairsLayoutConfig
from favae.data.pixels import to_uint8
from favae.jobs.estimates import estimate
from favae.jobs.facts import facts, training_request
from favae.jobs.grid import load_grid
from favae.jobs.resources import known_sizes
from favae.models.label_maps import label_channels
from favae.runtime import paths

SMALL = {name: f"ffl-{name}-small" for name in ("pix2pix", "spade", "stylegan2")}
SCALES = ("ffl-gan", *SMALL.values())


def trained(scale: str, cell: str) -> GeneratorTrainingConfig:
    config = load_grid(scale).job("train_generator", cell).config
    assert isinstance(config, GeneratorTrainingConfig)
    return config


def parameters(scale: str, cell: str) -> dict[str, Any]:
    return load_grid(scale).job("train_generator", cell).parameters


def dataset(scale: str, cell: str) -> DatasetConfig:
    config = load_grid(scale).job("prepare_dataset", cell).config
    assert isinstance(config, DatasetConfig)
    return config


@pytest.mark.parametrize("scale", SCALES)
def test_scales_are_valid_and_have_estimates(scale: str) -> None:
    grid = load_grid(scale)
    grid.check()
    sizes = {
        **{key: {"train": 700, "val": 100, "test": 100} for key in grid.cells("prepare_dataset")},
        **known_sizes(grid),
    }
    for job in grid:
        found = estimate(grid, job, sizes)
        assert found.steps is None or (found.steps > 0 and found.gpu_hours > 0 and found.gpu_bytes > 1e9), job.name


def test_lengths_and_costs_of_the_paper_s_trainings() -> None:
    grid = load_grid("ffl-gan")
    steps = {
        "pix2pix-facades-s0": 80_000,
        "shoes-pix2pix": 186_840,  # 15 epochs of 12,456 whole batches; the last image is left out
        "cityscapes-spade": 200 * 92,
        "ade20k-spade": 200 * 631,
        "celebahq-256-stylegan2": 25_000_000 / 64,
    }
    for cell, expected in steps.items():
        assert estimate(grid, grid.job("train_generator", cell), known_sizes(grid)).steps == pytest.approx(
            expected, rel=1e-6
        )
    counts = {
        "pix2pix-facades-s0": (54_413_955, 2_768_705),
        "cityscapes-spade": (93_048_003, 5_601_410),
        "ade20k-spade": (96_492_483, 5_836_930),
        "celebahq-256-stylegan2": (24_767_458, 24_001_089),
        "celebahq-1024-stylegan2": (30_370_060, 29_012_513),
    }
    for cell, expected_counts in counts.items():
        costs = facts(training_request(trained("ffl-gan", cell))).costs
        assert (costs["generator"].parameters, costs["discriminator"].parameters) == expected_counts


@pytest.mark.parametrize("scale", SCALES)
def test_rows_of_a_sweep_differ_in_the_weight_of_the_loss_only(scale: str) -> None:
    cells = load_grid(scale).cells("train_generator")
    sweeps = [cell for cell in cells if "-ffl-" in cell]
    assert {name for name in SMALL if any(name in cell for cell in sweeps)} == {
        name for name in SMALL if scale in ("ffl-gan", SMALL[name])
    }
    for cell in sweeps:
        before, _, rest = cell.partition("-ffl-")
        weight, _, after = rest.partition("-")
        plain, swept = parameters(scale, f"{before}-{after}" if after else before), parameters(scale, cell)
        terms = swept["objective"]["terms"]
        assert terms["ffl"]["weight"] == int(weight) and set(terms) - set(plain["objective"]["terms"]) == {"ffl"}
        without = {name: value for name, value in terms.items() if name != "ffl"}
        assert {**swept, "objective": {**swept["objective"], "terms": without}} == plain


@pytest.mark.parametrize("scale", SCALES)
def test_optimisers_are_those_of_the_released_codes(scale: str) -> None:
    expected = {
        "pix2pix": {"generator_lr": 2e-4, "discriminator_lr": 2e-4, "betas": [0.5, 0.999]},
        "spade": {"generator_lr": 1e-4, "discriminator_lr": 4e-4, "betas": [0, 0.9]},
    }
    for cell in load_grid(scale).cells("train_generator"):
        for name, values in expected.items():
            if name in cell:
                found = parameters(scale, cell)["optimizer"]
                assert {key: found[key] for key in values} == values
    schedule = parameters("ffl-gan", "cityscapes-spade")["optimizer"]["schedule"]
    assert schedule == {"constant": 100, "decay": 100, "lr_step": "spade"}


def test_shoes_are_neither_cut_nor_mirrored_and_facades_are_both() -> None:
    facades, shoes = (dataset("ffl-gan", name) for name in ("facades", "shoes"))
    assert (facades.image_size, facades.train_size, shoes.image_size, shoes.train_size) == (256, 286, 256, None)
    assert trained("ffl-gan", "pix2pix-facades-s0").training.augment == "flip"
    assert trained("ffl-gan", "shoes-pix2pix").training.augment == "none"
    assert parameters("ffl-gan", "shoes-pix2pix")["optimizer"]["schedule"] == {"constant": 15, "decay": 0}


def test_all_test_images_are_measured() -> None:
    grid = load_grid("ffl-gan")
    for cell in grid.cells("evaluate_generator"):
        config = grid.job("evaluate_generator", cell).config
        assert isinstance(config, GeneratorEvaluationConfig)
        assert config.n == (50_000 if "stylegan2" in cell else "all") and config.truncation == 1
        mode = "train" if "pix2pix" in cell and not cell.endswith("-eval") else "eval"
        assert config.test_mode == mode, cell


def test_label_maps_have_the_channels_of_the_released_code() -> None:
    for name, channels in (("cityscapes", 36), ("ade20k", 151)):
        layout = dataset("ffl-gan", name).layout
        assert isinstance(layout, PairsLayoutConfig)
        assert layout.condition.channels == channels == parameters("ffl-gan", f"{name}-spade")["model"]["map_channels"]
    assert label_channels(35, edges=True) == 36 and label_channels(151) == 151
    small = dataset(SMALL["spade"], "masks").layout
    assert isinstance(small, PairsLayoutConfig) and small.condition.flip_pairs == ((4, 5), (6, 7), (8, 9))  # type: ignore[union-attr]


def test_the_doubts_of_table_4_say_that_the_re_run_has_no_gradient() -> None:
    doubts = " ".join(read_yaml(paths.PUBLISHED)["tables"]["ffl-table4"]["doubts"])
    assert "HeonKK" in doubts and "no gradient" in doubts


def test_images_are_rounded_and_truncation_would_darken_them() -> None:
    image = torch.rand(2, 3, 16, 16) * 2 - 1
    levels = (image + 1) * 127.5
    ours = to_uint8(image).permute(0, 3, 1, 2)
    assert torch.equal(ours, levels.round().to(torch.uint8))
    darker = ours.float() - levels.to(torch.uint8).float()
    assert set(darker.unique().tolist()) == {0.0, 1.0} and float(darker.mean()) == pytest.approx(0.5, abs=0.05)
