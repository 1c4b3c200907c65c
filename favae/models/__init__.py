"""Networks; they need torch and nothing else of this package."""

from favae.models.cat import CAT, cat_parameter_groups
from favae.models.decoder import Decoding
from favae.models.discriminators import PatchDiscriminator
from favae.models.encoder import Encoding
from favae.models.favae import FAVAE, FAVAEOutput
from favae.models.latent import LatentModel, Posterior
from favae.models.quantizers import Quantized, build_quantizer
from favae.models.stft_vae import StftVAE
from favae.models.text_encoder import LearnedTextEncoder

LATENT_MODELS: dict[str, type[LatentModel]] = {"stft_vae": StftVAE}  # by `kind` of their parameters

__all__ = [
    "CAT",
    "FAVAE",
    "LATENT_MODELS",
    "Decoding",
    "Encoding",
    "FAVAEOutput",
    "LatentModel",
    "LearnedTextEncoder",
    "PatchDiscriminator",
    "Posterior",
    "Quantized",
    "StftVAE",
    "build_quantizer",
    "cat_parameter_groups",
]
