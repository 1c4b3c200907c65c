"""GAN losses by hand, feature matching, R1 and path length by finite differences, lazy Adam, perceptual loss."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from favae.losses.gan import build_gan_loss, feature_matching_loss, mean_over_scales
from favae.losses.gan_regularization import LazyAdam, PathLengthPenalty, lazy_adam, path_lengths, r1_penalty
from favae.losses.perceptual import PerceptualLoss, Vgg19Features
from favae.models.style_discriminator import StyleDiscriminator
from favae.models.stylegan2 import StyleGenerator
from favae.runtime.torchvision import ensure_torchvision

REAL = torch.tensor([2.0, 0.5, -1.0, 1.0])
FAKE = torch.tensor([-3.0, 0.5, -1.0, 1.0])


def test_hinge_at_logits_of_zero_is_two_for_spade_and_one_when_halved() -> None:
    zero = torch.zeros(3)
    assert build_gan_loss("hinge", "whole").discriminator(zero, zero).item() == 2.0
    assert build_gan_loss("hinge", "half").discriminator(zero, zero).item() == 1.0
    assert build_gan_loss("hinge", "whole").generator(zero).item() == 0.0


@pytest.mark.parametrize("kind", ["vanilla", "hinge", "lsgan"])
def test_whole_is_twice_half_for_the_discriminator_and_the_same_for_the_generator(kind: str) -> None:
    half, whole = (build_gan_loss(kind, scale) for scale in ("half", "whole"))  # type: ignore[arg-type]
    torch.testing.assert_close(whole.discriminator(REAL, FAKE), 2 * half.discriminator(REAL, FAKE))
    torch.testing.assert_close(whole.generator(FAKE), half.generator(FAKE))


def test_stylegan2_s_logistic_loss_is_the_whole_vanilla_loss() -> None:
    game = build_gan_loss("vanilla", "whole")
    expected = (1 + FAKE.exp()).log().mean() + (1 + (-REAL).exp()).log().mean()
    torch.testing.assert_close(game.discriminator(REAL, FAKE), expected)
    torch.testing.assert_close(game.generator(FAKE), (1 + (-FAKE).exp()).log().mean())


def test_least_squares_losses_by_hand() -> None:
    game = build_gan_loss("lsgan")
    # (real - 1)^2 = 1, .25, 4, 0; fake^2 = 9, .25, 1, 1; (fake - 1)^2 = 16, .25, 4, 0
    assert game.discriminator(REAL, FAKE).item() == pytest.approx(0.5 * (5.25 / 4 + 11.25 / 4))
    assert game.generator(FAKE).item() == pytest.approx(20.25 / 4)


def test_scales_have_equal_weight_independent_of_their_size() -> None:
    game = build_gan_loss("hinge", "whole")
    fine, coarse = torch.zeros(1, 1, 35, 67), torch.full((1, 1, 19, 35), -3.0)
    assert mean_over_scales(game.discriminator, [fine, coarse], [fine, coarse]).item() == pytest.approx((2 + 4) / 2)
    assert mean_over_scales(game.generator, [fine, coarse]).item() == pytest.approx(1.5)
    with pytest.raises(ValueError, match=r"\[1, 2\] scales; expected the same number"):
        mean_over_scales(game.discriminator, [fine], [fine, coarse])


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="kind 'wgan'; expected one of vanilla, hinge, lsgan"):
        build_gan_loss("wgan")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="discriminator_scale 'double'; expected 'half' or 'whole'"):
        build_gan_loss("hinge", "double")  # type: ignore[arg-type]


def test_feature_matching_sums_layers_but_the_last_and_averages_scales() -> None:
    real = [[torch.zeros(2, 3), torch.zeros(4), torch.zeros(1)], [torch.zeros(2), torch.zeros(2), torch.zeros(1)]]
    fake = [
        [torch.full((2, 3), 1.0), torch.full((4,), -2.0), torch.full((1,), 9.0)],
        [torch.full((2,), 3.0), torch.full((2,), 0.0), torch.full((1,), 9.0)],
    ]
    assert feature_matching_loss(real, fake).item() == pytest.approx((1 + 2 + 3 + 0) / 2)
    assert feature_matching_loss(real, real).item() == 0.0
    with pytest.raises(ValueError, match=r"\[3, 3\] layers of real and \[3\]"):
        feature_matching_loss(real, fake[:1])


def test_feature_matching_gives_real_features_no_gradient() -> None:
    real, fake = torch.randn(3, requires_grad=True), torch.randn(3, requires_grad=True)
    feature_matching_loss([[real, real]], [[fake, fake]]).backward()
    assert real.grad is None and fake.grad is not None


def test_r1_of_a_linear_discriminator_is_the_square_of_its_weights() -> None:
    a = torch.randn(3, 4, 4, dtype=torch.float64)
    x = torch.randn(5, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    logits = (a * x).sum((1, 2, 3))
    torch.testing.assert_close(r1_penalty(logits, x, gamma=2.0), a.square().sum())
    torch.testing.assert_close(r1_penalty(logits, x, gamma=10.0, interval=16), 80 * a.square().sum())


def numerical(loss: Callable[[], Tensor], parameter: Tensor, direction: Tensor, step: float = 1e-5) -> Tensor:
    """Central difference of `loss` along `direction` of a parameter."""
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            parameter.add_(direction, alpha=sign * step)
        values.append(loss().detach())
        with torch.no_grad():
            parameter.sub_(direction, alpha=sign * step)
    return (values[0] - values[1]) / (2 * step)


def test_r1_s_gradient_on_a_small_discriminator_is_that_of_finite_differences() -> None:
    torch.manual_seed(0)
    discriminator = StyleDiscriminator(8, base_channels=32, max_channels=4, group=2).double()
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64, requires_grad=True)

    def loss() -> Tensor:
        return r1_penalty(discriminator(x), x, gamma=10.0)

    parameters = [discriminator.from_image.weight, discriminator.blocks[0].skip.weight, discriminator.last.weight]
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss(), parameters), strict=True):
        direction = torch.randn_like(parameter)
        torch.testing.assert_close(
            (gradient * direction).sum(), numerical(loss, parameter, direction), rtol=1e-5, atol=1e-8
        )


def test_r1_depends_on_the_images() -> None:
    """The gradient is with respect to the input of the discriminator."""
    x = torch.randn(2, 3, 4, 4)
    with pytest.raises(ValueError, match="images that do not require a gradient; call requires_grad_"):
        r1_penalty(x.sum((1, 2, 3)), x, gamma=1.0)
    with pytest.raises(ValueError, match="gamma -1"):
        r1_penalty(x.sum((1, 2, 3)), x.requires_grad_(), gamma=-1.0)


def test_path_lengths_of_a_linear_generator_in_closed_form() -> None:
    """image = A w summed over layers: the gradient at every layer is A^T n / sqrt(H W)."""
    a = torch.randn(3 * 4 * 4, 5, dtype=torch.float64)
    w = torch.randn(2, 6, 5, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    image = (w.sum(1) @ a.T).view(2, 3, 4, 4)
    expected = (noise.flatten(1) @ a / 4).norm(dim=1)
    torch.testing.assert_close(path_lengths(image, w, noise), expected)


def test_the_path_length_penalty_uses_its_updated_mean() -> None:
    a = torch.ones(1, 1, dtype=torch.float64)
    w = torch.zeros(1, 1, 1, dtype=torch.float64, requires_grad=True)
    penalty = PathLengthPenalty(interval=4).double()
    image, noise = (w[:, 0] @ a).view(1, 1, 1, 1), torch.full((1, 1, 1, 1), 3.0, dtype=torch.float64)  # length 3
    assert penalty(image, w, noise).item() == pytest.approx(4 * 2 * (3 - 0.03) ** 2)
    assert penalty.mean_length.item() == pytest.approx(0.03)
    penalty(image, w, noise)
    assert penalty.mean_length.item() == pytest.approx(0.03 + 0.01 * 2.97)
    assert set(penalty.state_dict()) == {"mean_length"}


def test_the_path_length_s_gradient_on_a_small_generator_is_that_of_finite_differences() -> None:
    torch.manual_seed(0)
    generator = StyleGenerator(8, z=4, w=4, mapping_layers=1, base_channels=32, max_channels=4).double()
    z, noise = torch.randn(2, 4, dtype=torch.float64), torch.randn(2, 3, 8, 8, dtype=torch.float64)
    penalty = PathLengthPenalty().double()

    def loss() -> Tensor:
        penalty.mean_length.fill_(0.5)
        w = generator.styles(z)
        return penalty(generator.synthesis(w, "fixed"), w, noise)

    parameters = [
        generator.synthesis.constant,
        generator.synthesis.convolutions[1].convolution.weight,
        generator.mapping.layers[0].weight,
    ]
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss(), parameters), strict=True):
        direction = torch.randn_like(parameter)
        torch.testing.assert_close(
            (gradient * direction).sum(), numerical(loss, parameter, direction), rtol=1e-5, atol=1e-8
        )


def test_small_networks_can_be_differentiated_twice() -> None:
    torch.manual_seed(0)
    generator = StyleGenerator(
        8, z=2, w=2, mapping_layers=1, base_channels=16, max_channels=2, image_channels=1
    ).double()
    w = torch.randn(1, 4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda t: generator.synthesis(t, "fixed"), w, atol=1e-4)
    discriminator = StyleDiscriminator(8, 1, base_channels=16, max_channels=2, group=2).double()
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(discriminator, x, atol=1e-4)


def test_adam_s_constants_of_lazy_regularisation() -> None:
    generator, discriminator = lazy_adam(0.002, 4), lazy_adam(0.002, 16)
    assert generator.lr == pytest.approx(0.0016) and discriminator.lr == pytest.approx(0.001882, abs=1e-6)
    assert generator.betas == (0.0, pytest.approx(0.9920, abs=1e-4))
    assert discriminator.betas == (0.0, pytest.approx(0.99059, abs=1e-5))
    assert isinstance(generator, LazyAdam)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: PathLengthPenalty(weight=-1), "weight -1"),
        (lambda: PathLengthPenalty(decay=0), "decay 0; expected weight at least 0 and decay in"),
        (lambda: PathLengthPenalty(interval=0), "interval 0; expected at least 1 step"),
        (lambda: PathLengthPenalty(across_ranks="all"), "across_ranks 'all'; expected 'global' or 'local'"),  # type: ignore[arg-type]
        (lambda: lazy_adam(0.0, 4), "lr 0.0; expected more than 0"),
    ],
)
def test_impossible_regularisation_is_refused(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


class Means(nn.Module):
    """Five known features: pixels times 1 to 5."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x * factor for factor in range(1, 6)]


