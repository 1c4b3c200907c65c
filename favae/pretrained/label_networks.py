"""Networks that the papers on semantic image synthesis use as judges: they label the pixels of generated images.

Tensor legend: B batch, K classes, C channels, H W pixels.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from favae.config.evaluation import LabelNetworkName, WeightsConfig, WeightsFileConfig
from favae.pretrained.weights import MissingWeights, load_catalogue, load_weights
from favae.runtime import paths
from favae.runtime.torchvision import ensure_torchvision

# Class ids of Cityscapes in the order of its 19 training ids (cityscapesScripts, helpers/labels.py); the others are void.
CITYSCAPES_TRAINED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
VOID = 255
_UNDECLARED = "0" * 64  # no source states the sha256
LABEL_WEIGHTS: dict[LabelNetworkName, tuple[str, ...]] = {
    "drn_d_105": ("drn_d_105",),
    "drn_d_105_as_generated": ("drn_d_105",),
    "upernet_101": ("upernet_101_encoder", "upernet_101_decoder"),
}


class LabelNetwork(nn.Module):
    """A frozen network with `classes` K; `weights` declares the files from which it was loaded."""

    classes: int
    weights: tuple[WeightsFileConfig, ...] = ()

    def logits(self, image_B3HW: Tensor) -> Tensor:
        """Images in [0, 1] -> scores of classes, [B,K,h,w]."""
        raise NotImplementedError

    def forward(self, image_B3HW: Tensor) -> Tensor:
        """Images in [0, 1] -> the most probable class of each pixel, [B,H,W]."""
        raise NotImplementedError

    def truth(self, stored_BHW: Tensor) -> Tensor:
        """Classes as they are stored in the data set -> those of the network, `VOID` for those that it does not have."""
        raise NotImplementedError


class DrnD105(LabelNetwork):
    """Dilated residual network D-105 (Yu et al. 2017) with a 1x1 convolution to 19 classes of Cityscapes, at 1/8 of the size, and a
    fixed bilinear up-sampling. 54,801,304 parameters with ImageNet's classifier, 54,298,051 and the up-sampling with this one.

    Args:
        rows: height to which images are enlarged first; None: not at all. With 1,024 rows (photographs of Cityscapes have as
            many) a user of OASIS could repeat SPADE's published mIoU (boschresearch/OASIS, issue 18); OASIS itself scores at
            the generated size, 256 rows (issue 5 there).
    """

    classes = len(CITYSCAPES_TRAINED)

    def __init__(self, rows: int | None = 1024) -> None:
        super().__init__()
        self.rows = rows
        layers = [nn.Sequential(nn.Conv2d(3, 16, 7, padding=3, bias=False), nn.BatchNorm2d(16), nn.ReLU())]
        layers += [_convolution(16, 16), _convolution(16, 32, stride=2)]
        layers += [_stage(32, 64, 3, stride=2), _stage(256, 128, 4, stride=2)]
        layers += [_stage(512, 256, 23, dilation=2), _stage(1024, 512, 3, dilation=4)]
        layers += [_convolution(2048, 512, dilation=2), _convolution(512, 512)]
        self.base = nn.Sequential(*layers)
        self.seg = nn.Conv2d(512, self.classes, 1)
        self.up = nn.ConvTranspose2d(self.classes, self.classes, 16, 8, 4, groups=self.classes, bias=False)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor([0.290101, 0.328081, 0.286964])[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor([0.182954, 0.186566, 0.184475])[:, None, None], persistent=False)

    def logits(self, image_B3HW: Tensor) -> Tensor:
        """[B,19,H,W] for H and W that are multiples of 8."""
        return self.up(self.seg(self.base((image_B3HW - self.mean) / self.std)))

    def forward(self, image_B3HW: Tensor) -> Tensor:
        """See `LabelNetwork`; scores are resized to the images' size."""
        height, width = image_B3HW.shape[2:]
        if self.rows is not None:
            size = (self.rows, round(width * self.rows / height))
            image_B3HW = F.interpolate(image_B3HW, size=size, mode="bilinear")
        return F.interpolate(self.logits(image_B3HW), size=(height, width), mode="bilinear").argmax(1)

    def truth(self, stored_BHW: Tensor) -> Tensor:
        """Class ids of Cityscapes -> its training ids."""
        table = torch.full((256,), VOID, device=stored_BHW.device)
        table[list(CITYSCAPES_TRAINED)] = torch.arange(self.classes, device=stored_BHW.device)
        return table[stored_BHW.long()]


