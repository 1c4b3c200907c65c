"""The autoencoders of the focal frequency loss paper: sizes, shapes, ranges, initialisation."""

import pytest
import torch
from torch import nn

from favae.models import AUTOENCODERS, FflVAE, VanillaAutoencoder


def test_vanilla_autoencoder_has_the_published_size() -> None:
    model = VanillaAutoencoder()
    assert sum(p.numel() for p in model.parameters()) == 12_288 * 256 * 2 + 256 + 12_288  # 6.304 M
    image = torch.rand(2, 3, 64, 64) * 2 - 1
    output, posterior = model(image)
    assert output.shape == image.shape
    assert posterior is None
    assert model.latent == 0
    assert output.abs().max() <= 1
    hidden = torch.relu(image.flatten(1) @ model.encoder.weight.T + model.encoder.bias)
    expected = torch.tanh(hidden @ model.decoder.weight.T + model.decoder.bias)
    torch.testing.assert_close(output.flatten(1), expected)
    with pytest.raises(ValueError, match="no noise"):
        model(image, torch.zeros(2, 4))


@pytest.mark.parametrize(("size", "blocks"), [(64, 4), (256, 6)])
def test_vae_goes_down_to_four_pixels_in_the_published_number_of_blocks(size: int, blocks: int) -> None:
    model = FflVAE(size, base_channels=4, max_channels=32, latent=8)
    convolutions = [m for m in model.encoder.modules() if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [min(4 * 2**i, 32) for i in range(blocks)]
    assert sum(isinstance(m, nn.ConvTranspose2d) for m in model.decoder.modules()) == blocks
    image = torch.rand(2, 3, size, size) * 2 - 1
    output, posterior = model(image, torch.zeros(2, 8))
    assert output.shape == image.shape
    assert output.abs().max() <= 1
    assert posterior is not None
    assert posterior.mean.shape == posterior.log_variance.shape == (2, 8)


def test_weights_start_as_in_the_official_code() -> None:
    torch.manual_seed(0)
    model = FflVAE(32, base_channels=16)
    weights = torch.cat([m.weight.flatten() for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)])
    assert weights.std().item() == pytest.approx(0.02, rel=0.02)
    norms = torch.cat([m.weight for m in model.modules() if isinstance(m, nn.BatchNorm2d)])
    assert norms.mean().item() == pytest.approx(1, abs=0.01)
    assert all((m.bias == 0).all() for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d))


def test_a_size_that_does_not_halve_down_to_four_is_refused() -> None:
    with pytest.raises(ValueError, match="power of two"):
        FflVAE(48)
    with pytest.raises(ValueError, match="power of two"):
        FflVAE(4)


@pytest.mark.parametrize("kind", AUTOENCODERS)
def test_configuration_rebuilds_the_model(kind: str) -> None:
    model = AUTOENCODERS[kind]()
    again = AUTOENCODERS[kind].from_config(model.config)
    again.load_state_dict(model.state_dict())
