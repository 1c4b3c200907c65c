"""Images for captions: codes drawn from CAT, decoded by the autoencoder that made its tokens."""

from collections.abc import Iterator

import torch
from torch import Tensor

from favae.config.cat import SamplingConfig
from favae.inference.export import TextToImage
from favae.models import FAVAE


def sample_images(
    cat: TextToImage, decoder: FAVAE, captions: list[str], guidance: float, config: SamplingConfig, device: torch.device
) -> Iterator[tuple[int, Tensor]]:
    """(index of the first caption, images [B,C,H,W]) of each batch of captions, from one stream of random numbers.

    Raises:
        ValueError: `decoder` has another codebook than that from which CAT was trained.
    """
    if decoder.quantizer.codes != cat.cat.codes:
        counts = f"CAT has {cat.cat.codes} codes but the decoder {decoder.quantizer.codes}"
        raise ValueError(f"{counts}; both must come from the same FA-VAE")
    generator = torch.Generator(device).manual_seed(config.seed)
    for first in range(0, len(captions), config.batch_size):
        yield first, _sample(cat, decoder, captions[first : first + config.batch_size], guidance, config, generator)


@torch.inference_mode()
def _sample(
    cat: TextToImage,
    decoder: FAVAE,
    captions: list[str],
    guidance: float,
    config: SamplingConfig,
    generator: torch.Generator,
) -> Tensor:
    text, mask = cat.embed(captions)
    indices = cat.cat.generate(
        text,
        mask,
        guidance=guidance,
        top_k=config.top_k,
        top_p=config.top_p,
        generator=generator,
        **({"temperature": config.temperature} if "temperature" in config.model_fields_set else {}),
    )
    side = decoder.latent_size
    return decoder.decode_indices(indices.view(-1, side, side))
