"""The scale `paper` is the paper's experiments: these jobs, each with the parameters of its source, and what a user adds."""

from pathlib import Path

import pytest
from tests_support import copy_project, planned

from favae.config.cat import CatConfig, GenerateConfig
from favae.config.favae import FavaeConfig
from favae.config.load import deep_merge, read_yaml, validate
from favae.config.reporting import RowNames
from favae.jobs.grid import Grid, load_grid
from favae.jobs.report_rows import names_of_rows
from favae.pretrained.weights import load_catalogue

ROOT = Path(__file__).parents[2]
TABLE_2 = [
    "vqgan",
    *(f"r{n}" for n in range(4, 15)),
    *(f"r{n}-conv" for n in range(10, 15)),
    "r6-k9",
    "r12-sigma-main",
]
TRAINED = [*(f"celebahq-f16-{row}" for row in TABLE_2), "ffhq-f16-favae"]
TRAINED += [f"imagenet-{row}" for row in ("f16-favae", "f16-vqgan", "f4-favae", "f4-favae-unprojected", "f4-vqgan")]
ZERO_SHOT = [
    f"imagenet-{f}-{model}-on-{data}"
    for f in ("f16", "f4")
    for model in ("favae", "vqgan")
    for data in ("celebahq", "ffhq")
]
JOBS = {
    "prepare_dataset": ["celebahq", "celebahq-mm", "ffhq", "imagenet"],
    "compute_reference_statistics": ["celebahq", "celebahq-mm", "ffhq", "imagenet"],
    "train_autoencoder": TRAINED,
    "evaluate_reconstruction": [*(f"{name}-on-{name.partition('-')[0]}" for name in TRAINED), *ZERO_SHOT],
    "tokenize_images": ["celebahq-f16-r12"],
    "train_cat": ["celebahq-f16-cat"],
    "generate_images": ["celebahq-f16-cat", "celebahq-f16-cat-6k"],
    "make_tables": ["all"],
    "make_figures": ["all"],
}

PUBLISHED = {f"{stage}/{cell}" for stage, cells in JOBS.items() for cell in cells}


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> Grid:
    monkeypatch.chdir(ROOT)
    return load_grid("paper")


def autoencoder(paper: Grid, cell: str) -> FavaeConfig:
    config = paper.job("train_autoencoder", cell).config
    assert isinstance(config, FavaeConfig)
    return config


def test_the_grid_has_the_published_experiments_and_what_was_added_is_not_called_published(paper: Grid) -> None:
    paper.check()
    found = {job.name for job in paper}
    assert found >= PUBLISHED
    for name in found - PUBLISHED:
        stage, cell = name.split("/")
        added = paper.cells_by_stage[stage][cell]
        trained = paper.cells_by_stage["train_autoencoder"][added.roles["model"]] if "model" in added.roles else added
        assert not names_of_rows(trained.recipe).get(trained.row, RowNames()).published, name


@pytest.mark.slow
def test_snakemake_would_run_exactly_these(paper: Grid, tmp_path: Path) -> None:
    """A dry run of a project in which nothing has run yet."""
    project = copy_project(tmp_path / "project", product=True)
    assert planned(project, "--config", "scale=paper") == {job.name for job in paper} >= PUBLISHED


def test_the_networks_are_the_published_ones(paper: Grid) -> None:
    for cell in JOBS["train_autoencoder"]:
        config = autoencoder(paper, cell)
        model, factor = config.model, 2 ** (len(config.model.channel_multipliers) - 1)
        assert f"-f{factor}-" in cell
        assert (model.image_size, model.base_channels, model.res_blocks) == (256, 128, 2)
        assert model.latent_channels == {16: 256, 4: 3}[factor]
        codes = {"celebahq": 1024, "ffhq": 2048, "imagenet": {16: 16384, 4: 8192}[factor]}[cell.partition("-")[0]]
        assert (model.quantizer.kind, model.quantizer.codes) == ("cosine", codes)
        assert (model.fcm == "none") == cell.endswith("vqgan")


def test_the_learning_rate_is_2e_6_per_image(paper: Grid) -> None:
    for cell in JOBS["train_autoencoder"]:
        config = autoencoder(paper, cell)
        assert config.optimizer.learning_rate(config.training.batch_size) == pytest.approx(
            2e-6 * config.training.batch_size
        )
        assert config.optimizer.betas == (0.5, 0.9)


@pytest.mark.parametrize("factor", ["f16", "f4"])
def test_a_baseline_differs_from_its_fa_vae_in_fcm_and_spectral_losses_only(paper: Grid, factor: str) -> None:
    ours, baseline = (autoencoder(paper, f"imagenet-{factor}-{name}").given() for name in ("favae", "vqgan"))
    for tree in (ours, baseline):
        del tree["model"]["fcm"], tree["objective"]["spectrum"]
        tree["model"].pop("fcm_groups", None)
        del tree["objective"]["image_ffl"]["weight"]
    assert ours == baseline


def test_cat_reads_row_12_and_is_gpt2_medium(paper: Grid) -> None:
    assert paper.job("train_cat", "celebahq-f16-cat").roles == {"tokens": "celebahq-f16-r12"}
    cat = paper.job("train_cat", "celebahq-f16-cat").config
    assert isinstance(cat, CatConfig)
    assert (cat.model.layers, cat.model.dim, cat.model.heads, cat.model.head_dim) == (24, 1536, 16, 64)
    assert (cat.text.kind, cat.text_drop, str(cat.optimizer.warmup)) == ("clip", 0.25, "20 epochs")
    assert cat.text.weights in load_catalogue().weights  # type: ignore[union-attr]
    sampling = paper.job("generate_images", "celebahq-f16-cat").config
    assert isinstance(sampling, GenerateConfig)
    assert (sampling.guidance, sampling.top_k, sampling.top_p, sampling.temperature) == ([1.0, 3.0], 500, 0.95, 1.0)


@pytest.mark.parametrize("table", ["table1", "table2"])
def test_every_recipe_is_valid_at_full_size(table: str) -> None:
    """Including recipes that no cell uses, because the grid of a user may use them."""
    numbers = read_yaml(ROOT / "params" / "paper.yaml")
    recipes = {name: tree for name, tree in read_yaml(ROOT / "params" / f"{table}.yaml").items() if name[0] != "_"}
    for name, tree in recipes.items():
        size = "f4-imagenet" if "f4" in name else "f16-celebahq"
        assert validate(FavaeConfig, deep_merge([tree, numbers[size]]), name).model.image_size == 256


def test_f_8_is_supported_without_a_published_row() -> None:
    numbers = read_yaml(ROOT / "params" / "paper.yaml")["f8"]
    recipe = read_yaml(ROOT / "params" / "table2.yaml")["r12-conv"]
    assert len(validate(FavaeConfig, deep_merge([recipe, numbers]), "f8").model.channel_multipliers) == 4


def test_values_without_a_source_are_marked_in_the_file() -> None:
    text = (ROOT / "params" / "paper.yaml").read_text()
    assert "Epochs" in text and text.count("NOT FOUND") >= 3
