"""`favae reconstruct`: a user's own pictures of any size and mode, through saved weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests_support import ROOT, call

from favae.inference.export import load_autoencoder, save_weights
from favae.inference.reconstruct import reconstruct_any_size
from favae.models import FAVAE

MODEL = {
    "image_size": 16,
    "base_channels": 4,
    "channel_multipliers": [1, 1, 2],
    "res_blocks": 1,
    "attention_resolutions": [],
    "latent_channels": 4,
    "norm_groups": 2,
    "fcm_groups": 2,
    "quantizer": {"kind": "cosine", "codes": 8, "dim": 4},
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    folder = tmp_path / "model"
    folder.mkdir()
    save_weights(folder, FAVAE(**MODEL).state_dict(), {"kind": "autoencoder", "model": {"kind": "favae", **MODEL}})
    return folder


def test_saved_and_loaded_weights_are_the_same_model(model: Path) -> None:
    torch.manual_seed(0)
    fresh, x = FAVAE(**MODEL).eval(), torch.rand(2, 3, 16, 16) * 2 - 1
    loaded = load_autoencoder(model)  # in another memory format: the same weights, other rounding
    assert all(
        torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), fresh.state_dict().values(), strict=True)
    )
    torch.testing.assert_close(loaded.reconstruct(x), fresh.reconstruct(x))


@pytest.mark.parametrize("size", [(16, 16), (17, 30), (5, 3)])
def test_any_size_comes_back(model: Path, size: tuple[int, int]) -> None:
    x = torch.rand(1, 3, *size) * 2 - 1
    out = reconstruct_any_size(load_autoencoder(model), x)
    assert out.shape == x.shape
    if size == (16, 16):
        assert torch.equal(out, load_autoencoder(model).reconstruct(x))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "CMYK", "P"])
def test_any_mode_is_reconstructed_by_the_command(model: Path, tmp_path: Path, mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (19, 23, 3), dtype=np.uint8)
    path = tmp_path / ("picture.jpg" if mode == "CMYK" else "picture.png")
    Image.fromarray(pixels).convert(mode).save(path)
    out = tmp_path / "out"
    done = call(ROOT, "favae", "reconstruct", str(path), "--model", str(model), "--out", str(out))
    assert Image.open(done.stdout.strip()).size == (23, 19)


@pytest.mark.parametrize(
    ("images", "damage", "message"),
    [
        ("nowhere.png", None, "nowhere.png: no such file or folder"),
        ("picture.png", "model.safetensors", "the model's files are damaged"),
        ("picture.png", "config.json", "the model's files are damaged"),
    ],
)
def test_errors_are_one_line(model: Path, tmp_path: Path, images: str, damage: str | None, message: str) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "picture.png")
    if damage:
        (model / damage).write_bytes(b"{broken")
    done = call(
        ROOT,
        "favae",
        "reconstruct",
        str(tmp_path / images),
        "--model",
        str(model),
        "--out",
        str(tmp_path / "o"),
        check=False,
    )
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