def test_the_perceptual_loss_by_hand_in_both_input_ranges() -> None:
    fake, real = torch.full((1, 3, 2, 2), 0.5, requires_grad=True), torch.zeros(1, 3, 2, 2)
    weights = 1 / 32 + 2 / 16 + 3 / 8 + 4 / 4 + 5
    loss = PerceptualLoss(Means())(fake, real)
    assert loss.item() == pytest.approx(0.5 * weights)
    normalised = PerceptualLoss(Means(), "imagenet")(fake, real)
    assert normalised.item() == pytest.approx(0.25 * (1 / 0.229 + 1 / 0.224 + 1 / 0.225) / 3 * weights)
    loss.backward()
    assert fake.grad is not None and fake.grad.abs().sum() > 0


def test_vgg19_features_are_named_and_placed_as_in_torchvision() -> None:
    ensure_torchvision()
    torchvision = pytest.importorskip("torchvision")
    with torch.device("meta"):
        ours, theirs = Vgg19Features().state_dict(), torchvision.models.vgg19().state_dict()
    assert len(ours) == 26 and all(theirs[name].shape == value.shape for name, value in ours.items())
    features = Vgg19Features()
    shapes = [tuple(f.shape[1:]) for f in features(torch.randn(1, 3, 32, 32))]
    assert shapes == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 2, 2)]
    assert all(f.min() >= 0 for f in features(torch.randn(1, 3, 16, 16)))


def test_the_perceptual_network_is_frozen_and_stays_in_eval_mode() -> None:
    loss = PerceptualLoss(nn.Sequential(nn.BatchNorm2d(3))).train()
    assert not loss.features.training and not any(p.requires_grad for p in loss.parameters())
    with pytest.raises(ValueError, match="network_input 'rgb'; expected 'as_is' or 'imagenet'"):
        PerceptualLoss(Means(), "rgb")  # type: ignore[arg-type]
