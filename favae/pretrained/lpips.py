"""LPIPS v0.1 (Zhang et al., CVPR 2018): the perceptual term of the training loss, and a metric."""

import warnings
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from favae.config.evaluation import LPIPS_SMALLEST, LpipsNet, WeightsConfig, WeightsFileConfig
from favae.pretrained.weights import load_weights
from favae.runtime.torchvision import ensure_torchvision

LPIPS_WEIGHTS: dict[LpipsNet, str] = {"vgg": "vgg16", "alex": "alexnet", "squeeze": "squeezenet"}


class LPIPS(nn.Module):
    """Frozen LPIPS: the images get gradients, the network does not; it stays in evaluation mode.

    `weights` declares the file from which its backbone was loaded.
    """

    network: Any  # lpips.LPIPS, imported only when needed

    def __init__(self, lpips_network: nn.Module, weights: WeightsFileConfig):
        super().__init__()
        self.network = lpips_network.requires_grad_(False)
        self.weights = weights
        self.eval()

    def train(self, mode: bool = True) -> "LPIPS":
        """Ignore `mode` and stay in evaluation mode: the linear heads have dropout layers."""
        return super().train(False)

    def forward(self, first_BCHW: Tensor, second_BCHW: Tensor) -> Tensor:
        """Distance of images in [-1, 1], one value per pair: [B]. One-channel images are repeated to three.

        Features are normalised with PyTorch's `normalize`, as in the official FA-VAE code: the lpips package divides by
        a square root whose gradient at an all-zero feature is NaN.

        Raises:
            ValueError: images smaller than `LPIPS_SMALLEST` of the network.
        """
        net, side = self.network.pnet_type, min(first_BCHW.shape[-2:])
        if side < LPIPS_SMALLEST[net]:
            raise ValueError(f"LPIPS with {net} got images of {side} pixels; it needs at least {LPIPS_SMALLEST[net]}")
        distance_B = torch.zeros(len(first_BCHW), device=first_BCHW.device)
        features = zip(self._features(first_BCHW), self._features(second_BCHW), self.network.lins)
        for first_BCHW, second_BCHW, head in features:
            difference_BCHW = (F.normalize(first_BCHW, dim=1) - F.normalize(second_BCHW, dim=1)).square()
            distance_B = distance_B + head(difference_BCHW).mean((1, 2, 3))
        return distance_B

    def _features(self, image_BCHW: Tensor) -> tuple[Tensor, ...]:
        image_BCHW = image_BCHW.expand(-1, 3, -1, -1)
        return self.network.net(self.network.scaling_layer(image_BCHW))


def load_lpips(net: LpipsNet, catalogue: WeightsConfig | None = None) -> LPIPS:
    """LPIPS v0.1 on VGG16, AlexNet or SqueezeNet 1.1, on the CPU; nothing is downloaded.

    Backbone weights come from the declared files, the linear heads from the lpips package.

    Raises:
        MissingWeights: the backbone's file is missing on this machine.
        ValueError: unknown `net`.
    """
    if net not in LPIPS_WEIGHTS:
        raise ValueError(f"LPIPS network must be one of {', '.join(LPIPS_WEIGHTS)}, got {net!r}")
    backbone, declared = load_weights(LPIPS_WEIGHTS[net], catalogue)
    ensure_torchvision()
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lpips builds its backbone with a deprecated argument of torchvision
        network = lpips.LPIPS(pretrained=False, net=net, pnet_rand=True, verbose=False)
    heads_file = Path(lpips.__file__).parent / "weights" / "v0.1" / f"{net}.pth"
    heads = torch.load(heads_file, map_location="cpu", weights_only=True)
    state = network.state_dict()
    for key, weight in heads.items():
        state[key] = state[f"lins.{key.removeprefix('lin')}"] = weight  # lpips registers each head under two names
    for key in network.net.state_dict():
        # lpips keeps the backbone's layer numbers inside its slices: slice2.4.weight is features.4.weight.
        state[f"net.{key}"] = backbone[f"features.{key.split('.', 1)[1]}"]
    network.load_state_dict(state)
    return LPIPS(network, declared)
