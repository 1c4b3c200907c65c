"""Counted arithmetic against torch's counter on the networks themselves, and against what the published sizes imply."""

from pathlib import Path
from typing import Any

import pytest
import torch
from favae.jobs.costs import (
    Cost,
    autoencoder_cost,
    cat_cost,
    clip_text_cost,
    decoder_cost,
    discriminator_cost,
    encoder_cost,
    vgg_cost,
)
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from favae.cli.main import app
from favae.config.cat import CatModelConfig
from favae.config.favae import DiscriminatorConfig, FavaeConfig, FavaeModelConfig
from favae.jobs.estimates import _LPIPS_SHARE, UnknownSize, autoencoder_flops, estimate
from favae.jobs.grid import Grid, load_grid
from favae.jobs.resources import known_sizes, resources_of
from favae.models import CAT, FAVAE, PatchDiscriminator
from favae.runtime.torchvision import ensure_torchvision

ROOT = Path(__file__).parents[2]
F16: dict[str, Any] = {
    "image_size": 256,
    "channel_multipliers": [1, 1, 2, 2, 4],
    "attention_resolutions": [16],
    "latent_channels": 256,
    "fcm": "conv",
    "quantizer": {"kind": "cosine", "codes": 1024, "dim": 256},
}
F8 = F16 | {"channel_multipliers": [1, 2, 2, 4], "attention_resolutions": [32]}
F4 = F16 | {
    "channel_multipliers": [1, 2, 4],
    "attention_resolutions": [],
    "latent_channels": 3,
    "fcm_groups": 3,
    "quantizer": {"kind": "cosine", "codes": 8192, "dim": 256},
}
NETWORKS = {
    "f16": F16,
    "f16 residual": F16 | {"fcm": "residual"},
    "f16 attention": F16 | {"fcm": "attention"},
    "f16 without": F16 | {"fcm": "none", "quantizer": {"kind": "euclidean", "codes": 1024, "dim": 256}},
    "f8": F8,
    "f4": F4,
}


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def counted(network: nn.Module, run: Any) -> tuple[float, int]:
    """(multiply-accumulates, bytes kept for the backward pass) of a forward pass on tensors without storage."""
    weights = {p.untyped_storage()._cdata for p in network.parameters()}
    kept: dict[int, tuple[int, Tensor]] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = (storage.nbytes(), tensor)  # the tensor too, lest its storage is reused
        return tensor

    with FlopCounterMode(display=False) as flops, torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        run()
    return flops.get_total_flops() / 2, sum(size for size, _ in kept.values())


@pytest.mark.parametrize("name", NETWORKS)
def test_autoencoders_are_counted_as_torch_counts_them(name: str) -> None:
    config = FavaeModelConfig.model_validate(NETWORKS[name])
    with torch.device("meta"):
        model, image = FAVAE.from_config(config.model_dump()), torch.zeros(1, 3, 256, 256)
    macs, kept = counted(model, lambda: model.decode(model.encode(image).z))  # the quantiser needs values
    cost = encoder_cost(config) + decoder_cost(config)
    assert cost.macs == macs
    assert autoencoder_cost(config).parameters == parameters(model)
    assert 4 * cost.kept == pytest.approx(kept, rel=0.1)


@pytest.mark.parametrize(("layers", "millions"), [(2, 0.66), (3, 2.77)])
def test_discriminators(layers: int, millions: float) -> None:
    with torch.device("meta"):
        network, image = PatchDiscriminator(layers=layers), torch.zeros(1, 3, 256, 256)
    macs, kept = counted(network, lambda: network(image))
    cost = discriminator_cost(DiscriminatorConfig(layers=layers), 3, 256)
    assert (cost.macs, cost.parameters) == (macs, parameters(network))
    assert round(cost.parameters / 1e6, 2) == millions
    assert 4 * cost.kept == pytest.approx(kept, rel=0.1)


