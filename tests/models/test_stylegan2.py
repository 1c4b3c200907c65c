"""StyleGAN2: parameter counts of the official networks, styles, noise, truncation, groups of the minibatch deviation."""

import math

import pytest
import torch
from torch import nn

from favae.models.style_discriminator import StyleDiscriminator, minibatch_deviation
from favae.models.stylegan2 import StyledConv, StyleGenerator, average_decay


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def small(**options: object) -> StyleGenerator:
    torch.manual_seed(0)
    defaults = {"image_size": 16, "z": 6, "w": 5, "mapping_layers": 2, "base_channels": 64, "max_channels": 8}
    return StyleGenerator(**{**defaults, **options})  # type: ignore[arg-type]


def small_discriminator(**options: object) -> StyleDiscriminator:
    torch.manual_seed(0)
    return StyleDiscriminator(**{"image_size": 16, "base_channels": 64, "max_channels": 8, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("base", "size", "generator", "discriminator", "layers"),
    [
        (32768, 256, 30_034_338, 28_864_129, 14),
        (32768, 1024, 30_370_060, 29_012_513, 18),
        (16384, 256, 24_767_458, 24_001_089, 14),
        (16384, 1024, 24_900_764, 24_038_161, 18),
    ],
)
def test_official_configurations_have_the_official_counts(
    base: int, size: int, generator: int, discriminator: int, layers: int
) -> None:
    with torch.device("meta"):
        network = StyleGenerator(size, base_channels=base)
        assert parameters(network) == generator and parameters(network.mapping) == 2_101_248
        assert network.layers == layers
        assert parameters(StyleDiscriminator(size, base_channels=base)) == discriminator


@pytest.mark.parametrize(
    ("base", "width", "generator", "discriminator"), [(1024, 64, 283_464, 296_401), (2048, 128, 1_127_544, 1_183_137)]
)
def test_small_configurations_have_the_counts_that_were_timed(
    base: int, width: int, generator: int, discriminator: int
) -> None:
    with torch.device("meta"):
        network = StyleGenerator(64, z=width, w=width, mapping_layers=4, base_channels=base, max_channels=width)
        assert parameters(network) == generator
        assert parameters(StyleDiscriminator(64, base_channels=base, max_channels=width)) == discriminator


def test_images_and_logits_have_the_official_sizes() -> None:
    with torch.device("meta"):
        image = StyleGenerator(1024, base_channels=1024)(torch.empty(4, 512))
        assert image.shape == (4, 3, 1024, 1024)
        assert StyleDiscriminator(1024, base_channels=1024)(image).shape == (4, 1)


def test_both_modulations_give_the_same_images_and_gradients() -> None:
    scaled, fused = small(modulation="scaled").double(), small(modulation="fused").double()
    fused.load_state_dict(scaled.state_dict())
    z = torch.randn(3, 6, dtype=torch.float64)
    images = [g(z, noise="fixed") for g in (scaled, fused)]
    torch.testing.assert_close(*images)
    gradients = [torch.autograd.grad(x.square().sum(), g.synthesis.constant) for x, g in zip(images, (scaled, fused))]
    torch.testing.assert_close(*gradients)


def test_the_mapping_ignores_the_scale_of_z() -> None:
    mapping, z = small().mapping, torch.randn(4, 6)
    torch.testing.assert_close(mapping(z), mapping(3.0 * z), atol=1e-6, rtol=1e-5)
    assert not torch.allclose(mapping(z), mapping(-z))


def test_the_last_w_reaches_rgb_of_the_largest_resolution_only() -> None:
    generator = small()
    w = torch.randn(1, generator.layers, 5, requires_grad=True)
    seen: dict[str, torch.Tensor] = {}
    generator.synthesis.convolutions[-1].register_forward_hook(lambda _m, _a, out: seen.update(features=out))
    image = generator.synthesis(w, "none")
    assert generator.layers == 6 and image.shape == (1, 3, 16, 16)
    (of_image,) = torch.autograd.grad(image.sum(), w, retain_graph=True)
    (of_features,) = torch.autograd.grad(seen["features"].sum(), w)
    assert of_image.abs().sum(2).gt(0).all()
    assert of_features.abs().sum(2).gt(0).tolist() == [[True, True, True, True, True, False]]


def test_mixing_takes_the_second_latents_from_the_cut_on() -> None:
    generator = small()
    first, second = torch.randn(2, 6), torch.randn(2, 6)
    mixed = generator.styles(first, second, cut=2)
    assert torch.equal(mixed[:, :2], generator.styles(first)[:, :2])
    assert torch.equal(mixed[:, 2:], generator.styles(second)[:, 2:])


@pytest.mark.parametrize("cut", [0, 6])
def test_a_cut_outside_the_layers_is_refused(cut: int) -> None:
    with pytest.raises(ValueError, match=f"cut {cut} with second latents; expected both, the cut from 1 to 5"):
        small().styles(torch.zeros(1, 6), torch.zeros(1, 6), cut=cut)
    with pytest.raises(ValueError, match="cut 2 without second latents"):
        small().styles(torch.zeros(1, 6), cut=2)


def test_truncation_moves_w_towards_the_average_which_is_saved() -> None:
    generator = small()
    generator.mapping.average.copy_(torch.arange(5.0))
    z = torch.randn(3, 6)
    full, half, none = (generator.styles(z, psi=psi) for psi in (1.0, 0.5, 0.0))
    torch.testing.assert_close(half, 0.5 * full + 0.5 * torch.arange(5.0))
    torch.testing.assert_close(none, torch.arange(5.0).expand_as(none))
    assert "mapping.average" in generator.state_dict()


def test_the_average_of_w_after_k_steps_in_closed_form() -> None:
    mapping, w = small().mapping, torch.ones(4, 5)
    for _ in range(10):
        mapping.follow(w)
    torch.testing.assert_close(mapping.average, torch.full((5,), 1 - 0.995**10))


def test_noise_has_strength_zero_at_first_and_one_value_per_pixel() -> None:
    generator, z = small(), torch.randn(2, 6)
    torch.testing.assert_close(generator(z, noise="random"), generator(z, noise="none"))
    layer = StyledConv(3, 3, 4, 5, up=False, modulation="scaled")
    nn.init.ones_(layer.noise_strength)
    x, w = torch.zeros(2, 3, 4, 4), torch.zeros(2, 5)
    drawn = layer(x, w, "random")
    assert torch.equal(drawn[:, 0], drawn[:, 1]) and not torch.equal(drawn[0], drawn[1])
    fixed = layer(x, w, "fixed")
    assert torch.equal(fixed[0], fixed[1]) and torch.equal(fixed, layer(x, w, "fixed"))
    assert not layer(x, w, "none").any()


def test_images_are_sums_over_resolutions_without_tanh() -> None:
    generator, z = small(), torch.randn(2, 6)
    with torch.no_grad():
        for level in generator.synthesis.to_image:
            level.convolution.weight.zero_()
            level.bias.fill_(2.0)
        image = generator(z)
    # Three resolutions, away from the border.
    torch.testing.assert_close(image[..., 6:10, 6:10], torch.full((2, 3, 4, 4), 6.0))


def test_the_deviation_of_identical_images_is_that_of_its_epsilon() -> None:
    x = torch.randn(1, 3, 4, 4).expand(4, 3, 4, 4)
    torch.testing.assert_close(minibatch_deviation(x, 4)[:, 3], torch.full((4, 4, 4), 1e-4))


def test_groups_are_interleaved_and_their_order_does_not_matter() -> None:
    x = torch.randn(8, 3, 4, 4)
    deviation = minibatch_deviation(x, 4)[:, 3, 0, 0]
    assert torch.equal(deviation[::2], deviation[:1].expand(4)) and deviation[0] != deviation[1]
    order = torch.tensor([6, 1, 0, 3, 2, 5, 4, 7])  # within images of even number
    torch.testing.assert_close(minibatch_deviation(x[order], 4)[:, 3, 0, 0], deviation)
    expected = torch.stack([x[0], x[2], x[4], x[6]]).var(0, correction=0).add(1e-8).sqrt().mean()
    torch.testing.assert_close(deviation[0], expected)


def test_a_group_that_is_split_over_ranks_has_another_deviation() -> None:
    x = torch.randn(8, 3, 4, 4)
    whole = minibatch_deviation(x, 4)[:, 3]
    assert not torch.allclose(torch.cat([minibatch_deviation(part, 4)[:, 3] for part in x.chunk(2)]), whole)


def test_a_batch_that_the_group_does_not_divide_is_refused_and_a_smaller_one_is_one_group() -> None:
    discriminator = small_discriminator()
    with pytest.raises(ValueError, match="6 images per rank in groups of 4; expected a multiple"):
        discriminator(torch.zeros(6, 3, 16, 16))
    assert discriminator(torch.randn(3, 3, 16, 16)).shape == (3, 1)


def test_the_half_life_of_the_moving_average() -> None:
    assert average_decay(64, 20.0) == pytest.approx(0.5 ** (64 / 20_000))
    assert average_decay(100, 0.1) == pytest.approx(0.5)
    decay, average = average_decay(32, 10.0), torch.optim.swa_utils
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    ema = average.AveragedModel(model, multi_avg_fn=average.get_ema_multi_avg_fn(decay))
    ema.update_parameters(model)  # the first is a copy
    nn.init.ones_(model.weight)
    for _ in range(7):
        ema.update_parameters(model)
    assert ema.module.weight.item() == pytest.approx(1 - decay**7, rel=1e-4)


def test_a_new_generator_s_images_and_logits_have_a_moderate_scale() -> None:
    generator, discriminator = small(image_size=32), small_discriminator(image_size=32)
    images = generator(torch.randn(16, 6))
    assert 0.1 < images.std().item() < 10 and math.isfinite(discriminator(images).sum().item())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 48}, "image_size 48; expected a power of two, at least 8"),
        ({"image_size": 4}, "at least 8"),
        ({"base_channels": 8}, "base_channels 8, max_channels 8 at 16 pixels; expected base_channels at least 16"),
        ({"z": 0}, "mapping got z 0"),
        ({"image_channels": 0}, "image_channels 0"),
        ({"modulation": "grouped"}, "modulation 'grouped'"),
    ],
)
def test_impossible_generators_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**options)


def test_wrong_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"latents of shape \(2, 5\); expected \[B, 6\]"):
        small()(torch.zeros(2, 5))
    with pytest.raises(ValueError, match="noise 'const'; expected one of random, fixed, none"):
        small()(torch.zeros(2, 6), noise="const")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"expected \[B, 3, 16, 16\]"):
        small_discriminator()(torch.zeros(4, 3, 32, 32))
    with pytest.raises(ValueError, match="group 0"):
        small_discriminator(group=0)
    with pytest.raises(ValueError, match="half-life 0"):
        average_decay(64, 0)
