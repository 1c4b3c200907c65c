"""Images to measure, and catalogues of weights that exist only for a test."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from favae.config.evaluation import WeightsConfig
from favae.runtime.torchvision import ensure_torchvision


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _only_declared_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Tests find only their own weights, except those marked `weights`."""
    if request.node.get_closest_marker("weights") is None:
        monkeypatch.delenv("FAVAE_WEIGHTS", raising=False)
        monkeypatch.setenv("TORCH_HOME", str(tmp_path / "no-torch-home"))


@pytest.fixture
def pairs() -> tuple[Tensor, Tensor]:
    """Twelve smooth uint8 images of 32x32 and noisy copies in (about) [-1, 1]: [12,3,32,32] each."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(12, 3, 5, 5, generator=generator) * 255
    original = torch.nn.functional.interpolate(coarse, size=(32, 32), mode="bilinear").round().to(torch.uint8)
    noise = torch.randn(original.shape, generator=generator) * torch.linspace(0.02, 0.3, 12)[:, None, None, None]
    return original, original.float() / 127.5 - 1 + noise


@pytest.fixture
def catalogue_of(tmp_path: Path) -> Callable[..., WeightsConfig]:
    """Catalogue whose only weights are the given state dict, saved and declared with its true sha256."""

    def build(name: str, state: dict[str, Tensor]) -> WeightsConfig:
        path = tmp_path / f"{name}.pth"
        torch.save(state, path)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        entry = {"purpose": "test", "files": [{"file": path.name, "sha256": sha256, "source": "this test"}]}
        return WeightsConfig(folder=str(tmp_path), weights={name: entry})

    return build


@pytest.fixture
def random_squeezenet(catalogue_of: Callable[..., WeightsConfig]) -> WeightsConfig:
    """SqueezeNet 1.1 with random weights in place of the pretrained ones."""
    ensure_torchvision()
    from torchvision.models import squeezenet1_1

    torch.manual_seed(0)
    return catalogue_of("squeezenet", squeezenet1_1(weights=None).state_dict())
