"""Modulated convolution in both forms against one loop over images; equalised learning rate."""

import itertools
import math
from importlib.util import find_spec

import pytest
import torch
import torch.nn.functional as F

from favae.bench.suite.stylegan2_layers import PUBLISHED, published_convolution
from favae.models.equalized import EqualizedConv2d, EqualizedLinear, ModulatedConv2d
from favae.models.fir import Fir


def both(**options: object) -> tuple[ModulatedConv2d, ModulatedConv2d]:
    """The same layer in both forms, in double precision."""
    torch.manual_seed(0)
    scaled, fused = (ModulatedConv2d(5, 4, 3, 6, modulation=m, **options).double() for m in ("scaled", "fused"))  # type: ignore[arg-type]
    fused.load_state_dict(scaled.state_dict())
    return scaled, fused


def by_loop(layer: ModulatedConv2d, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """Equations 1 and 3 of the paper, kernel by kernel, zeros inserted by hand for doubling the size."""
    outputs = []
    for image, latent in zip(x, w, strict=True):
        style = layer.to_style.weight @ latent / math.sqrt(len(latent)) + layer.to_style.bias
        kernel = layer.weight / math.sqrt(layer.weight[0].numel()) * style[None, :, None, None]
        if layer.demodulate:
            kernel = torch.stack([k / (k.square().sum() + 1e-8).sqrt() for k in kernel])
        if layer.up:
            channels, height, width = image.shape
            spread = torch.zeros(channels, 2 * height - 1, 2 * width - 1, dtype=image.dtype)
            spread[:, ::2, ::2] = image
            y = F.conv2d(spread[None], kernel.flip(2, 3), padding=2)
            outputs.append(Fir("blur", gain=4.0).double()(y)[0])
        else:
            outputs.append(F.conv2d(image[None], kernel, padding=layer.weight.shape[-1] // 2)[0])
    return torch.stack(outputs)


@pytest.mark.parametrize(("demodulate", "up"), itertools.product([True, False], [True, False]))
def test_scaled_fused_and_a_loop_over_images_agree(demodulate: bool, up: bool) -> None:
    scaled, fused = both(demodulate=demodulate, up=up)
    x = torch.randn(3, 5, 6, 8, dtype=torch.float64, requires_grad=True)
    w = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    expected = by_loop(scaled, x, w)
    assert expected.shape == ((3, 4, 12, 16) if up else (3, 4, 6, 8))
    gradients = torch.autograd.grad(expected.square().sum(), [x, w, scaled.weight, scaled.to_style.weight])
    for layer in (scaled, fused):
        y = layer(x, w)
        torch.testing.assert_close(y, expected)
        found = torch.autograd.grad(y.square().sum(), [x, w, layer.weight, layer.to_style.weight])
        torch.testing.assert_close(found, gradients)


@pytest.mark.skipif(find_spec(PUBLISHED) is None, reason=f"{PUBLISHED} is not installed (make peers)")
@pytest.mark.parametrize("modulation", ["scaled", "fused"])
def test_the_convolution_is_that_of_stylegan2_pytorch(modulation: str) -> None:
    torch.manual_seed(0)
    layer = ModulatedConv2d(5, 4, 3, 6, modulation=modulation).double()  # type: ignore[arg-type]
    published = published_convolution()(5, 4, 3).double()
    with torch.no_grad():
        published.weight.copy_(layer.weight * layer.scale)
    x, w = torch.randn(3, 5, 6, 8, dtype=torch.float64), torch.randn(3, 6, dtype=torch.float64)
    torch.testing.assert_close(layer(x, w), published(x, layer.to_style(w) - 1.0))


@pytest.mark.parametrize("modulation", ["scaled", "fused"])
def test_both_forms_can_be_differentiated_twice(modulation: str) -> None:
    layer = ModulatedConv2d(2, 2, 3, 2, up=True, modulation=modulation).double()  # type: ignore[arg-type]
    x = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    w = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(layer, (x, w))


def test_demodulation_keeps_unit_variance() -> None:
    torch.manual_seed(0)
    layer = ModulatedConv2d(64, 64, 3, 16)
    y = layer(torch.randn(8, 64, 16, 16), torch.randn(8, 16))
    assert y.std().item() == pytest.approx(0.98, abs=0.03)  # below 1: zeros beyond the border


def test_a_doubled_style_doubles_the_output_only_without_demodulation() -> None:
    torch.manual_seed(0)
    x, w = torch.randn(2, 8, 6, 6), torch.randn(2, 4)
    for demodulate, factor in ((True, 1.0), (False, 2.0)):
        layer = ModulatedConv2d(8, 4, 3, 4, demodulate=demodulate)
        before = layer(x, w)
        with torch.no_grad():
            layer.to_style.weight.mul_(2.0)
            layer.to_style.bias.mul_(2.0)
        torch.testing.assert_close(layer(x, w), factor * before, atol=1e-5, rtol=1e-5)


def test_a_new_layer_s_styles_are_around_one() -> None:
    assert torch.equal(ModulatedConv2d(4, 4, 1, 8).to_style(torch.zeros(1, 8)), torch.ones(1, 4))


def test_equalised_layers_have_unit_weights_and_outputs_of_unit_variance() -> None:
    torch.manual_seed(0)
    for layer, x in (
        (EqualizedLinear(256, 512), torch.randn(64, 256)),
        (EqualizedLinear(256, 512, lr_multiplier=0.01), torch.randn(64, 256)),
        (EqualizedConv2d(64, 128, 1), torch.randn(4, 64, 8, 8)),
    ):
        multiplier = getattr(layer, "lr_multiplier", 1.0)
        assert layer.weight.std().item() * multiplier == pytest.approx(1.0, rel=0.02)
        assert layer(x).std().item() == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize("inputs", [4, 400])
def test_a_step_of_adam_changes_an_equalised_layer_by_its_learning_rate_for_any_width(inputs: int) -> None:
    """Weights move by lr each, effective weights by lr * multiplier / sqrt(inputs)."""
    for multiplier in (1.0, 0.01):
        layer = EqualizedLinear(inputs, 3, lr_multiplier=multiplier)
        x = torch.ones(1, inputs)
        before = layer(x).detach()
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.002, betas=(0.0, 0.99))
        layer(x).sum().backward()
        optimizer.step()
        moved = (before - layer(x)).detach()
        expected = 0.002 * multiplier * (inputs / math.sqrt(inputs) + 1.0)  # and the bias
        torch.testing.assert_close(moved, torch.full_like(moved, expected), rtol=1e-2, atol=1e-6)


def test_halving_convolutions_blur_first() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 8, 8)
    wide = EqualizedConv2d(3, 4, 3, down=True)
    expected = F.conv2d(Fir("blur", padding=2)(x), wide.weight / math.sqrt(27), stride=2)
    torch.testing.assert_close(wide(x), expected)
    skip = EqualizedConv2d(3, 4, 1, down=True, bias=False)
    expected = F.conv2d(Fir("blur", padding=1)(x), skip.weight / math.sqrt(3), stride=2)
    torch.testing.assert_close(skip(x), expected)
    assert wide(x).shape == skip(x).shape == (2, 4, 4, 4)


def test_impossible_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="lr_multiplier 0"):
        EqualizedLinear(2, 2, lr_multiplier=0)
    with pytest.raises(ValueError, match="kernel 2; expected"):
        EqualizedConv2d(2, 2, 2)
    with pytest.raises(ValueError, match="kernel 1 with up; expected 3"):
        ModulatedConv2d(2, 2, 1, 2, up=True)
    with pytest.raises(ValueError, match="modulation 'grouped'; expected 'scaled' or 'fused'"):
        ModulatedConv2d(2, 2, 3, 2, modulation="grouped")  # type: ignore[arg-type]
