"""Counts of the built networks against the published sizes and hand-made sums, and the estimates that follow from them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from favae.cli.main import app
from favae.config.cat import CatConfig
from favae.config.favae import FavaeConfig
from favae.config.load import deep_merge
from favae.jobs.building import counted
from favae.jobs.estimates import RATES, UnknownSize, autoencoder_flops, estimate
from favae.jobs.facts import Facts, cat_request, facts, lpips_request, training_request
from favae.jobs.grid import Grid, load_grid
from favae.jobs.resources import known_sizes, resources_of

ROOT = Path(__file__).parents[2]
F8 = {"channel_multipliers": [1, 2, 2, 4], "attention_resolutions": [32]}
EUCLIDEAN = {"kind": "euclidean", "codes": 1024, "dim": 256}
# name -> changes of FA-VAE f = 16 (Table 2, row 12, conv), millions of parameters without codebook, GMAC of encoder and decoder
PUBLISHED_SIZES: dict[str, tuple[dict[str, Any], float, float]] = {
    "f16": ({}, 82.7, 217.6),
    "f16 residual": ({"fcm": "residual"}, 82.7, 217.6),
    "f16 attention": ({"fcm": "attention"}, 79.7, 217.0),
    "f16 baseline": ({"fcm": "none"}, 71.9, 195.6),
    "f8": (F8, 81.0, 381.9),
}
NETWORKS = ("encoder", "quantizer", "decoder")


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> Grid:
    monkeypatch.chdir(ROOT)
    return load_grid("paper")


def changed(paper: Grid, changes: dict[str, Any], row: str = "celebahq-f16-r12-conv") -> FavaeConfig:
    tree = paper.job("train_autoencoder", row).parameters
    if changes.get("fcm") == "none":
        tree = tree | {"objective": tree["objective"] | {"spectrum": {"kind": "none"}}}
    return FavaeConfig.model_validate(deep_merge([tree, {"model": changes}]))


def facts_of(paper: Grid, row: str) -> Facts:
    return facts(training_request(paper.job("train_autoencoder", row).config))


@pytest.mark.parametrize("name", PUBLISHED_SIZES)
def test_autoencoders_have_the_published_sizes(paper: Grid, name: str) -> None:
    changes, millions, billions = PUBLISHED_SIZES[name]
    found = facts(training_request(changed(paper, changes)))
    assert round(found.cost(*NETWORKS).parameters / 1e6, 1) == millions
    assert round(found.cost("encoder", "decoder").macs / 1e9, 1) == billions
    assert name == "f8" or round(found.cost("encoder").parameters / 1e6, 1) == 29.4


def test_f4_has_the_published_size(paper: Grid) -> None:
    found = facts_of(paper, "imagenet-f4-favae")
    assert round(found.cost(*NETWORKS).parameters / 1e6, 1) == 65.0
    assert round(found.cost("encoder", "decoder").macs / 1e9, 1) == 565.9


def test_a_learned_codebook_counts_and_a_moving_average_does_not(paper: Grid) -> None:
    tree = paper.job("train_autoencoder", "celebahq-f16-r12-conv").parameters
    learned = FavaeConfig.model_validate(tree | {"model": tree["model"] | {"quantizer": EUCLIDEAN}})
    costs = [facts(training_request(config)).cost("quantizer") for config in (learned, changed(paper, {}))]
    assert [cost.parameters for cost in costs] == [1024 * 256, 0]


@pytest.mark.parametrize(("row", "millions"), [("imagenet-f16-favae", 0.66), ("imagenet-f4-favae", 2.77)])
def test_discriminators_of_two_and_three_layers(paper: Grid, row: str, millions: float) -> None:
    assert round(facts_of(paper, row).cost("discriminator").parameters / 1e6, 2) == millions


def test_cat_has_the_published_size(paper: Grid) -> None:
    config = paper.job("train_cat", "celebahq-f16-cat").config
    assert isinstance(config, CatConfig)
    found = facts(cat_request(config, 1024, 16))
    unused = 768 * 1536  # a projection of the text that the released forward pass never uses, which ours leaves out
    assert round((found.cost("cat").parameters + unused) / 1e6) == 611
    assert (found.sizes["text_dim"], found.sizes["text_tokens"]) == (768, 77)


def test_clip_text_tower(paper: Grid) -> None:
    """ViT-L/14's: 12 layers of width 768 over 77 positions, 85 M weights in linear maps, and attention."""
    config = paper.job("train_cat", "celebahq-f16-cat").config
    assert isinstance(config, CatConfig)
    weights = 12 * 12 * 768**2
    assert facts(cat_request(config, 1024, 16)).cost("text").macs == pytest.approx(
        77 * (weights + 768**2) + 12 * 2 * 77**2 * 768, rel=0.01
    )


