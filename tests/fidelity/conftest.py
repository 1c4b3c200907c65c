"""A training small enough to run in a second, and images for it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from favae.config.dataset import DatasetConfig
from favae.config.favae import FavaeConfig
from favae.config.load import deep_merge
from favae.data.dataset import PreparedSplit
from favae.data.prepare import prepare

_TINY: dict[str, Any] = {
    "model": {
        "kind": "favae",
        "image_size": 16,
        "base_channels": 8,
        "channel_multipliers": [1, 2],
        "res_blocks": 1,
        "attention_resolutions": [],
        "latent_channels": 8,
        "norm_groups": 4,
        "fcm_groups": 4,
        "fcm": "conv",
        "quantizer": {"kind": "cosine", "codes": 16, "dim": 8},
    },
    "objective": {
        "perceptual": {"network": "none"},
        "image_ffl": {"weight": 1.0},
        "spectrum": {"kind": "dsl", "kernel_size": 3},
        "adversarial": {"weight": 0.75, "start": "0 steps", "discriminator": {"base_channels": 4, "layers": 1}},
    },
    "optimizer": {"base_lr": 1.0e-3, "scaling": "none", "sigma_lr": 1.0e-2},
    "training": {
        "seed": 0,
        "batch_size": 4,
        "length": "4 steps",
        "validate_every": "4 steps",
        "checkpoint_every": "4 steps",
        "threads": 1,
    },
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_spec() -> Callable[..., FavaeConfig]:
    """The small training, with changes merged in: `tiny_spec(objective={"adversarial": {...}})`."""

    def make(**changes: Any) -> FavaeConfig:
        return FavaeConfig.model_validate(deep_merge([_TINY, changes]))

    return make


@pytest.fixture(scope="session")
def val(tmp_path_factory: pytest.TempPathFactory) -> PreparedSplit:
    """Seven images of 16 pixels, prepared."""
    root = tmp_path_factory.mktemp("images")
    noise = np.random.default_rng(0)
    for split, count in (("train", 2), ("val", 7)):
        (root / "raw" / "images" / split).mkdir(parents=True)
        for i in range(count):
            coarse = noise.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            image = Image.fromarray(coarse).resize((16, 16), Image.Resampling.BICUBIC)
            image.save(root / "raw" / "images" / split / f"{i}.png")
    out = root / "prepared"
    out.mkdir()
    layout = {"kind": "folder", "root": "images"}
    prepare(DatasetConfig.model_validate({"layout": layout, "image_size": 16}), root / "raw", out)
    return PreparedSplit(out, "val")


@pytest.fixture
def images(val: PreparedSplit) -> torch.Tensor:
    """Four stored images, uint8 [4,3,16,16]."""
    return val.images(range(4))
