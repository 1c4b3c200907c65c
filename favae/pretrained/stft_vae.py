"""The five networks that the authors of STFT-VAE released, as weights of `favae.models.StftVAE`."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from favae.config.evaluation import WeightsConfig
from favae.pretrained.weights import MissingWeights, find_weights

# Layer in TensorFlow's checkpoint -> module of StftVAE. Kernels of TensorFlow are [height, width, in, out] for a convolution and
# [height, width, out, in] for a transposed one; both become [out, in, ...] and [in, out, ...], by the same permutation.
_LAYERS = {
    "encoder/layer_with_weights-0": "encoder.0",
    "encoder/layer_with_weights-1": "encoder.2",
    "encoder/layer_with_weights-2": "to_posterior",
    "decoder/layer_with_weights-0": "from_latent",
    "decoder/layer_with_weights-1": "decoder.0",
    "decoder/layer_with_weights-2": "decoder.1",
    "decoder/layer_with_weights-3": "to_image",
}


def load_stft_vae(name: str, catalogue: WeightsConfig | None = None) -> dict[str, Tensor]:
    """State dict of `favae.models.StftVAE` (28 pixels, Z = 2) from the declared weights `name`, float32.

    Raises:
        MissingWeights: the file is missing on this machine, or is not the declared one.
        ValueError: the file does not have the layers of the released networks.
    """
    found = find_weights(name, catalogue)
    if isinstance(found, MissingWeights):
        raise found
    return from_tensorflow(found.path)


def from_tensorflow(path: Path) -> dict[str, Tensor]:
    """State dict from an `.npz` with the variables of the TensorFlow checkpoint under their names. Raises ValueError."""
    with np.load(path, allow_pickle=False) as stored:
        variables = {name: torch.from_numpy(stored[name]).float() for name in stored.files}
    expected = {f"{layer}/{part}" for layer in _LAYERS for part in ("kernel", "bias")}
    if set(variables) != expected:
        wrong = sorted(expected ^ set(variables))[0]
        raise ValueError(f"{path}: expected the 14 variables of the released STFT-VAE; {wrong} is missing or too many")
    state: dict[str, Tensor] = {}
    for layer, module in _LAYERS.items():
        kernel = variables[f"{layer}/kernel"]
        order = (3, 2, 0, 1) if kernel.ndim == 4 else (1, 0)
        state |= {f"{module}.weight": kernel.permute(order).contiguous(), f"{module}.bias": variables[f"{layer}/bias"]}
    return state
