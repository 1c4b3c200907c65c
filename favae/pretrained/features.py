"""Feature networks for Frechet distances: images in [0, 1] -> one feature vector per image.

Only `inception` gives FID. The others give the same kind of distance without Inception's weights. Their values can only
be compared with each other.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from favae.config.evaluation import FeatureNetworkName, WeightsConfig, WeightsFileConfig
from favae.pretrained.weights import load_weights
from favae.runtime.torchvision import ensure_torchvision


class FeatureNetwork(nn.Module):
    """A frozen network with `dimension` features; `weights` declares the file from which it was loaded, if any."""

    dimension: int
    weights: WeightsFileConfig | None = None

    def features(self, image_B3HW: Tensor) -> Tensor:
        """[B, dimension] of images in [0, 1]."""
        raise NotImplementedError

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Features of images in [0, 1]: [B, dimension] float32. One-channel images are repeated to three."""
        return self.features(image_BCHW.expand(-1, 3, -1, -1))


class InceptionFeatures(FeatureNetwork):
    """Pool features of the FID Inception-v3 as ported by pytorch-fid: bilinear to 299x299 without antialiasing."""

    dimension = 2048

    def __init__(self, catalogue: WeightsConfig | None = None):
        super().__init__()
        state, self.weights = load_weights("inception", catalogue)
        self.network = _fid_inception()
        self.network.load_state_dict(state)
        self.classifier: Tensor
        self.register_buffer("classifier", self.network.fc.weight.detach().clone())
        self.network.fc = nn.Identity()

    def probabilities(self, features_BD: Tensor) -> Tensor:
        """Class probabilities [B, 1008] of pool features, without the classifier's bias (as torch-fidelity)."""
        return (features_BD @ self.classifier.T).softmax(1)

    def features(self, image_B3HW: Tensor) -> Tensor:
        """[B, 2048] of images in [0, 1]."""
        image_B3HW = F.interpolate(image_B3HW, size=(299, 299), mode="bilinear", align_corners=False)
        return self.network(2 * image_B3HW - 1)


def _fid_inception() -> Any:
    """torchvision's Inception-v3 with the blocks of pytorch-fid, like pytorch-fid's `fid_inception_v3`, which would
    download the weights."""
    ensure_torchvision()
    from pytorch_fid import inception
    from torchvision.models import inception_v3

    network = inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
    network.Mixed_5b = inception.FIDInceptionA(192, pool_features=32)
    network.Mixed_5c = inception.FIDInceptionA(256, pool_features=64)
    network.Mixed_5d = inception.FIDInceptionA(288, pool_features=64)
    network.Mixed_6b = inception.FIDInceptionC(768, channels_7x7=128)
    network.Mixed_6c = inception.FIDInceptionC(768, channels_7x7=160)
    network.Mixed_6d = inception.FIDInceptionC(768, channels_7x7=160)
    network.Mixed_6e = inception.FIDInceptionC(768, channels_7x7=192)
    network.Mixed_7b = inception.FIDInceptionE_1(1280)
    network.Mixed_7c = inception.FIDInceptionE_2(2048)
    return network


class SqueezeNetFeatures(FeatureNetwork):
    """Mean over positions of SqueezeNet 1.1's last 512 feature maps, at 224x224 (bilinear, antialiased)."""

    dimension = 512

    def __init__(self, catalogue: WeightsConfig | None = None):
        super().__init__()
        state, self.weights = load_weights("squeezenet", catalogue)
        ensure_torchvision()
        from torchvision.models import squeezenet1_1

        network = squeezenet1_1(weights=None)
        network.load_state_dict(state)
        self.network = network.features
        # ImageNet statistics with which torchvision's classifiers were trained.
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None])
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[:, None, None])

    def features(self, image_B3HW: Tensor) -> Tensor:
        """[B, 512] of images in [0, 1]."""
        image_B3HW = F.interpolate(image_B3HW, size=(224, 224), mode="bilinear", antialias=True)
        return self.network((image_B3HW - self.mean) / self.std).mean((2, 3))


class RandomConvFeatures(FeatureNetwork):
    """A fixed random convolutional network that needs no file. It has 64 features, so that about 100 images suffice.

    Four levels of conv 3x3 (16 channels, no bias, reflection padding), ReLU, 2x2 average pooling; the features are the
    means over positions of each level's 16 maps after ReLU. Input is levels 0 to 255 of at least 16x16 pixels. Weights
    are s / 64 sqrt(6 / fan in) (the bound of He et al. 2015) with integers s uniform in [-64, 64] from NumPy's frozen
    `RandomState(0)`, level by level, in the order [out, in, row, column]: bit-identical on every machine. The mean of
    each 3x3 kernel of the first level is subtracted, so a change of brightness has no effect.
    """

    dimension = 64
    LEVELS = 4
    CHANNELS = 16

    def __init__(self):
        super().__init__()
        generator = np.random.RandomState(0)
        for level in range(self.LEVELS):
            inputs = self.CHANNELS if level else 3
            bound = np.sqrt(6 / (inputs * 9))
            steps = generator.randint(-64, 65, size=(self.CHANNELS, inputs, 3, 3))
            means = steps.mean((2, 3), keepdims=True) if level == 0 else 0
            kernels = (steps - means) / 64 * bound
            self.register_buffer(f"kernels{level}", torch.from_numpy(kernels.astype(np.float32)))

    def features(self, image_B3HW: Tensor) -> Tensor:
        """[B, 64] of images in [0, 1]. Raises ValueError below 16x16."""
        if min(image_B3HW.shape[-2:]) < 2**self.LEVELS:
            raise ValueError(f"randconv features need images of at least 16x16, got {tuple(image_B3HW.shape[-2:])}")
        maps_BCHW, pooled = 255 * image_B3HW, []
        for level in range(self.LEVELS):
            padded_BCHW = F.pad(maps_BCHW, (1, 1, 1, 1), mode="reflect")
            maps_BCHW = F.conv2d(padded_BCHW, getattr(self, f"kernels{level}")).relu()
            pooled.append(maps_BCHW.mean((2, 3)))
            maps_BCHW = F.avg_pool2d(maps_BCHW, 2)
        return torch.cat(pooled, dim=1)


_NETWORKS: dict[FeatureNetworkName, Callable[[WeightsConfig | None], FeatureNetwork]] = {
    "inception": InceptionFeatures,
    "squeezenet": SqueezeNetFeatures,
    "randconv": lambda _: RandomConvFeatures(),
}


def load_feature_network(name: FeatureNetworkName, catalogue: WeightsConfig | None = None) -> FeatureNetwork:
    """The feature network `name`, frozen, in evaluation mode, on the CPU; nothing is downloaded.

    Raises:
        MissingWeights: its file is missing on this machine.
        ValueError: unknown `name`.
    """
    if name not in _NETWORKS:
        raise ValueError(f"feature network must be one of {', '.join(_NETWORKS)}, got {name!r}")
    return _NETWORKS[name](catalogue).requires_grad_(False).eval()