class UperNet101(LabelNetwork):
    """UPerNet (Xiao et al. 2018) on ResNet-101 with three convolutions at its start, for 150 classes of ADE20K.

    Images are seen at five sizes (short sides 300 to 600, long ones at most 1,000, both rounded up to multiples of 32), whose
    probabilities are averaged, as in the configuration of the released network. Since August 2019 it takes RGB with ImageNet's
    mean and deviation, and its weights were converted (CSAILVision/semantic-segmentation-pytorch, pull request 190).
    """

    classes = 150
    SHORT_SIDES, LONG_SIDE, MULTIPLE = (300, 375, 450, 525, 600), 1000, 32

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = _DeepStemResNet101(), _UperNetDecoder(self.classes)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[:, None, None], persistent=False)

    def logits(self, image_B3HW: Tensor) -> Tensor:
        """[B,150,H/4,W/4]."""
        return self.decoder(self.encoder((image_B3HW - self.mean) / self.std))

    def sizes(self, height: int, width: int) -> list[tuple[int, int]]:
        """The sizes at which an image is seen."""
        scales = [min(s / min(height, width), self.LONG_SIDE / max(height, width)) for s in self.SHORT_SIDES]
        return [(self._rounded(height * scale), self._rounded(width * scale)) for scale in scales]

    def _rounded(self, side: float) -> int:
        return -(-int(side + 1e-6) // self.MULTIPLE) * self.MULTIPLE

    def forward(self, image_B3HW: Tensor) -> Tensor:
        """See `LabelNetwork`."""
        height, width = image_B3HW.shape[2:]
        total = torch.zeros((), device=image_B3HW.device)
        for size in self.sizes(height, width):
            seen = F.interpolate(image_B3HW, size=size, mode="bilinear", antialias=True)
            total = total + F.interpolate(self.logits(seen), size=(height, width), mode="bilinear").softmax(1)
        return total.argmax(1)

    def truth(self, stored_BHW: Tensor) -> Tensor:
        """0 (unknown) and 1 to 150 -> void and 0 to 149."""
        return torch.where(stored_BHW == 0, VOID, stored_BHW.long() - 1)


class _DeepStemResNet101(nn.Module):
    """Features at 1/4, 1/8, 1/16 and 1/32 of the size, with 256, 512, 1024 and 2048 channels."""

    def __init__(self) -> None:
        super().__init__()
        for number, (inputs, outputs, stride) in enumerate(((3, 64, 2), (64, 64, 1), (64, 128, 1)), 1):
            self.add_module(f"conv{number}", nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False))
            self.add_module(f"bn{number}", nn.BatchNorm2d(outputs))
        for number, (inputs, width, blocks) in enumerate(
            ((128, 64, 3), (256, 128, 4), (512, 256, 23), (1024, 512, 3)), 1
        ):
            self.add_module(f"layer{number}", _stage(inputs, width, blocks, stride=1 if number == 1 else 2))

    def forward(self, x: Tensor) -> list[Tensor]:
        for number in (1, 2, 3):
            x = self.get_submodule(f"bn{number}")(self.get_submodule(f"conv{number}")(x)).relu()
        x, features = F.max_pool2d(x, 3, 2, 1), []
        for number in (1, 2, 3, 4):
            x = self.get_submodule(f"layer{number}")(x)
            features.append(x)
        return features


