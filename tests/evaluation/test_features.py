"""Feature networks are fixed, verified, and compute the features of their definitions."""

import hashlib
from collections.abc import Callable

import pytest
import torch

from favae.config.evaluation import WeightsConfig
from favae.pretrained.features import RandomConvFeatures, load_feature_network
from favae.pretrained.weights import MissingWeights
from favae.runtime.torchvision import ensure_torchvision


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_randconv_weights_are_the_same_bits_everywhere() -> None:
    digest = hashlib.sha256()
    for kernels in RandomConvFeatures().state_dict().values():
        digest.update(kernels.numpy().astype("<f4").tobytes())
    assert digest.hexdigest()[:16] == "ead08da5f7df0da6"


def test_randconv_against_a_direct_evaluation_of_its_definition(images: torch.Tensor) -> None:
    network = load_feature_network("randconv")
    maps, expected = images.double() * 255, []
    for kernels in network.state_dict().values():
        padded = torch.nn.functional.pad(maps, (1, 1, 1, 1), mode="reflect")
        patches = padded.unfold(2, 3, 1).unfold(3, 3, 1)
        maps = torch.einsum("bchwyx,ocyx->bohw", patches, kernels.double()).clamp(min=0)
        expected.append(maps.mean((2, 3)))
        even = maps[..., : maps.shape[2] // 2 * 2, : maps.shape[3] // 2 * 2]
        maps = (even[..., ::2, ::2] + even[..., 1::2, ::2] + even[..., ::2, 1::2] + even[..., 1::2, 1::2]) / 4
    features = network(images)
    assert features.shape == (3, network.dimension) == (3, 64)
    torch.testing.assert_close(features, torch.cat(expected, 1).float(), rtol=1e-4, atol=1e-4)


def test_randconv_sees_structure_and_not_brightness(images: torch.Tensor) -> None:
    network = load_feature_network("randconv")
    images = images / 2
    torch.testing.assert_close(network(images), network(images + 0.3), rtol=1e-3, atol=1e-3)
    blurred = torch.nn.functional.avg_pool2d(images, 3, stride=1, padding=1)
    assert (network(images) - network(blurred)).abs().mean() > 1


def test_randconv_refuses_images_smaller_than_its_levels() -> None:
    with pytest.raises(ValueError, match=r"16x16.*\(8, 32\)"):
        load_feature_network("randconv")(torch.zeros(1, 3, 8, 32))


def test_squeezenet_features_are_those_under_its_classifier(
    random_squeezenet: WeightsConfig, images: torch.Tensor
) -> None:
    from torchvision.models import squeezenet1_1
    from torchvision.transforms import Normalize, Resize

    reference = squeezenet1_1(weights=None)
    reference.load_state_dict(torch.load(f"{random_squeezenet.folder}/squeezenet.pth", weights_only=True))
    resized = Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])(Resize((224, 224), antialias=True)(images))
    features = load_feature_network("squeezenet", random_squeezenet)(images)
    assert features.shape == (3, 512)
    torch.testing.assert_close(features, reference.features(resized).mean((2, 3)), rtol=1e-4, atol=1e-5)


def test_inception_is_pytorch_fid_with_the_declared_file(
    catalogue_of: Callable[..., WeightsConfig], images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_torchvision()
    from pytorch_fid import inception

    untouched = inception.load_state_dict_from_url
    with monkeypatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(0)
        patch.setattr(torch.nn.Module, "load_state_dict", lambda *_: None)
        patch.setattr(inception, "load_state_dict_from_url", lambda *_, **__: {})
        random_network = inception.fid_inception_v3()
    catalogue = catalogue_of("inception", random_network.state_dict())
    network = load_feature_network("inception", catalogue)
    assert inception.load_state_dict_from_url is untouched
    monkeypatch.setattr(inception, "load_state_dict_from_url", lambda *_, **__: random_network.state_dict())
    expected = inception.InceptionV3([3]).eval()(images)[0][..., 0, 0]
    assert expected.shape == (3, 2048) and expected.std() > 0
    assert torch.equal(network(images), expected)


@pytest.mark.parametrize("name", ["inception", "squeezenet"])
def test_missing_weights_are_named_and_nothing_is_downloaded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr("socket.socket.connect", refuse)
    with pytest.raises(MissingWeights, match="missing"):
        load_feature_network(name)


def test_networks_are_frozen_and_unknown_names_refused() -> None:
    network = load_feature_network("randconv")
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    with pytest.raises(ValueError, match="inception, squeezenet, randconv"):
        load_feature_network("vgg")
