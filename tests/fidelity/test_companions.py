"""The companion papers as declared: rows, published hyper-parameters, costs; and one of them run from raw digits to its table."""

import gzip
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from ruamel.yaml import YAML

from favae.config.companions import CompanionConfig, CyclicRateConfig
from favae.config.kinds.ffl import FflConfig
from favae.config.kinds.stft_vae import SsimConfig, StftConfig, StftVaeModelConfig
from favae.jobs.facts import facts, training_request
from favae.jobs.grid import Grid, Job, load_grid
from favae.jobs.resources import resources_of
from favae.models import AUTOENCODERS
from favae.stages.runner import run_job
from favae.training.companions import drawn_latents

ROOT = Path(__file__).parents[2]
STFT_ROWS = ("l2", "l1", "ssim", "dft-ssim", "stft-ssim")


@pytest.fixture(autouse=True)
def in_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def trained(scale: str, cell: str) -> CompanionConfig:
    config = load_grid(scale).job("train_autoencoder", cell).config
    assert isinstance(config, CompanionConfig)
    return config


@pytest.mark.parametrize("scale", ["stft", "ffl", "ffl-small"])
def test_a_scale_is_valid_and_every_job_requests_resources(scale: str) -> None:
    grid = load_grid(scale)
    grid.check()
    assert all(resources_of(job).mem_mb > 0 for job in grid)


@pytest.mark.parametrize("row", STFT_ROWS)
def test_stft_trainings_are_as_published_in_three_seeds(row: str) -> None:
    configs = [trained("stft", f"mnist-{row}-s{seed}") for seed in range(3)]
    assert [config.training.seed for config in configs] == [0, 1, 2]
    for config in configs:
        assert str(config.training.length) == "50 epochs"
        assert config.training.batch_size == 50
        assert config.training.selection == "last"
        schedule = config.optimizer.schedule
        assert isinstance(schedule, CyclicRateConfig)
        assert (schedule.minimum, schedule.maximum, schedule.step_size) == (1e-4, 1e-3, 2000)
        assert config.model == StftVaeModelConfig(kind="stft_vae", image_size=28, latent=2)
        assert config.objective.kl == 0.005


def test_stft_losses_are_those_of_the_rows() -> None:
    terms = {row: trained("stft", f"mnist-{row}-s0").objective.terms for row in (*STFT_ROWS, "stft-ssim-official")}
    assert [list(terms[row]) for row in STFT_ROWS] == [["mse"], ["l1"], ["ssim"], ["ssim", "stft"], ["ssim", "stft"]]
    assert terms["ssim"]["ssim"] == SsimConfig(kind="ssim", weight=500)
    ours, globally, released = (terms[row]["stft"] for row in ("stft-ssim", "dft-ssim", "stft-ssim-official"))
    assert ours == StftConfig(kind="stft", weight=0.0015, amplitude=0.1, phase=0.9, window=16, stride=4)
    assert globally == ours.model_copy(update={"window": 28, "stride": 28, "taper": "none"})
    assert released == ours.model_copy(update={"form": "official"})


def test_ffl_autoencoder_is_as_released_and_its_ablations_differ_in_one_thing() -> None:
    full = trained("ffl", "celeba-ae-ffl")
    assert full.objective.terms["ffl"] == FflConfig(kind="ffl", weight=100)
    assert (str(full.training.length), full.training.batch_size, full.training.seed) == ("20 epochs", 128, 1112)
    assert full.optimizer.betas == (0.9, 0.999)
    changed = {
        "without-frequency": {"representation": "without_frequency"},
        "without-phase": {"representation": "without_phase"},
        "without-amplitude": {"representation": "without_amplitude"},
        "without-focal": {"alpha": 0.0},
        "alpha-2": {"alpha": 2.0},
        "alpha-0-5": {"alpha": 0.5},
        "alpha-0-1": {"alpha": 0.1},
        "patch-2": {"patch_factor": 2},
        "patch-4": {"patch_factor": 4},
        "patch-8": {"patch_factor": 8},
    }
    for row, change in changed.items():
        expected = full.objective.terms["ffl"].model_copy(update=change)
        for scale in ("ffl", "ffl-small"):
            assert trained(scale, f"celeba-ae-{row}").objective.terms["ffl"] == expected
    assert list(trained("ffl", "celeba-ae").objective.terms) == ["mse"]


def test_image_to_image_and_stylegan_rows_are_shown_as_not_run() -> None:
    for scale in ("ffl", "ffl-small"):
        tables = {t.id: t for t in load_grid(scale).job("make_tables", "all").config.tables}  # type: ignore[attr-defined]
        for name, rows in (("table4", 4), ("table5", 10), ("table6", 2)):
            assert len(tables[name].rows) == rows
            assert all(row.published and not row.measured_by for row in tables[name].rows)


@pytest.mark.parametrize(
    ("scale", "cell", "millions"),
    [("stft", "mnist-l2-s0", 0.069989), ("ffl", "celeba-ae", 6.304), ("ffl", "celeba-vae", None)],
)
def test_costs_are_the_published_ones_and_those_computed_by_hand(scale: str, cell: str, millions: float | None) -> None:
    cost = facts(training_request(trained(scale, cell))).cost("model")
    if millions:
        assert cost.parameters / 1e6 == pytest.approx(millions, abs=0.0005)
    if cell == "celeba-ae":
        assert cost.macs == 2 * 256 * 3 * 64**2
    if cell == "celeba-vae":  # a convolution down and its transposed twin at each of four levels, three linear maps
        widths = [3, 64, 128, 256, 512]
        levels = sum(2 * 16 * widths[i] * widths[i + 1] * (32 >> i) ** 2 for i in range(4))
        assert cost.macs == levels + 3 * 256 * 512 * 16


