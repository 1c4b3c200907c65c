"""Costs of the autoencoders of the companion papers, counted as in `favae.config.costs`."""

from favae.config.costs import Cost
from favae.config.vae import StftVae


def latent_model_cost(model: StftVae) -> Cost:
    """One image through encoder and decoder (`favae.models.LATENT_MODELS`)."""
    cost, size = Cost(), model.image_size
    half = (size - 1) // 2
    rest = (half - 1) // 2
    cost.conv(model.image_channels, 32, size**2, half**2)
    cost.conv(32, 64, half**2, rest**2)
    cost.linear(64 * rest**2, 2 * model.latent, 1)
    quarter = size // 4
    cost.linear(model.latent, 32 * quarter**2, 1)
    for inputs, outputs, side in ((32, 64, quarter), (64, 32, 2 * quarter)):
        # Four parities of 2x2 taps, 7 of 16 of them 0: multiplied all the same.
        cost.conv(inputs, 4 * outputs, side**2, side**2, kernel=2)
        cost.parameters -= 7 * inputs * outputs + 3 * outputs
    cost.conv(4 * 32, 4 * model.image_channels, (size // 2) ** 2, (size // 2) ** 2)
    cost.parameters -= (16 - 1) * 32 * 9 * model.image_channels + 3 * model.image_channels
    return cost
