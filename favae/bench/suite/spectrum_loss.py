"""The dynamic spectrum loss on all four pairs of features of an f = 16 model at 256 pixels."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from favae.bench.compare import Case, Work, comparison, largest_difference
from favae.bench.official import OfficialSpectrumLoss, gradients
from favae.bench.section import Settings
from favae.losses import DynamicSpectrumLoss

_SHAPES = ((128, 256), (512, 16), (512, 16), (256, 16))  # channels, side of A_0..A_3
_KERNEL = 9


@contextmanager
def _build(settings: Settings, batch: int = 1) -> Iterator[Work]:
    shapes = [(4, 32), (4, 16), (4, 16), (4, 16)] if settings.quick else _SHAPES
    generator = torch.Generator().manual_seed(0)
    features = [
        torch.randn(batch, channels, side, side, generator=generator).to(settings.device).requires_grad_()
        for channels, side in shapes
        for _ in range(2)
    ]
    pairs = list(zip(features[::2], features[1::2], strict=True))
    ours = DynamicSpectrumLoss(kernel_size=_KERNEL).to(settings.device)
    peer = OfficialSpectrumLoss(kernel_size=_KERNEL).to(settings.device)

    def run_ours() -> list[Tensor]:
        return gradients(ours(pairs), [*features, ours.sigma_taps])

    def run_peer() -> list[Tensor]:
        return gradients(peer(pairs), [*features, peer.sigmas])

    yield Work(run_ours, run_peer, lambda: largest_difference(run_ours(), run_peer(), 1e-3, "value and gradients"))


SECTION = comparison(
    2,
    "Dynamic spectrum loss, forward and backward",
    [
        Case("four pairs of f = 16 at 256 pixels, k = 9, batch 1", _build, faster=5, faster_on_gpu=5),
        Case("the same, batch 8", partial(_build, batch=8), faster_on_gpu=5, devices=("cuda",)),
    ],
    "Peer: `favae.bench.official.OfficialSpectrumLoss`: one 2-D depth-wise convolution per feature, the FFL package "
    "twice per pair. Gradients with respect to all eight features and the four sigmas.",
)