def write_idx(path: Path, values: np.ndarray) -> None:
    header = struct.pack(f">{values.ndim + 1}i", 0x0800 + values.ndim, *values.shape)
    path.write_bytes(gzip.compress(header + values.astype(np.uint8).tobytes()))


@pytest.fixture
def small_stft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Grid]:
    """The scale `stft` on a few invented digits: two seeds of two losses, eight steps each."""
    yaml, params = YAML(typ="safe"), tmp_path / "params"
    params.mkdir()
    for source in (ROOT / "params").glob("*.yaml"):
        tree: dict[str, Any] = yaml.load(source.read_text())
        if source.name == "grid.yaml":
            tree = {"active": "stft", "stft": reduced(tree["stft"])}
        elif source.name == "datasets.yaml":
            tree["mnist-binarized"]["layout"]["checksums"] = "unchecked"
            del tree["mnist-binarized"]["expected_counts"]
        elif source.name == "stft_vae.yaml":
            for row in (row for name, row in tree.items() if name != "_rows"):
                row["training"] |= {"length": "8 steps", "validate_every": "8 steps", "batch_size": 5}
        elif source.name in ("tables.yaml", "figures.yaml"):
            tree["stft"] = TABLES if source.name == "tables.yaml" else FIGURES
        with (params / source.name).open("w") as file:
            yaml.dump(tree, file)
    raw = tmp_path / "raw" / "mnist"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, n in (("train", 40), ("t10k", 12)):
        digits = np.zeros((n, 28, 28))
        digits[:, 6:22, 10:18] = rng.integers(100, 256, (n, 1, 1))
        write_idx(raw / f"{part}-images-idx3-ubyte.gz", digits)
        write_idx(raw / f"{part}-labels-idx1-ubyte.gz", rng.integers(0, 10, n))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAVAE_RAW", str(tmp_path / "raw"))
    load_grid.cache_clear()
    yield load_grid("stft")
    load_grid.cache_clear()


CELLS = ["mnist-l2-s0", "mnist-l2-s1", "mnist-stft-ssim-s0"]
SEEDS = [f"evaluate_reconstruction/mnist-l2-s{seed}-on-mnist" for seed in (0, 1)]
TABLES = {
    "tables": [
        {
            "id": "table1",
            "title": "A table",
            "comparable": True,
            "columns": ["psnr_test", "ssim_test"],
            "published_columns": {"psnr_test": "psnr", "ssim_test": "ssim"},
            "rows": [{"label": "L2", "published": "stft-table1/l2", "cells": SEEDS}],
        }
    ]
}
SERIES = [{"label": "L2", "cell": SEEDS[0]}, {"label": "ours", "cell": SEEDS[0].replace("l2", "stft-ssim")}]
FIGURES = {
    "style": {"dpi": 40, "width": 6},
    "figures": [
        {"id": kind, "kind": kind, "title": kind, "series": SERIES, "examples": 4}
        for kind in ("reconstructions", "drawn", "latent_grid")
    ],
}


def reduced(scale: dict[str, Any]) -> dict[str, Any]:
    """The scale with the cells `CELLS` only."""
    (group, _) = scale["train_autoencoder"]
    groups = [
        {"rows": "l2", "numbers": ["seed-0", "seed-1"]},
        {"rows": "stft-ssim", "numbers": "seed-0"},
    ]
    return scale | {"train_autoencoder": [group | chosen for chosen in groups]}


def test_from_raw_digits_to_table_and_figures(small_stft: Grid) -> None:
    small_stft.check()
    jobs: list[Job] = list(small_stft)
    for job in jobs:
        run_job(job)
    shards = Path("data/stft/prepare_dataset/mnist/shards")
    assert set(np.unique(np.load(shards / "train-00000.npy"))) == {0, 255}
    assert not (shards / "val-00000.npy").exists()
    table = pd.read_csv("data/stft/reports/tables/table1.csv").set_index("metric")
    psnr = [pd.read_csv(f"data/stft/{cell}/images.csv")["psnr"] for cell in SEEDS]
    assert table.loc["psnr_test", "reproduced"] == pytest.approx(np.mean([p.mean() for p in psnr]))
    assert table.loc["psnr_test", "spread"] == pytest.approx(np.std([p.mean() for p in psnr], ddof=1))
    assert table.loc["psnr_test", ["reported", "runs", "n"]].tolist() == [10.2, 2, 12]
    assert table.loc["psnr_test", "difference"] == pytest.approx(table.loc["psnr_test", "reproduced"] - 10.2)
    with np.load("data/stft/evaluate_reconstruction/mnist-l2-s0-on-mnist/examples.npz") as examples:
        assert examples["drawn"].shape == (64, 28, 28, 3)
        assert examples["grid"].shape == (144, 28, 28, 3)
    assert {p.name for p in Path("data/stft/reports/figures").iterdir()} == {
        f"{f['id']}.png" for f in FIGURES["figures"]
    }


def test_sampled_latents_do_not_depend_on_the_batch() -> None:
    torch.manual_seed(0)
    model = AUTOENCODERS["stft_vae"]().eval()
    image = torch.rand(6, 1, 28, 28) * 2 - 1
    noise = drawn_latents(6, model.latent)
    whole = model.reconstruct(image, noise)
    parts = torch.cat([model.reconstruct(image[:4], noise[:4]), model.reconstruct(image[4:], noise[4:])])
    torch.testing.assert_close(whole, parts)
    assert not torch.allclose(whole, model.reconstruct(image))
