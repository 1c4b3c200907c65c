"""Focal frequency loss, compared with its authors' package."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn

from favae.bench.compare import Case, Work, comparison, largest_difference
from favae.bench.section import Settings
from favae.losses import FocalFrequencyLoss


def _case(*shape: int) -> Callable[[Settings], AbstractContextManager[Work]]:
    @contextmanager
    def build(settings: Settings) -> Iterator[Work]:
        from focal_frequency_loss import FocalFrequencyLoss as Published

        size = (1, 2, 8, 9) if settings.quick else shape
        generator = torch.Generator().manual_seed(0)
        pred, target = (torch.randn(size, generator=generator).to(settings.device) for _ in range(2))
        pred.requires_grad_()

        def run(loss: nn.Module) -> tuple[Tensor, Tensor]:
            value = loss(pred, target)
            return value.detach(), torch.autograd.grad(value, pred)[0]

        ours, published = FocalFrequencyLoss(), Published()
        yield Work(
            lambda: run(ours),
            lambda: run(published),
            lambda: largest_difference(run(ours), run(published), 1e-4, "value and gradient"),
        )

    return build


SECTION = comparison(
    1,
    "Focal frequency loss, forward and backward",
    [
        Case("8x3x256x256", _case(8, 3, 256, 256), faster=6, faster_on_gpu=3, memory=0.4),
        Case("1x128x256x256", _case(1, 128, 256, 256), faster=4, faster_on_gpu=3, memory=0.4),
        Case("2x512x16x16", _case(2, 512, 16, 16), faster=2, faster_on_gpu=3, memory=0.4),
    ],
    "Peer: `focal-frequency-loss` from PyPI. fp32, gradient with respect to the reconstruction.",
)