class _UperNetDecoder(nn.Module):
    """Pyramid pooling of the coarsest features, a feature pyramid, and classes from all its levels."""

    POOLED, WIDTH = (1, 2, 3, 6), 512

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.ppm_conv = nn.ModuleList(_pointwise(2048, 512) for _ in self.POOLED)
        self.ppm_last_conv = _convolution(2048 + 512 * len(self.POOLED), self.WIDTH)
        self.fpn_in = nn.ModuleList(_pointwise(channels, self.WIDTH) for channels in (256, 512, 1024))
        self.fpn_out = nn.ModuleList(nn.Sequential(_convolution(self.WIDTH, self.WIDTH)) for _ in range(3))
        self.conv_last = nn.Sequential(_convolution(4 * self.WIDTH, self.WIDTH), nn.Conv2d(self.WIDTH, classes, 1))

    def forward(self, features: list[Tensor]) -> Tensor:
        coarsest = features[-1]
        pooled = [coarsest]
        for side, convolution in zip(self.POOLED, self.ppm_conv, strict=True):
            pooled.append(convolution(_resized(F.adaptive_avg_pool2d(coarsest, side), coarsest)))
        top = self.ppm_last_conv(torch.cat(pooled, 1))
        levels = [top]
        for lateral, feature, after in zip(
            reversed(self.fpn_in), reversed(features[:-1]), reversed(self.fpn_out), strict=True
        ):
            top = lateral(feature) + _resized(top, feature)
            levels.insert(0, after(top))
        return self.conv_last(torch.cat([_resized(level, levels[0]) for level in levels], 1))


def _resized(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[2:], mode="bilinear")


def _convolution(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def _pointwise(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


def _stage(inputs: int, width: int, blocks: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Bottleneck blocks of ResNet, whose 3x3 convolutions are dilated; the first may have a stride."""
    ensure_torchvision()
    from torchvision.models.resnet import Bottleneck

    outputs = width * Bottleneck.expansion
    shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    first = Bottleneck(inputs, width, stride, shortcut, dilation=dilation)
    return nn.Sequential(first, *(Bottleneck(outputs, width, dilation=dilation) for _ in range(blocks - 1)))


_NETWORKS: dict[LabelNetworkName, Callable[[], LabelNetwork]] = {
    "drn_d_105": DrnD105,
    "drn_d_105_as_generated": lambda: DrnD105(rows=None),
    "upernet_101": UperNet101,
}


def load_label_network(name: LabelNetworkName, catalogue: WeightsConfig | None = None) -> LabelNetwork:
    """The network `name`, frozen, in evaluation mode, on the CPU; nothing is downloaded.

    Raises:
        MissingWeights: a file is missing on this machine, or its sha256 is not declared.
        ValueError: a file has not the parameters of the network.
    """
    catalogue = catalogue or load_catalogue()
    for declared in (catalogue.weights[entry].files[0] for entry in LABEL_WEIGHTS[name]):
        if declared.sha256 == _UNDECLARED:
            todo = f"put the file from {declared.source} into $FAVAE_WEIGHTS, and its sha256 into {paths.params_file('weights')}"
            raise MissingWeights(f"weights {declared.file} missing: {todo}")
    network = _NETWORKS[name]()
    parts: list[Any] = [network.encoder, network.decoder] if isinstance(network, UperNet101) else [network]
    loaded = [load_weights(entry, catalogue) for entry in LABEL_WEIGHTS[name]]
    for part, (state, declared) in zip(parts, loaded, strict=True):
        _fill(part, state, declared.file)
    network.weights = tuple(declared for _, declared in loaded)
    return network.requires_grad_(False).eval()


def _fill(network: nn.Module, state: Mapping[str, Tensor], file: str) -> None:
    """Load the parameters; old files lack counters of batch norm, and those of synchronised batch norm have more of them."""
    wanted = {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}
    for key, value in wanted.items():
        if key not in state or state[key].shape != value.shape:
            found = f"of shape {tuple(state[key].shape)}" if key in state else "missing"
            raise ValueError(
                f"{file}: {key} is {found}, expected shape {tuple(value.shape)}; another network's weights"
            )
    network.load_state_dict({key: state[key] for key in wanted}, strict=False)
