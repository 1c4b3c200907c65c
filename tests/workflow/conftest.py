"""A trained model and images of a user."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from reconstruct_support import MODEL, tiny_model

from favae.inference.export import save_weights


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    save_weights(folder, tiny_model().state_dict(), {"kind": "autoencoder", "model": {"kind": "favae", **MODEL}})
    return folder


@pytest.fixture
def image(tmp_path: Path):
    def make(name: str, size: tuple[int, int] = (9, 7)) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(len(name)).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path, format=None if path.suffix.lower() in (".png", ".bmp", ".jpg") else "PNG")
        return path

    return make
