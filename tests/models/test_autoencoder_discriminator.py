"""Patch discriminators: output size, receptive field, initialisation."""

import pytest
import torch
from torch import nn

from favae.models import PatchDiscriminator


@pytest.mark.parametrize(("layers", "logits", "field"), [(3, 30, 70), (2, 62, 34)])
def test_logits_and_receptive_field(layers: int, logits: int, field: int) -> None:
    discriminator = PatchDiscriminator(base_channels=2, layers=layers).eval()
    x = torch.zeros(1, 3, 256, 256, requires_grad=True)
    output = discriminator(x)
    assert output.shape == (1, 1, logits, logits)
    (gradient,) = torch.autograd.grad(output[0, 0, logits // 2, logits // 2], x)
    touched = gradient.abs().sum((0, 1)).nonzero()
    assert (touched.amax(0) - touched.amin(0) + 1).tolist() == [field, field]


def test_normal_initialisation_is_narrow_and_the_default_is_torch_s() -> None:
    torch.manual_seed(0)
    for init, expected in (("normal", 0.02), ("pytorch", 1 / (3 * 64 * 16) ** 0.5)):
        convolution = PatchDiscriminator(layers=2, init=init).stack[5]
        assert isinstance(convolution, nn.Conv2d) and convolution.in_channels == 128
        # torch draws from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), whose deviation is 1/sqrt(3 fan_in)
        assert convolution.weight.std().item() == pytest.approx(
            expected if init == "normal" else 1 / 6144**0.5, rel=0.02
        )


def test_only_the_first_and_last_convolutions_have_a_bias() -> None:
    """Batch norm has its own."""
    convolutions = [m for m in PatchDiscriminator().modules() if isinstance(m, nn.Conv2d)]
    assert [c.bias is not None for c in convolutions] == [True, False, False, False, True]


@pytest.mark.parametrize(
    ("options", "message"), [({"layers": 0}, "layers got 0"), ({"init": "xavier"}, "init got 'xavier'")]
)
def test_refuses_impossible_networks(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PatchDiscriminator(**options)
