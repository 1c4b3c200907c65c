"""Fixtures: small folders of real image files, and prepared splits."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from favae.config.dataset import DatasetConfig
from favae.data.dataset import PreparedSplit
from favae.data.prepare import prepare


@pytest.fixture
def noise() -> Callable[..., np.ndarray]:
    """Seeded uint8 noise of a given shape."""

    def make(*shape: int, seed: int = 0) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)

    return make


@pytest.fixture
def image_folder(tmp_path: Path, noise: Callable[..., np.ndarray]) -> Path:
    """raw/images/{train,val,test}: 10, 3 and 4 PNG files of 12 x 10 pixels with two captions each."""
    root = tmp_path / "raw" / "images"
    for split, count in (("train", 10), ("val", 3), ("test", 4)):
        (root / split).mkdir(parents=True)
        for i in range(count):
            name = root / split / f"{i:02d}.png"
            Image.fromarray(noise(10, 12, 3, seed=100 * count + i)).save(name)
            name.with_suffix(".txt").write_text(f"{split} {i} first\n{split} {i} second\n")
    return root


@pytest.fixture
def prepared(image_folder: Path, tmp_path: Path) -> Callable[..., PreparedSplit]:
    """Prepare the image folder at 8 pixels and open one split."""

    def make(split: str = "train", **changes: object) -> PreparedSplit:
        layout = {"kind": "folder", "root": "images", "captions": "sidecar"}
        out = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
        out.mkdir()
        prepare(DatasetConfig.model_validate({"layout": layout, "image_size": 8, **changes}), tmp_path / "raw", out)
        return PreparedSplit(out, split)

    return make


@pytest.fixture
def real_data() -> Path:
    """Folder of published data; skips where there is none."""
    folder = os.environ.get("FAVAE_TEST_DATA")
    if not folder:
        pytest.skip("FAVAE_TEST_DATA is not set: it names the folder with pieces of the published data sets")
    return Path(folder)
