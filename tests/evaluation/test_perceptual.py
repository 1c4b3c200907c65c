"""LPIPS: the values of the lpips package, frozen, with gradients that are always finite."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from favae.config.evaluation import LPIPS_SMALLEST, LpipsNet, WeightsConfig
from favae.jobs.building import bare_lpips
from favae.pretrained.lpips import LPIPS, load_lpips
from favae.pretrained.weights import MissingWeights
from favae.runtime.torchvision import ensure_torchvision

BACKBONES = {"vgg": ("vgg16", "vgg16"), "alex": ("alexnet", "alexnet"), "squeeze": ("squeezenet", "squeezenet1_1")}


@pytest.fixture
def squeeze(random_squeezenet: WeightsConfig) -> LPIPS:
    return load_lpips("squeeze", random_squeezenet)


@pytest.fixture
def images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    first, second = torch.rand(2, 3, 3, 64, 64, generator=generator) * 2 - 1
    return first, second


def test_distances_are_those_of_the_lpips_package(squeeze: LPIPS, images: tuple[Tensor, Tensor]) -> None:
    distances = squeeze(*images)
    assert distances.shape == (3,) and (distances > 0).all()
    torch.testing.assert_close(distances, squeeze.network(*images).flatten(), rtol=1e-5, atol=1e-7)
    assert squeeze(images[0], images[0]).tolist() == [0, 0, 0]


def test_backbone_and_published_heads_reach_the_network(
    catalogue_of: Callable[..., WeightsConfig], random_squeezenet: WeightsConfig
) -> None:
    import lpips

    network = load_lpips("squeeze", random_squeezenet).network
    heads = lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False).state_dict()
    for key, weight in network.state_dict().items():
        if key.startswith("lin"):
            assert torch.equal(weight, heads[key])
    backbone = torch.load(f"{random_squeezenet.folder}/squeezenet.pth", weights_only=True)
    loaded = {key.split(".", 2)[2]: weight for key, weight in network.state_dict().items() if key.startswith("net.")}
    assert loaded and all(torch.equal(weight, backbone[f"features.{key}"]) for key, weight in loaded.items())


def test_gradients_reach_the_images_and_never_the_network(squeeze: LPIPS, images: tuple[Tensor, Tensor]) -> None:
    first = images[0].requires_grad_()
    squeeze(first, images[1]).mean().backward()
    assert first.grad is not None and first.grad.abs().max() > 0
    assert not any(parameter.requires_grad for parameter in squeeze.parameters())


def test_dropout_of_the_heads_stays_off_in_training_mode(squeeze: LPIPS, images: tuple[Tensor, Tensor]) -> None:
    owner = torch.nn.ModuleList([squeeze]).train()
    assert not any(module.training for module in squeeze.modules())
    assert torch.equal(owner[0](*images), owner[0](*images))


def test_features_that_are_all_zero_give_finite_gradients(
    catalogue_of: Callable[..., WeightsConfig], images: tuple[Tensor, Tensor]
) -> None:
    ensure_torchvision()
    from torchvision.models import squeezenet1_1

    dead = {key: torch.zeros_like(weight) for key, weight in squeezenet1_1(weights=None).state_dict().items()}
    metric = load_lpips("squeeze", catalogue_of("squeezenet", dead))
    first = images[0].requires_grad_()
    metric(first, images[1]).sum().backward()
    assert first.grad is not None and torch.isfinite(first.grad).all()


def test_one_channel_images_are_repeated_to_three(squeeze: LPIPS, images: tuple[Tensor, Tensor]) -> None:
    first, second = (image[:, :1] for image in images)
    torch.testing.assert_close(squeeze(first, second), squeeze(first.repeat(1, 3, 1, 1), second.repeat(1, 3, 1, 1)))


def test_missing_weights_are_named() -> None:
    with pytest.raises(MissingWeights, match=r"vgg16-397923af\.pth missing"):
        load_lpips("vgg")


def test_unknown_network_is_refused() -> None:
    with pytest.raises(ValueError, match="vgg, alex, squeeze"):
        load_lpips("resnet")


@pytest.mark.weights
@pytest.mark.skipif("FAVAE_TEST_DATA" not in os.environ, reason="FAVAE_TEST_DATA is not set")
def test_value_documented_by_torchmetrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAVAE_WEIGHTS", str(Path(os.environ["FAVAE_TEST_DATA"]) / "weights"))
    torch.manual_seed(42)
    first, second = torch.rand(10, 3, 100, 100) * 2 - 1, torch.rand(10, 3, 100, 100) * 2 - 1
    assert load_lpips("squeeze")(first, second).mean().item() == pytest.approx(0.100487, abs=2e-6)


@pytest.mark.parametrize("net", LPIPS_SMALLEST)
def test_lpips_says_the_smallest_images_that_its_network_can_take(net: LpipsNet) -> None:
    with torch.device("meta"):
        module, side = bare_lpips(net), LPIPS_SMALLEST[net]
        assert module(torch.zeros(1, 3, side, side), torch.zeros(1, 3, side, side)).shape == (1,)
        with pytest.raises(ValueError, match=f"images of {side - 1} pixels; it needs at least {side}"):
            module(torch.zeros(1, 3, side - 1, 60), torch.zeros(1, 3, side - 1, 60))
        with pytest.raises(RuntimeError):  # without our message: the number is the network's, not ours
            module.network(torch.zeros(1, 3, side - 1, side - 1), torch.zeros(1, 3, side - 1, side - 1))
