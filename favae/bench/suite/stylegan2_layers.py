"""Layers of StyleGAN2, compared with their straightforward forms and with stylegan2-pytorch."""

import ast
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from favae.bench.compare import Case, Work, comparison, largest_difference
from favae.bench.section import Settings
from favae.models.equalized import ModulatedConv2d, Modulation
from favae.models.fir import Fir, Resampling

PUBLISHED = "stylegan2_pytorch"
_WIDTH_OF_W = 512


def published_convolution() -> Callable[[int, int, int], Any]:
    """`Conv2DMod(inputs, outputs, kernel)` of stylegan2-pytorch: forward(x [B,I,H,W], style - 1 [B,I]) -> [B,O,H,W].

    The class is read from the package's file, because importing the package demands a GPU and a server for tracking runs.

    Raises:
        ModuleNotFoundError: the package is not installed.
    """
    spec = importlib.util.find_spec(PUBLISHED)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"{PUBLISHED} is not installed")
    source = Path(spec.submodule_search_locations[0]) / "stylegan2_pytorch.py"
    nodes = ast.parse(source.read_text(encoding="utf-8")).body
    chosen: list[ast.stmt] = [node for node in nodes if isinstance(node, ast.ClassDef) and node.name == "Conv2DMod"]
    namespace: dict[str, Any] = {"torch": torch, "nn": nn, "F": F}
    exec(compile(ast.Module(chosen, []), source, "exec"), namespace)
    return namespace["Conv2DMod"]


