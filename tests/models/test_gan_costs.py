"""Multiply-accumulates per image, counted by torch on the meta device, equal those of the official networks."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from favae.models.pix2pix import PairDiscriminator, UnetGenerator
from favae.models.spade import MultiscaleDiscriminator, SpadeGenerator
from favae.models.style_discriminator import StyleDiscriminator
from favae.models.stylegan2 import StyleGenerator


def giga_macs(run: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run()
    return counter.get_total_flops() / 2e9


def image(height: int = 256, width: int = 256, channels: int = 3) -> Tensor:
    return torch.empty(1, channels, height, width)


def test_pix2pix_at_256_pixels_has_the_published_operations() -> None:
    with torch.device("meta"):
        generator, discriminator = UnetGenerator().eval(), PairDiscriminator().eval()
        assert giga_macs(lambda: generator(image())) == pytest.approx(6.05, abs=0.01)
        assert giga_macs(lambda: discriminator(image(), image())) == pytest.approx(3.20, abs=0.01)


@pytest.mark.parametrize(
    ("channels", "upsamplings", "size", "generator", "discriminator"),
    [(36, "more", (256, 512), 281.3, 10.5), (151, "normal", (256, 256), 181.2, 7.8)],
    ids=["cityscapes", "ade20k"],
)
def test_spade_has_the_published_operations(
    channels: int, upsamplings: str, size: tuple[int, int], generator: float, discriminator: float
) -> None:
    with torch.device("meta"):
        network = SpadeGenerator(channels, upsamplings=upsamplings).eval()  # type: ignore[arg-type]
        judge = MultiscaleDiscriminator(channels).eval()
        maps = image(*size, channels)
        assert giga_macs(lambda: network(maps)) == pytest.approx(generator, abs=0.06)
        assert giga_macs(lambda: judge(maps, image(*size))) == pytest.approx(discriminator, abs=0.06)


@pytest.mark.parametrize("modulation", ["scaled", "fused"])
def test_stylegan2_f_at_256_pixels_has_the_published_operations(modulation: str) -> None:
    """The official discriminator takes 47.0: it filters its skips at full size, ours only at the stride, with the same
    values."""
    with torch.device("meta"):
        generator = StyleGenerator(modulation=modulation).requires_grad_(False)  # type: ignore[arg-type]
        discriminator = StyleDiscriminator().requires_grad_(False)
        assert giga_macs(lambda: generator(torch.empty(1, 512))) == pytest.approx(45.4, abs=0.06)
        sizes = [(128, 256), (256, 128), *((512, size) for size in (64, 32, 16, 8))]
        spared = sum(channels * ((size - 1) ** 2 - (size // 2) ** 2) * 16 for channels, size in sizes) / 1e9
        assert giga_macs(lambda: discriminator(image())) + spared == pytest.approx(47.0, abs=0.06)
