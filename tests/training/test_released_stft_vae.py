"""The networks that the authors of STFT-VAE released: TensorFlow's arrays become our weights, and train for no step."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from favae.config.errors import ConfigError
from favae.config.load import validate
from favae.config.training_kinds import training_config
from favae.data.mnist import find_idx, read_images
from favae.models import StftVAE
from favae.pretrained.stft_vae import from_tensorflow, load_stft_vae

Array = NDArray[np.float64]
_KERNELS = {
    "encoder/layer_with_weights-0": (3, 3, 1, 32),
    "encoder/layer_with_weights-1": (3, 3, 32, 64),
    "encoder/layer_with_weights-2": (2304, 4),
    "decoder/layer_with_weights-0": (2, 1568),
    "decoder/layer_with_weights-1": (3, 3, 64, 32),
    "decoder/layer_with_weights-2": (3, 3, 32, 64),
    "decoder/layer_with_weights-3": (3, 3, 1, 32),
}
_OUTPUTS = dict(zip(_KERNELS, (32, 64, 4, 1568, 64, 32, 1), strict=True))


@pytest.fixture
def variables() -> dict[str, Array]:
    random = np.random.default_rng(0)
    kernels = {f"{layer}/kernel": random.normal(0, 0.1, shape) for layer, shape in _KERNELS.items()}
    return kernels | {f"{layer}/bias": random.normal(0, 0.1, _OUTPUTS[layer]) for layer in _KERNELS}


def _convolution(x: Array, kernel: Array, bias: Array) -> Array:
    """TensorFlow's Conv2D(3, strides=2, padding="valid"), [H,W,C]."""
    windows = sliding_window_view(x, (3, 3), axis=(0, 1))[::2, ::2]  # [h,w,C,3,3]
    return np.einsum("hwckl,klco->hwo", windows, kernel) + bias


def _transposed(x: Array, kernel: Array, bias: Array, stride: int) -> Array:
    """TensorFlow's Conv2DTranspose(3, padding="same"): the gradient of a convolution that pads more at the end."""
    height, width = x.shape[:2]
    full = np.zeros((stride * (height - 1) + 3, stride * (width - 1) + 3, kernel.shape[2]))
    for i in range(height):
        for j in range(width):
            full[stride * i : stride * i + 3, stride * j : stride * j + 3] += kernel @ x[i, j]
    start = 0 if stride == 2 else 1
    return full[start : start + stride * height, start : start + stride * width] + bias


def _reference(v: dict[str, Array], image: Array) -> tuple[Array, Array]:
    """Mean of z, and the decoder's output at it, of one image [28,28] in [0, 1]."""

    def layer(name: str) -> tuple[Array, Array]:
        return v[f"{name}/kernel"], v[f"{name}/bias"]

    h = np.maximum(_convolution(image[..., None], *layer("encoder/layer_with_weights-0")), 0)
    h = np.maximum(_convolution(h, *layer("encoder/layer_with_weights-1")), 0)
    kernel, bias = layer("encoder/layer_with_weights-2")
    mean = (h.reshape(-1) @ kernel + bias)[:2]
    kernel, bias = layer("decoder/layer_with_weights-0")
    h = np.maximum(mean @ kernel + bias, 0).reshape(7, 7, 32)
    h = np.maximum(_transposed(h, *layer("decoder/layer_with_weights-1"), 2), 0)
    h = np.maximum(_transposed(h, *layer("decoder/layer_with_weights-2"), 2), 0)
    return mean, _transposed(h, *layer("decoder/layer_with_weights-3"), 1)[..., 0]


def test_the_network_computes_what_tensorflow_would(variables: dict[str, Array], tmp_path: Path) -> None:
    np.savez(tmp_path / "released.npz", **variables)
    model = StftVAE()
    model.load_state_dict(from_tensorflow(tmp_path / "released.npz"))
    image = np.random.default_rng(1).random((28, 28))
    mean, output = _reference(variables, image)
    posterior = model.encode(torch.from_numpy(2 * image - 1).float()[None, None])
    np.testing.assert_allclose(posterior.mean[0].detach(), mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose((model.decode(posterior.mean)[0, 0].detach() + 1) / 2, output, rtol=1e-4, atol=1e-5)


def test_other_arrays_are_refused_by_name(variables: dict[str, Array], tmp_path: Path) -> None:
    del variables["decoder/layer_with_weights-3/bias"]
    np.savez(tmp_path / "other.npz", **variables)
    with pytest.raises(ValueError, match=r"other\.npz: .*decoder/layer_with_weights-3/bias"):
        from_tensorflow(tmp_path / "other.npz")


def test_a_length_of_zero_needs_weights_to_export() -> None:
    parameters = {
        "model": {"kind": "stft_vae"},
        "objective": {"kl": 0.005, "terms": {"mse": {"kind": "mse"}}},
        "optimizer": {"schedule": {"kind": "constant", "rate": 1e-3}},
        "training": {
            "seed": 0, "batch_size": 4, "length": "0 steps", "validate_every": "1 epochs",
            "checkpoint_every": "1 epochs", "selection": "last",
        },
    }  # fmt: skip
    with pytest.raises(ConfigError, match=r"training\.length is 0.*name them in weights"):
        validate(training_config(parameters), parameters, "test")
    validate(training_config(parameters), parameters | {"weights": "stft_vae_l2"}, "test")


@pytest.mark.weights
@pytest.mark.skipif("FAVAE_TEST_DATA" not in os.environ, reason="FAVAE_TEST_DATA is not set")
def test_the_released_l2_has_its_known_error(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Path(os.environ["FAVAE_TEST_DATA"])
    monkeypatch.setenv("FAVAE_WEIGHTS", str(data / "weights"))
    model = StftVAE()
    model.load_state_dict(load_stft_vae("stft_vae_l2"))
    digits = torch.from_numpy(read_images(find_idx(data / "raw" / "mnist", "t10k-images"))[:2000] > 127).float()[
        :, None
    ]
    with torch.inference_mode():
        output = (model.decode(model.encode(2 * digits - 1).mean) + 1) / 2
    assert float((output - digits).square().mean()) == pytest.approx(0.0584, abs=1e-4)
