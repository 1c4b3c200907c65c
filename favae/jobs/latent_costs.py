"""Costs of the autoencoders of the companion papers, counted as in `favae.jobs.costs`."""

from itertools import pairwise

from favae.config.companions import FflAutoencoderModelConfig, FflVaeModelConfig, LatentModelConfig, StftVaeModelConfig
from favae.jobs.costs import Cost


def latent_model_cost(model: LatentModelConfig) -> Cost:
    """One image through encoder and decoder (`favae.models.LATENT_MODELS`)."""
    if isinstance(model, StftVaeModelConfig):
        return _stft_vae(model)
    if isinstance(model, FflVaeModelConfig):
        return _ffl_vae(model)
    return _ffl_autoencoder(model)


def _stft_vae(model: StftVaeModelConfig) -> Cost:
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


def _ffl_autoencoder(model: FflAutoencoderModelConfig) -> Cost:
    cost, pixels = Cost(), model.image_channels * model.image_size**2
    cost.linear(pixels, model.hidden, 1)
    cost.linear(model.hidden, pixels, 1)
    return cost


def _ffl_vae(model: FflVaeModelConfig) -> Cost:
    cost, side = Cost(), model.image_size
    widths = [model.image_channels]
    while side > 4:
        widths.append(min(model.base_channels * 2 ** (len(widths) - 1), model.max_channels))
        side //= 2
    features = widths[-1] * side**2
    for _ in range(2):
        cost.linear(features, model.latent, 1)
    cost.linear(model.latent, features, 1)
    for level, (shallow, deep) in enumerate(pairwise(widths)):
        fine = (model.image_size >> level) ** 2
        cost.conv(shallow, deep, fine, fine // 4, kernel=4)
        cost.norm(deep, fine // 4)
        # A transposed convolution multiplies as often as the convolution that it mirrors.
        cost.conv(deep, shallow, fine // 4, fine // 4, kernel=4)
        if level:
            cost.norm(shallow, fine)
    return cost
