"""The VAE of the STFT-VAE paper: its size, TensorFlow's transposed convolutions, and the posterior."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Normal, kl_divergence

from favae.models import Posterior, StftVAE
from favae.models.stft_vae import DoublingConv, ParityConv, interleave


def test_the_model_has_the_parameters_of_the_released_checkpoint() -> None:
    assert sum(p.numel() for p in StftVAE().parameters()) == 69_989


def test_interleaving_puts_parity_p_q_at_2i_plus_p_2j_plus_q() -> None:
    x = torch.arange(2 * 8 * 3 * 5).view(2, 8, 3, 5)
    y = interleave(x)
    assert y.shape == (2, 2, 6, 10)
    for p in (0, 1):
        for q in (0, 1):
            assert torch.equal(y[:, :, p::2, q::2], x[:, 2 * (2 * p + q) : 2 * (2 * p + q) + 2])


@pytest.mark.parametrize(("height", "width"), [(7, 7), (3, 6)])
def test_doubling_is_tensorflows_transposed_convolution(height: int, width: int) -> None:
    """`padding="same"` at stride 2: all of output[2i + k] += input[i] w[k], cut at the end (TensorFlow pads there, not before)."""
    torch.manual_seed(0)
    layer, x = DoublingConv(5, 4), torch.randn(2, 5, height, width, requires_grad=True)
    torch.nn.init.normal_(layer.bias)
    expected = F.relu(F.conv_transpose2d(x, layer.weight, layer.bias, stride=2)[..., : 2 * height, : 2 * width])
    found = interleave(layer(x))
    torch.testing.assert_close(found, expected)
    weighting = torch.randn_like(expected)
    inputs = [x, layer.weight, layer.bias]
    for ours, theirs in zip(
        torch.autograd.grad((found * weighting).sum(), inputs),
        torch.autograd.grad((expected * weighting).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_convolution_of_parities_is_that_of_the_doubled_map() -> None:
    torch.manual_seed(0)
    layer, parities = ParityConv(3, 2), torch.randn(2, 12, 4, 5)
    torch.nn.init.normal_(layer.bias)
    expected = F.conv_transpose2d(interleave(parities), layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(interleave(layer(parities)), expected)


def test_decoder_is_the_stack_that_the_paper_describes() -> None:
    torch.manual_seed(0)
    model, z = StftVAE(), torch.randn(3, 2)
    first, second = model.decoder
    h = F.relu(model.from_latent(z)).view(3, 7, 7, 32).permute(0, 3, 1, 2)
    h = F.relu(F.conv_transpose2d(h, first.weight, first.bias, stride=2)[..., :14, :14])
    h = F.relu(F.conv_transpose2d(h, second.weight, second.bias, stride=2)[..., :28, :28])
    h = F.conv_transpose2d(h, model.to_image.weight, model.to_image.bias, padding=1)
    torch.testing.assert_close(model.decode(z), 2 * h - 1)


def test_kl_agrees_with_torch_and_samples_have_the_posterior_moments() -> None:
    torch.manual_seed(0)
    mean, log_variance = torch.randn(4, 2), torch.randn(4, 2)
    posterior = Posterior(mean, log_variance)
    reference = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(posterior.kl(), reference)
    one = Posterior(torch.tensor([[3.0]]), torch.tensor([[math.log(4.0)]]))
    assert one.sample(torch.tensor([[1.0], [-1.0]])).flatten().tolist() == pytest.approx([5.0, 1.0])


def test_without_noise_the_mean_is_decoded() -> None:
    torch.manual_seed(0)
    model, image = StftVAE(), torch.rand(2, 1, 28, 28) * 2 - 1
    output, posterior = model(image)
    assert posterior is not None
    torch.testing.assert_close(output, model.decode(posterior.mean))
    noisy, _ = model(image, torch.ones(2, 2))
    assert not torch.allclose(noisy, output)


def test_bfloat16_stays_close() -> None:
    torch.manual_seed(0)
    model, image = StftVAE(), torch.rand(4, 1, 28, 28) * 2 - 1
    exact, _ = model(image)
    with torch.autocast("cpu", torch.bfloat16):
        close, posterior = model(image)
    assert posterior is not None
    assert posterior.mean.dtype == close.dtype == torch.float32
    assert (close - exact).abs().max() < 0.05 * exact.std()
