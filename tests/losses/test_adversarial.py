"""Adversarial losses in closed form, and the adaptive weight on a last layer whose gradients are known."""

import math

import pytest
import torch
import torch.nn.functional as F

from favae.losses import adaptive_weight, build_adversarial_loss

REAL = torch.tensor([2.0, 0.5, -1.0, 1.0])
FAKE = torch.tensor([-3.0, 0.5, -1.0, 1.0])


def test_hinge_losses_by_hand() -> None:
    hinge = build_adversarial_loss("hinge")
    # relu(1 - real) = 0, .5, 2, 0; relu(1 + fake) = 0, 1.5, 0, 2
    assert hinge.discriminator(REAL, FAKE).item() == pytest.approx(0.5 * (2.5 / 4 + 3.5 / 4))
    assert hinge.generator(FAKE).item() == pytest.approx(2.5 / 4)


def test_hinge_discriminator_ignores_logits_beyond_the_margin() -> None:
    real, fake = torch.tensor([1.5, 0.0], requires_grad=True), torch.tensor([-1.5, 0.0], requires_grad=True)
    build_adversarial_loss("hinge").discriminator(real, fake).backward()
    assert real.grad is not None and fake.grad is not None
    assert real.grad.tolist() == [0.0, -0.25] and fake.grad.tolist() == [0.0, 0.25]


def test_vanilla_losses_are_cross_entropies() -> None:
    vanilla = build_adversarial_loss("vanilla")
    one, zero = torch.ones(4), torch.zeros(4)
    cross_entropy = F.binary_cross_entropy_with_logits
    expected = 0.5 * (cross_entropy(REAL, one) + cross_entropy(FAKE, zero))
    torch.testing.assert_close(vanilla.discriminator(REAL, FAKE), expected)
    torch.testing.assert_close(vanilla.generator(FAKE), cross_entropy(FAKE, one))
    assert vanilla.discriminator(zero, zero).item() == pytest.approx(math.log(2))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="adversarial loss got 'wgan'"):
        build_adversarial_loss("wgan")  # type: ignore[arg-type]


def test_adaptive_weight_is_the_ratio_of_gradient_norms_at_the_last_layer() -> None:
    weight = torch.zeros(3, 4, requires_grad=True)
    a, b = torch.arange(12.0).view(3, 4), torch.full((3, 4), 2.0)
    reconstruction, adversarial = (a * weight).sum(), (b * weight).sum()  # gradients a and b
    omega = adaptive_weight(*(torch.autograd.grad(loss, weight)[0] for loss in (reconstruction, adversarial)))
    assert omega.item() == pytest.approx(math.sqrt(506) / (math.sqrt(48) + 1e-4))
    assert not omega.requires_grad and omega.shape == ()


@pytest.mark.parametrize(
    ("reconstruction", "adversarial", "expected"), [(1.0, 0.0, 1e4), (0.0, 1.0, 0.0), (0.5, 0.0, 5e3)]
)
def test_adaptive_weight_is_finite_and_clamped(reconstruction: float, adversarial: float, expected: float) -> None:
    omega = adaptive_weight(torch.tensor([reconstruction]), torch.tensor([adversarial]))
    assert omega.item() == pytest.approx(expected)
    assert adaptive_weight(torch.ones(1), torch.zeros(1), maximum=7.0).item() == 7.0


def test_adaptive_weight_of_16_bit_gradients_is_taken_in_single_precision() -> None:
    many = torch.full((70_000,), 1.0, dtype=torch.float16)  # their sum of squares overflows 16 bits
    assert adaptive_weight(many, many).item() == pytest.approx(1.0, rel=1e-5)
