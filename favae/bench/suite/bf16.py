"""Convolutions of bf16 tensors on a processor without bf16: in fp32, compared with torch's own."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import nn

from favae.bench.compare import Case, Work, comparison, largest_difference
from favae.bench.section import Settings
from favae.runtime.bf16 import ProductsInFp32


@contextmanager
def _build(settings: Settings) -> Iterator[Work]:
    channels, side, batch = (8, 8, 1) if settings.quick else (32, 64, 8)
    torch.manual_seed(0)
    network = nn.Sequential(*(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(4)))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x_BCHW = torch.randn(batch, channels, side, side).contiguous(memory_format=torch.channels_last)

    def step(in_fp32: bool) -> list[torch.Tensor]:
        network.zero_grad()
        with ProductsInFp32() if in_fp32 else nullcontext():
            with torch.autocast("cpu", torch.bfloat16):
                y_BCHW = network(x_BCHW)
            y_BCHW.float().square().mean().backward()
        return [
            y_BCHW.detach().float(),
            *(weight.grad.clone() for weight in network.parameters() if weight.grad is not None),
        ]

    def agree() -> str:
        return largest_difference(step(True), step(False), 2e-2, "values and gradients, bf16 has 8 bits")

    yield Work(lambda: step(True), lambda: step(False), agree)


SECTION = comparison(
    12,
    "Convolutions in bf16 on a processor without bf16",
    [Case("four of 32 channels, 8 x 64 x 64, forward and backward", _build, devices=("cpu",))],
    "Peer: the same network with torch's own bf16, which oneDNN computes in software on a processor without AVX-512. A "
    "training in bf16 takes ours there only; a processor that has bf16 is faster with its own.",
)