def plain_convolution(layer: ModulatedConv2d, x_BIHW: Tensor, w_BW: Tensor) -> Tensor:
    """A layer that doubles the size, in the order of the equations: each image gets a kernel, zeros are inserted between its pixels,
    and the result is filtered.

    What makes it slow: a convolution for each image, and three of four products of each are with zeros.
    """
    kernels_BOIkk = layer.weight * layer.scale * layer.to_style(w_BW)[:, None, :, None, None]
    kernels_BOIkk = kernels_BOIkk / (kernels_BOIkk.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()
    wide_BIHW = _with_zeros(x_BIHW)[..., :-1, :-1]
    pairs = zip(wide_BIHW, kernels_BOIkk, strict=True)
    y = torch.cat([F.conv2d(image[None], kernel.flip(2, 3), padding=2) for image, kernel in pairs])
    return plain_fir("blur", y, gain=4.0)


def plain_fir(resampling: Resampling, x_BCHW: Tensor, gain: float = 1.0) -> Tensor:
    """Zeros inserted, every position filtered with 4 x 4 taps, values dropped; padding 1 as in `Fir`."""
    if resampling == "up":
        x_BCHW, gain = F.pad(_with_zeros(x_BCHW), (2, 1, 2, 1)), 4.0
    else:
        x_BCHW = F.pad(x_BCHW, (1, 1, 1, 1))
    taps = x_BCHW.new_tensor([1.0, 3.0, 3.0, 1.0])
    kernel = torch.outer(taps, taps) * (gain / 64.0)
    batch, channels, height, width = x_BCHW.shape
    y = F.conv2d(x_BCHW.reshape(batch * channels, 1, height, width), kernel[None, None])
    y = y.view(batch, channels, height - 3, width - 3)
    return y[..., ::2, ::2] if resampling == "down" else y


def _with_zeros(x_BCHW: Tensor) -> Tensor:
    """A zero after each pixel, along both axes: [B, C, H, W] -> [B, C, 2 H, 2 W]."""
    batch, channels, height, width = x_BCHW.shape
    wide = x_BCHW.new_zeros(batch, channels, height, 2, width, 2)
    wide[:, :, :, 0, :, 0] = x_BCHW
    return wide.view(batch, channels, 2 * height, 2 * width)


def _features(settings: Settings, channels: int, side: int) -> Tensor:
    batch, channels, side = (2, 4, 6) if settings.quick else (8, channels, side)
    return torch.randn(batch, channels, side, side, device=settings.device).requires_grad_()


def _modulated(settings: Settings, modulation: Modulation, up: bool) -> tuple[ModulatedConv2d, Tensor, Tensor]:
    """A layer of as many channels in as out, features [B,I,H,W] and w [B,512]."""
    torch.manual_seed(0)
    x = _features(settings, 256, 32)
    w = torch.randn(len(x), _WIDTH_OF_W, device=settings.device).requires_grad_()
    layer = ModulatedConv2d(x.shape[1], x.shape[1], 3, _WIDTH_OF_W, up=up, modulation=modulation)
    return layer.to(settings.device), x, w


def _with_gradients(run: Callable[[], Tensor], of: Sequence[Tensor]) -> Callable[[], list[Tensor]]:
    """Output of `run` and the gradients of the mean of its squares."""

    def both() -> list[Tensor]:
        y = run()
        return [y.detach(), *torch.autograd.grad(y.square().mean(), of)]

    return both


def _work(ours: Callable[[], list[Tensor]], peer: Callable[[], list[Tensor]]) -> Work:
    return Work(ours, peer, lambda: largest_difference(ours(), peer(), 1e-4, "output and gradients"))


def _against_published(modulation: Modulation) -> Callable[[Settings], AbstractContextManager[Work]]:
    @contextmanager
    def build(settings: Settings) -> Iterator[Work]:
        ours, x, w = _modulated(settings, modulation, up=False)
        published = published_convolution()(x.shape[1], x.shape[1], 3).to(settings.device)
        with torch.no_grad():  # demodulation removes the factor, but for an epsilon of 1e-8
            published.weight.copy_(ours.weight * ours.scale)
        peer = _with_gradients(lambda: published(x, ours.to_style(w) - 1.0), [x, w])
        yield _work(_with_gradients(lambda: ours(x, w), [x, w]), peer)

    return build


def _against_plain(modulation: Modulation) -> Callable[[Settings], AbstractContextManager[Work]]:
    @contextmanager
    def build(settings: Settings) -> Iterator[Work]:
        layer, x, w = _modulated(settings, modulation, up=True)
        of = [x, w, layer.weight]
        yield _work(
            _with_gradients(lambda: layer(x, w), of), _with_gradients(lambda: plain_convolution(layer, x, w), of)
        )

    return build


def _resampling(resampling: Resampling, channels: int, side: int) -> Callable[[Settings], AbstractContextManager[Work]]:
    @contextmanager
    def build(settings: Settings) -> Iterator[Work]:
        torch.manual_seed(0)
        x = _features(settings, channels, side)
        fir = Fir(resampling).to(settings.device)
        yield _work(_with_gradients(lambda: fir(x), [x]), _with_gradients(lambda: plain_fir(resampling, x), [x]))

    return build


SECTION = comparison(
    9,
    "Layers of StyleGAN2, forward and backward",
    [
        Case(
            "3x3 convolution, modulation scaled (default), 8x256x32x32", _against_published("scaled"), needs=PUBLISHED
        ),
        Case("the same, modulation fused", _against_published("fused"), needs=PUBLISHED),
        Case("3x3 convolution that doubles the size, modulation scaled, 8x256x32x32", _against_plain("scaled")),
        Case("the same with modulation fused", _against_plain("fused")),
        Case("FIR up, images 8x3x128x128", _resampling("up", 3, 128)),
        Case("FIR down, 8x256x64x64", _resampling("down", 256, 64)),
        Case("FIR blur, 8x256x64x64", _resampling("blur", 256, 64)),
    ],
    "Peers: of the first two rows, the modulated convolution of `stylegan2-pytorch` from PyPI (a kernel per image); of the "
    "others, the straightforward forms in `favae/bench/suite/stylegan2_layers.py`, which insert zeros, compute every value and drop "
    "what is not needed. fp32, w of width 512. `stylegan2-pytorch` demands an old version of a package that the project needs, so "
    "it is not installed with the project; `make bench` fetches it, and its class is read from its file.",
)
