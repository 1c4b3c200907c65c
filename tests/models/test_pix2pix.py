"""pix2pix: parameter counts of the official networks, initialisation, dropout, and the two test modes."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from favae.losses.gan import build_gan_loss
from favae.models.pix2pix import PairDiscriminator, UnetGenerator, in_test_mode


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def small(**options: object) -> UnetGenerator:
    torch.manual_seed(0)
    return UnetGenerator(**{"image_size": 64, "base_channels": 4, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"image_size": 256}, 54_413_955),
        ({"image_size": 128}, 41_828_995),
        ({"image_size": 256, "norm": "instance"}, 54_409_603),
        ({"image_size": 64, "base_channels": 32}, 7_314_755),
    ],
)
def test_the_generator_has_the_official_number_of_parameters(options: dict[str, object], count: int) -> None:
    with torch.device("meta"):
        generator = UnetGenerator(**options)  # type: ignore[arg-type]
    assert parameters(generator) == count


@pytest.mark.parametrize(("base", "count"), [(64, 2_768_705), (32, 696_225)])
def test_the_discriminator_has_the_official_number_of_parameters(base: int, count: int) -> None:
    with torch.device("meta"):
        assert parameters(PairDiscriminator(base_channels=base)) == count


def test_the_official_networks_keep_256_pixels_and_give_30_by_30_logits() -> None:
    with torch.device("meta"):
        generator, discriminator = UnetGenerator(), PairDiscriminator()
        x = torch.empty(2, 3, 256, 256)
        assert generator(x).shape == x.shape
        assert discriminator(x, x).shape == (2, 1, 30, 30)


def test_a_patch_is_70_pixels_wide() -> None:
    discriminator = PairDiscriminator(base_channels=2).eval()
    x = torch.zeros(1, 3, 256, 256, requires_grad=True)
    (gradient,) = torch.autograd.grad(discriminator(x, x)[0, 0, 15, 15], x)
    touched = gradient.abs().sum((0, 1)).nonzero()
    assert (touched.amax(0) - touched.amin(0) + 1).tolist() == [70, 70]


def test_weights_are_normal_gains_near_one_and_biases_zero() -> None:
    torch.manual_seed(0)
    for network in (UnetGenerator(64, base_channels=32), PairDiscriminator()):
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d):
                centre = 1.0 if isinstance(module, nn.BatchNorm2d) else 0.0
                assert module.weight.mean().item() == pytest.approx(centre, abs=0.01)
                assert module.bias is None or not module.bias.any()
                if module.weight.numel() > 10_000:
                    assert module.weight.std().item() == pytest.approx(0.02, rel=0.02)


def test_the_first_and_the_innermost_convolution_and_the_image_have_no_norm() -> None:
    generator = small()
    normed = [any(isinstance(m, nn.BatchNorm2d) for m in level) for level in (*generator.down, *generator.up)]
    assert normed == [False, True, True, True, True, False] + [True] * 5
    biased = [m for m in generator.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d) and m.bias is not None]
    assert len(biased) == 1 and biased[0] is generator.to_image[1]


@pytest.mark.parametrize(
    ("size", "levels", "outputs"),
    [
        (256, "pytorch", [4, 8, 16]),
        (256, "lua", [2, 4, 8]),
        (128, "pytorch", [4, 8]),
        (64, "pytorch", [4]),
    ],
)
def test_dropout_levels_differ_between_the_two_official_codes(size: int, levels: str, outputs: list[int]) -> None:
    generator = UnetGenerator(size, base_channels=1, dropout_levels=levels)  # type: ignore[arg-type]
    dropped = [2 ** (n + 1) for n, up in enumerate(generator.up) if isinstance(up[-1], nn.Dropout)]
    assert dropped == outputs
    assert all(up[-1].p == 0.5 for up in generator.up if isinstance(up[-1], nn.Dropout))


def test_skips_reach_the_output_at_every_level() -> None:
    """A plain recursive U-Net, written independently, gives the same images."""
    generator = small().eval()
    x = torch.randn(2, 3, 64, 64)

    def block(level: int, h: torch.Tensor) -> torch.Tensor:
        inner = generator.down[level](h)
        if level < len(generator.down) - 1:
            inner = torch.cat([inner, block(level + 1, inner)], 1)
        position = len(generator.down) - 1 - level
        return generator.up[position](inner) if level else generator.to_image(inner)

    torch.testing.assert_close(generator(x), block(0, x))


def test_testing_in_train_mode_has_dropout_and_keeps_running_statistics() -> None:
    generator, x = small(), torch.randn(1, 3, 64, 64)
    before = copy.deepcopy(generator.state_dict())
    with in_test_mode(generator, "train"), torch.no_grad():
        first, second = generator(x), generator(x)
    assert not torch.equal(first, second)
    assert generator.training and all(
        torch.equal(before[name], value) for name, value in generator.state_dict().items()
    )


def test_testing_in_eval_mode_is_deterministic_and_differs_from_train_mode() -> None:
    generator, x = small(), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        with in_test_mode(generator, "eval"):
            first, second = generator(x), generator(x)
        with in_test_mode(generator, "train"):
            third = generator(x)
    assert torch.equal(first, second) and not torch.allclose(first, third, atol=1e-2)


def test_batch_norm_of_one_image_in_train_mode_is_instance_norm() -> None:
    generator, x = small().train(), torch.randn(1, 3, 64, 64)
    features: list[tuple[nn.BatchNorm2d, torch.Tensor, torch.Tensor]] = []
    for module in generator.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda m, a, out: features.append((m, a[0].clone(), out.clone())))
    with torch.no_grad():
        generator(x)
    assert len(features) == 9
    for norm, given, out in features:
        expected = F.instance_norm(given, weight=norm.weight, bias=norm.bias, eps=norm.eps)
        torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)


def test_a_discriminator_of_zeros_loses_ln_2_on_both_sides() -> None:
    discriminator = PairDiscriminator(base_channels=2)
    with torch.no_grad():
        for parameter in discriminator.parameters():
            parameter.zero_()
    x, game = torch.randn(1, 3, 64, 64), build_gan_loss("vanilla", "half")
    logits = discriminator(x, x)
    assert game.discriminator(logits, logits).item() == pytest.approx(math.log(2))
    assert game.generator(logits).item() == pytest.approx(math.log(2))


def test_the_l1_term_has_a_gradient_of_norm_100_over_the_root_of_the_count() -> None:
    fake = torch.randn(1, 3, 8, 8, requires_grad=True)
    (100 * F.l1_loss(fake, torch.randn(1, 3, 8, 8))).backward()
    assert fake.grad is not None
    assert fake.grad.norm().item() == pytest.approx(100 / math.sqrt(3 * 8 * 8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 96}, "image_size 96; expected a power of two"),
        ({"image_size": 16}, "at least 32"),
        ({"base_channels": 0}, "base_channels 0"),
        ({"norm": "layer"}, "norm 'layer'; expected 'batch' or 'instance'"),
        ({"dropout_levels": "all"}, "dropout_levels 'all'; expected 'pytorch' or 'lua'"),
    ],
)
def test_impossible_generators_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**options)


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"U-Net got shape \(1, 3, 64, 80\)"):
        small()(torch.zeros(1, 3, 64, 80))
    with pytest.raises(ValueError, match="test_mode got 'test'"), in_test_mode(small(), "test"):  # type: ignore[arg-type]
        pass
    with pytest.raises(ValueError, match="pair discriminator got out_channels 0"):
        PairDiscriminator(out_channels=0)