@pytest.mark.parametrize("changes", [{}, {"key_value": "separate"}, {"layers": 36, "dim": 1280, "heads": 32}])
def test_cat(changes: dict[str, Any]) -> None:
    config = CatModelConfig.model_validate(changes)
    with torch.device("meta"):
        cat = CAT(**config.model_dump())
        codes = torch.zeros(1, 256, dtype=torch.int64)
        text, mask = torch.zeros(1, 77, 768), torch.ones(1, 77, dtype=torch.bool)
    macs, kept = counted(cat, lambda: cat(codes, text, mask))
    cost = cat_cost(config, 1024, 256, 768, 77)
    assert cost.parameters == parameters(cat)
    assert cost.macs == pytest.approx(macs, rel=0.01)
    assert 4 * cost.kept == pytest.approx(kept, rel=0.35)  # attention's own matrices depend on the kernel


def test_perceptual_networks() -> None:
    """VGG16 exactly; the smaller ones as shares of it."""
    ensure_torchvision()
    from torchvision.models import alexnet, squeezenet1_1, vgg16

    with torch.device("meta"):
        networks = {"vgg": vgg16(), "alex": alexnet(), "squeeze": squeezenet1_1()}
        image = torch.zeros(1, 3, 256, 256)
    macs = {name: counted(network, lambda n=network: n.features(image))[0] for name, network in networks.items()}
    assert vgg_cost(256).macs == macs["vgg"]
    for name, share in _LPIPS_SHARE.items():
        assert share == pytest.approx(macs.get(name, 0) / macs["vgg"], abs=0.002)


def test_clip_text_tower() -> None:
    """ViT-L/14's text tower: 12 layers of width 768 over 77 positions, 85 M weights in its linear maps."""
    assert clip_text_cost().parameters == pytest.approx(85.0e6, rel=0.01)
    assert isinstance(clip_text_cost(), Cost)


@pytest.mark.parametrize(("name", "billions"), [("f16", 217.6), ("f16 without", 195.6), ("f8", 381.9), ("f4", 565.9)])
def test_multiply_accumulates_of_the_published_sizes(name: str, billions: float) -> None:
    config = FavaeModelConfig.model_validate(NETWORKS[name])
    assert round((encoder_cost(config) + decoder_cost(config)).macs / 1e9, 1) == billions


@pytest.mark.parametrize(
    ("row", "before", "after"), [("celebahq-f16-r12", 1.43, 1.96), ("imagenet-f4-favae", 3.5, 4.75)]
)
def test_official_training_step_in_tflop(paper: Grid, row: str, before: float, after: float) -> None:
    """With the official D step, which runs the model again; ours reuses the reconstruction and saves that pass."""
    config = paper.job("train_autoencoder", row).config
    assert isinstance(config, FavaeConfig)
    tree = config.model_dump(mode="json")
    tree["objective"]["adversarial"]["reconstruction"] = "recompute"
    found = [flops / 1e12 for flops in autoencoder_flops(FavaeConfig.model_validate(tree))]
    assert found == pytest.approx([before, after], rel=0.03)
    saved = autoencoder_cost(config.model).macs * 2 / 1e12
    assert autoencoder_flops(config)[1] / 1e12 == pytest.approx(found[1] - saved)


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> Grid:
    monkeypatch.chdir(ROOT)
    return load_grid("paper")


def test_estimates_of_the_paper_scale(paper: Grid) -> None:
    """Steps, images and hours of one job by hand; every job has an estimate, and more GPU memory than its weights."""
    sizes = known_sizes(paper)
    estimates = {job.name: estimate(paper, job, sizes) for job in paper}
    ours = estimates["train_autoencoder/celebahq-f16-r12"]
    steps = 100 * (24_183 // 8)
    before, after = autoencoder_flops(paper.job("train_autoencoder", "celebahq-f16-r12").config)  # type: ignore[arg-type]
    flops = 8 * (steps // 100 * before + (steps - steps // 100) * after)
    assert (ours.steps, ours.images) == (steps, 8 * steps)
    assert ours.gpu_hours == pytest.approx(flops / 60e12 / 3600)
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
