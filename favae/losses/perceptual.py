"""Perceptual loss of SPADE on features of VGG19 (Simonyan & Zisserman 2015; weights of pix2pixHD)."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VggInput = Literal["as_is", "imagenet"]

_WIDTHS = (64, 128, 256, 512, 512)
_CONVOLUTIONS = (2, 2, 4, 4, 1)  # up to relu5_1
_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Vgg19Features(nn.Module):
    """VGG19 up to relu5_1; modules have torchvision's names `features.<n>`, so its state dict can be loaded with
    strict=False."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self.taps: list[int] = []
        channels = 3
        for width, count in zip(_WIDTHS, _CONVOLUTIONS, strict=True):
            if layers:
                layers.append(nn.MaxPool2d(2))
            self.taps.append(len(layers) + 1)
            for _ in range(count):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
        self.features = nn.Sequential(*layers)

    def forward(self, x_BCHW: Tensor) -> list[Tensor]:
        """Images [B,3,H,W] -> relu1_1, relu2_1, relu3_1, relu4_1, relu5_1."""
        found = []
        for number, layer in enumerate(self.features):
            x_BCHW = layer(x_BCHW)
            if number in self.taps:
                found.append(x_BCHW)
        return found


class PerceptualLoss(nn.Module):
    """Sum over five layers of weight * L1 between features of generated and real images (SPADE uses the weight 10).

    Args:
        features: a network that returns five features, from fine to coarse (`Vgg19Features` with trained weights); it
            is frozen and stays in eval mode.
        network_input: "as_is": images in [-1, 1], as in SPADE's code; "imagenet": images mapped to [0, 1] and
            normalised with the statistics with which the network was trained.

    Raises:
        ValueError: unknown `network_input`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: nn.Module, network_input: VggInput = "as_is") -> None:
        super().__init__()
        if network_input not in get_args(VggInput):
            raise ValueError(f"perceptual loss got network_input {network_input!r}; expected 'as_is' or 'imagenet'")
        self.features = features.requires_grad_(False).eval()
        self.network_input = network_input
        self.register_buffer("mean", torch.tensor(_IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_IMAGENET_STD).view(3, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> "PerceptualLoss":
        """Like `nn.Module.train`, but the features stay in eval mode."""
        super().train(mode)
        self.features.eval()
        return self

    def forward(self, fake_BCHW: Tensor, real_BCHW: Tensor) -> Tensor:
        """The loss, a scalar, of images [B,3,H,W] in [-1, 1]; real features are detached."""
        of_fake = self.features(self._prepared(fake_BCHW))
        with torch.no_grad():
            of_real = self.features(self._prepared(real_BCHW))
        terms = [w * F.l1_loss(a, b) for w, a, b in zip(_WEIGHTS, of_fake, of_real, strict=True)]
        return torch.stack(terms).sum()

    def _prepared(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW if self.network_input == "as_is" else (0.5 * (x_BCHW + 1.0) - self.mean) / self.std
