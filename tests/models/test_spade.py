"""SPADE: parameter counts of the official networks, the norm, spectral norm against torch's and an SVD, sizes."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from favae.models.spade import MultiscaleDiscriminator, Spade, SpadeBlock, SpadeGenerator


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def small(**options: object) -> SpadeGenerator:
    torch.manual_seed(0)
    return SpadeGenerator(**{"map_channels": 5, "base_channels": 2, "hidden": 4, **options})  # type: ignore[arg-type]


def small_discriminator(**options: object) -> MultiscaleDiscriminator:
    torch.manual_seed(0)
    return MultiscaleDiscriminator(**{"map_channels": 5, "base_channels": 4, **options})  # type: ignore[arg-type]


def convolutions(*modules: nn.Module) -> list[nn.Conv2d]:
    return [m for module in modules for m in module.modules() if isinstance(m, nn.Conv2d)]


def label_map(batch: int = 2, channels: int = 5, height: int = 64, width: int = 64) -> torch.Tensor:
    return F.one_hot(torch.randint(channels, (batch, height, width)), channels).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize(
    ("channels", "upsamplings", "parts", "total"),
    [
        (
            36,
            "more",
            [332_800, 23_682_304, 23_682_304, 23_682_304, 13_631_360, 4_977_536, 2_076_032, 981_632, 1_731],
            93_048_003,
        ),
        (
            151,
            "normal",
            [1_392_640, 23_947_264, 23_947_264, 23_947_264, 14_028_800, 5_374_976, 2_473_472, 1_379_072, 1_731],
            96_492_483,
        ),
    ],
    ids=["cityscapes", "ade20k"],
)
def test_every_module_of_the_generator_has_the_official_count(
    channels: int, upsamplings: str, parts: list[int], total: int
) -> None:
    with torch.device("meta"):
        generator = SpadeGenerator(channels, upsamplings=upsamplings)  # type: ignore[arg-type]
    assert [parameters(m) for m in (generator.start, *generator.blocks, generator.to_image)] == parts
    assert parameters(generator) == total


@pytest.mark.parametrize(("channels", "each"), [(36, 2_800_705), (151, 2_918_465)], ids=["cityscapes", "ade20k"])
def test_both_scales_of_the_discriminator_have_the_official_count(channels: int, each: int) -> None:
    with torch.device("meta"):
        discriminator = MultiscaleDiscriminator(channels)
    assert [parameters(scale) for scale in discriminator.scales] == [each, each]


@pytest.mark.parametrize(
    ("hidden", "base", "generator", "discriminator"),
    [(64, 32, 7_483_251, 1_399_874), (32, 16, 5_844_531, 355_874)],
)
def test_small_networks_have_the_counts_that_were_timed(
    hidden: int, base: int, generator: int, discriminator: int
) -> None:
    with torch.device("meta"):
        assert parameters(SpadeGenerator(12, base_channels=16, hidden=hidden)) == generator
        assert parameters(MultiscaleDiscriminator(12, base_channels=base)) == discriminator


@pytest.mark.parametrize(
    ("channels", "upsamplings", "size", "logits"),
    [(36, "more", (256, 512), [(35, 67), (19, 35)]), (151, "normal", (256, 256), [(35, 35), (19, 19)])],
    ids=["cityscapes", "ade20k"],
)
def test_maps_and_logits_have_the_official_sizes(
    channels: int, upsamplings: str, size: tuple[int, int], logits: list[tuple[int, int]]
) -> None:
    with torch.device("meta"):
        generator = SpadeGenerator(channels, base_channels=1, hidden=1, upsamplings=upsamplings)  # type: ignore[arg-type]
        discriminator = MultiscaleDiscriminator(channels, base_channels=1)
        seen: list[tuple[int, ...]] = []
        for block in generator.blocks:
            block.register_forward_hook(lambda _m, _a, out: seen.append(tuple(out.shape[2:])))
        maps = torch.empty(1, channels, *size)
        image = generator(maps)
        assert image.shape == (1, 3, *size)
        assert [tuple(scale[-1].shape[2:]) for scale in discriminator(maps, image)] == logits
    first = [(4, 8), (8, 16), (16, 32), (32, 64)] if upsamplings == "more" else [(8, 8), (16, 16), (16, 16), (32, 32)]
    assert seen[:4] == first


def test_the_norm_with_zero_gamma_and_beta_is_batch_norm() -> None:
    spade = Spade(6, 5, 4, "batch")
    for convolution in (spade.gamma, spade.beta):
        nn.init.zeros_(convolution.weight)
        nn.init.zeros_(convolution.bias)
    x = torch.randn(3, 6, 8, 8)
    torch.testing.assert_close(spade(x, label_map(3, 5, 8, 8)), F.batch_norm(x, None, None, training=True))


def test_a_constant_map_gives_one_affine_map_per_channel_inside_the_border() -> None:
    torch.manual_seed(0)
    spade, x = Spade(6, 5, 4, "batch"), torch.randn(3, 6, 12, 12)
    maps = torch.zeros(3, 5, 12, 12)
    maps[:, 2] = 1.0
    y, normed = spade(x, maps)[..., 2:-2, 2:-2], F.batch_norm(x, None, None, training=True)[..., 2:-2, 2:-2]
    for channel in range(6):
        columns = torch.stack([normed[:, channel].flatten(), torch.ones(3 * 64)], 1)
        fit = torch.linalg.lstsq(columns, y[:, channel].reshape(-1, 1))
        torch.testing.assert_close(columns @ fit.solution, y[:, channel].reshape(-1, 1), atol=1e-5, rtol=1e-5)


def test_nearest_resizing_keeps_a_one_hot_map_one_hot() -> None:
    small_map = F.interpolate(label_map(), size=(2, 2), mode="nearest")
    assert torch.equal(small_map.sum(1), torch.ones(2, 2, 2)) and set(small_map.unique().tolist()) == {0.0, 1.0}


def test_the_skip_of_a_block_is_learned_only_if_channels_change() -> None:
    assert len(SpadeBlock(4, 4, 5, 2, "batch").convolutions()) == 2
    block = SpadeBlock(4, 2, 5, 2, "batch")
    assert len(block.convolutions()) == 3 and block.conv_s.bias is None
    x, maps = torch.randn(2, 4, 8, 8), label_map()
    for convolution in (block.conv_0, block.conv_1):
        nn.init.zeros_(convolution.weight)
        nn.init.zeros_(convolution.bias)
    seen = F.interpolate(maps, size=(8, 8), mode="nearest")
    torch.testing.assert_close(block(x, maps), F.conv2d(block.norm_s(x, seen), block.conv_s.weight))  # no activation


def test_released_spectral_norm_is_on_24_convolutions_and_all_means_all() -> None:
    for choice in ("released", "all", "none"):
        every = convolutions(small(spectral_norm=choice), small_discriminator(spectral_norm=choice))
        normed = [c for c in every if is_parametrized(c, "weight")]
        assert len(normed) == {"released": 24, "all": len(every), "none": 0}[choice]
    generator = small()
    assert not any(is_parametrized(c) for c in (generator.start, generator.to_image, generator.blocks[0].norm_0.gamma))


def test_the_largest_singular_value_approaches_one() -> None:
    generator = small(base_channels=4)
    convolution = generator.blocks[0].conv_0
    maps = label_map()
    with torch.no_grad():
        for _ in range(50):
            generator(maps)
    convolution.eval()
    largest = torch.linalg.matrix_norm(convolution.weight.detach().flatten(1), 2).item()
    assert 0.99 <= largest <= 1.01


def test_spectral_norm_divides_by_the_largest_singular_value() -> None:
    """An SVD is the reference; weights were scaled by 100 to show that the scale has no effect."""
    torch.manual_seed(0)
    discriminator = small_discriminator()
    convolution = discriminator.scales[0].layers[1][0]
    with torch.no_grad():
        convolution.parametrizations.weight.original.mul_(100.0)
    x, maps = torch.randn(2, 3, 64, 64), label_map()
    for _ in range(100):
        discriminator(maps, x)
    original = convolution.parametrizations.weight.original.detach()
    discriminator.eval()
    expected = original / torch.linalg.matrix_norm(original.flatten(1), 2)
    torch.testing.assert_close(convolution.weight.detach(), expected, rtol=5e-3, atol=1e-5)


def test_each_forward_pass_in_training_is_one_power_iteration_and_none_in_eval() -> None:
    discriminator, x, maps = small_discriminator(), torch.randn(2, 3, 64, 64), label_map()
    parametrization = discriminator.scales[0].layers[1][0].parametrizations.weight
    with torch.no_grad():
        parametrization.original.normal_()  # no longer the weights for which the vectors were iterated
    matrix, (state,) = parametrization.original.detach().flatten(1), parametrization
    u, v = state._u.clone(), state._v.clone()
    discriminator.eval()(maps, x)
    assert torch.equal(state._u, u) and torch.equal(state._v, v)
    discriminator.train().both(maps, x, x)
    u = F.normalize(matrix @ v, dim=0)
    torch.testing.assert_close(state._u, u)
    torch.testing.assert_close(state._v, F.normalize(matrix.T @ u, dim=0))


def test_weights_under_spectral_norm_keep_torch_s_initialisation_unless_xavier_is_asked_for() -> None:
    """1024 -> 1024 channels, 3x3: deviations .0060 and .00021, as measured on the released code."""
    deviations = {}
    for init in ("default", "xavier"):
        generator = small(base_channels=16, spectral_init=init)
        weight = generator.blocks[0].conv_0.parametrizations.weight.original
        deviations[init] = weight.std().item()
        start = generator.start.weight
        assert start.std().item() == pytest.approx(0.02 * math.sqrt(2 / (9 * 5 + 9 * 256)), rel=0.05)
        assert all(c.bias is None or not c.bias.any() for c in convolutions(generator))
    assert deviations["default"] == pytest.approx(1 / math.sqrt(3 * 9 * 256), rel=0.02)
    assert deviations["xavier"] == pytest.approx(0.02 * math.sqrt(2 / (2 * 9 * 256)), rel=0.02)


def test_one_discriminator_pass_over_generated_and_real_images_does_not_mix_them() -> None:
    discriminator = small_discriminator().eval()
    maps, fake, real = label_map(), torch.randn(2, 3, 64, 64), torch.randn(2, 3, 64, 64)
    for together, alone in zip(discriminator.both(maps, fake, real), (fake, real), strict=True):
        for scale, expected in zip(together, discriminator(maps, alone), strict=True):
            for output, reference in zip(scale, expected, strict=True):
                torch.testing.assert_close(output, reference, atol=1e-5, rtol=1e-4)


def test_the_second_scale_is_an_average_without_the_padding() -> None:
    discriminator, ones = small_discriminator(), torch.ones(1, 3, 64, 64)
    seen: list[torch.Tensor] = []
    discriminator.scales[1].register_forward_hook(lambda _m, a, _o: seen.append(a[0]))
    discriminator(torch.ones(1, 5, 64, 64), ones)
    assert seen[0].shape == (1, 8, 32, 32)
    torch.testing.assert_close(seen[0], torch.ones_like(seen[0]))


def test_running_statistics_move_at_each_pass_even_without_gradient() -> None:
    """Two passes per training step (for G, then for D's fakes) update them twice, as released."""
    once, twice = small(), small()
    twice.load_state_dict(once.state_dict())
    maps = label_map()
    once(maps)
    twice(maps)
    with torch.no_grad():
        twice(maps)
    norms = [next(m for m in g.modules() if isinstance(m, nn.BatchNorm2d)) for g in (once, twice)]
    assert [int(n.num_batches_tracked) for n in norms] == [1, 2]  # type: ignore[arg-type]


@pytest.mark.parametrize("norm", ["batch", "sync_batch", "instance"])
def test_all_norms_train_also_with_a_batch_of_one_class(norm: str) -> None:
    generator, discriminator = small(norm=norm), small_discriminator()
    maps = torch.zeros(2, 5, 64, 64)
    maps[:, 1] = 1.0
    image = generator(maps)
    sum(scale[-1].mean() for scale in discriminator(maps, image)).backward()  # type: ignore[union-attr]
    assert image.isfinite().all() and all(
        p.grad is not None and p.grad.isfinite().all() for p in generator.parameters()
    )


def test_sync_batch_norm_in_one_process_is_batch_norm() -> None:
    plain, synced = small(norm="batch"), small(norm="sync_batch")
    synced.load_state_dict(copy.deepcopy(plain.state_dict()))
    maps = label_map()
    torch.testing.assert_close(plain(maps), synced(maps))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"map_channels": 0}, "map_channels 0; expected at least 1"),
        ({"hidden": 0}, "hidden 0"),
        ({"upsamplings": "most"}, "upsamplings 'most'; expected one of normal, more"),
        ({"norm": "group"}, "norm 'group'"),
        ({"spectral_norm": "yes"}, "spectral_norm 'yes'; expected one of released, all, none"),
        ({"spectral_init": "normal"}, "spectral_init 'normal'"),
    ],
)
def test_impossible_generators_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**options)


@pytest.mark.parametrize(
    ("options", "message"), [({"layers": 1}, "layers 1; expected at least 2"), ({"scales": 0}, "scales 0")]
)
def test_impossible_discriminators_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_discriminator(**options)


def test_maps_of_another_size_or_number_of_classes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(1, 5, 48, 64\); expected .* multiples of 32"):
        small()(torch.zeros(1, 5, 48, 64))
    with pytest.raises(ValueError, match="set map_channels to the classes"):
        small()(torch.zeros(1, 6, 64, 64))
    with pytest.raises(ValueError, match="a map of 32x32 with instance norm, which needs more than one value at 1/32"):
        small(norm="instance")(torch.zeros(1, 5, 32, 32))