def vgg_macs(side: int) -> int:
    widths = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
    total, width = 0, 3
    for level, stage in enumerate(widths):
        for channels in stage:
            total += width * channels * 9 * (side >> level) ** 2
            width = channels
    return total


def test_lpips_costs_its_backbone_on_two_images() -> None:
    """The linear heads add 1x1 convolutions to one channel."""
    assert facts(lpips_request("vgg", 64)).cost("lpips").macs == pytest.approx(2 * vgg_macs(64), rel=1e-3)


def test_counting_by_hand() -> None:
    """Per image: weights and bias, one product per weight and position, and of two convolutions the inputs and the ReLU's output."""
    with torch.device("meta"):
        network = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 2, 1))
        image = torch.zeros(2, 3, 8, 8)
    _, cost = counted([network], lambda: network(image))
    assert cost.parameters == 5 * 3 * 9 + 5 + 2 * 5 + 2
    assert cost.macs == 64 * (5 * 3 * 9 + 2 * 5)
    assert cost.kept == 4 * 64 * (3 + 5)


@pytest.mark.parametrize(
    ("row", "before", "after"), [("celebahq-f16-r12", 1.43, 1.96), ("imagenet-f4-favae", 3.5, 4.75)]
)
def test_official_training_step_in_tflop(paper: Grid, row: str, before: float, after: float) -> None:
    """With the official D step, which runs the model again; ours reuses the reconstruction and saves that pass."""
    config = paper.job("train_autoencoder", row).config
    assert isinstance(config, FavaeConfig)
    recompute = {"objective": {"adversarial": {"reconstruction": "recompute"}}}
    official = FavaeConfig.model_validate(deep_merge([paper.job("train_autoencoder", row).parameters, recompute]))
    found = [flops / 1e12 for flops in autoencoder_flops(official)]
    assert found == pytest.approx([before, after], rel=0.03)
    saved = facts_of(paper, row).cost(*NETWORKS).macs * 2 / 1e12
    assert autoencoder_flops(config)[1] / 1e12 == pytest.approx(found[1] - saved)


def test_estimates_of_the_paper_scale(paper: Grid) -> None:
    """Steps, images and hours of one job by hand; every job has an estimate, and more GPU memory than its weights."""
    sizes = known_sizes(paper)
    estimates = {job.name: estimate(paper, job, sizes) for job in paper}
    ours = estimates["train_autoencoder/celebahq-f16-r12"]
    steps = 100 * (24_183 // 8)
    before, after = autoencoder_flops(paper.job("train_autoencoder", "celebahq-f16-r12").config)  # type: ignore[arg-type]
    flops = 8 * (steps // 100 * before + (steps - steps // 100) * after)
    assert (ours.steps, ours.images) == (steps, 8 * steps)
    assert ours.gpu_hours == pytest.approx(flops / RATES["autoencoder", "fp32"] / 3600)
    assert 2.5e9 < ours.gpu_bytes / 8 < 3.5e9  # about 3 GB an image in fp32, so that eight fit a GPU of 32 GB
    assert all(found.gpu_bytes > 1e9 for name, found in estimates.items() if found.flops)
    assert estimates["train_cat/celebahq-f16-cat"].flops == pytest.approx(50e18, rel=0.1)


def test_an_unknown_data_set_has_no_estimate_but_resources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    demo = load_grid("demo")
    job = demo.job("train_autoencoder", "natural-f4-favae")
    with pytest.raises(UnknownSize):
        estimate(demo, job, {})
    assert resources_of(job).mem_mb < 8000


def test_resources_follow_the_estimate(paper: Grid) -> None:
    small, large = (resources_of(paper.job("train_autoencoder", c)) for c in ("celebahq-f16-r12", "imagenet-f4-favae"))
    assert (small.gpu, large.gpu) == (1, 1)
    assert 4 * 60 <= small.runtime <= large.runtime <= 24 * 60
    assert small.grown(2).mem_mb == 2 * small.mem_mb


def test_plan_lists_jobs_estimates_and_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("FAVAE_RAW", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("FAVAE_WEIGHTS", raising=False)
    result = CliRunner().invoke(app, ["plan", "--scale", "paper"])
    assert result.exit_code == 1, result.output
    for job in load_grid("paper"):
        assert f"{job.name}\n" in result.output
    for text in ("estimate", "TFLOP/s", "vgg16-397923af.pth", "ViT-L-14.pt", "objective.spectrum.kernel_size=11"):
        assert text in result.output
    assert str(tmp_path / "imagenet") in result.output.replace("\n    ", " ")


def test_plan_of_one_job_without_needs_exits_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(app, ["plan", "prepare_dataset/natural", "--scale", "demo"])
    assert result.exit_code == 0, result.output
    assert "nothing is missing" in result.output
