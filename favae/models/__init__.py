"""Networks; they need torch and nothing else of this package."""

from favae.models.cat import CAT, cat_parameter_groups
from favae.models.decoder import Decoding
from favae.models.discriminators import PatchDiscriminator
from favae.models.encoder import Encoding
from favae.models.favae import FAVAE, FAVAEOutput
from favae.models.ffl import FflVAE, VanillaAutoencoder
from favae.models.latent import LatentModel, Posterior
from favae.models.quantizers import Quantized, build_quantizer
from favae.models.stft_vae import StftVAE
from favae.models.text_encoder import LearnedTextEncoder

# By `kind` of their parameters.
LATENT_MODELS: dict[str, type[LatentModel]] = {"stft_vae": StftVAE, "ffl_ae": VanillaAutoencoder, "ffl_vae": FflVAE}

__all__ = [
    "CAT",
    "FAVAE",
    "LATENT_MODELS",
    "Decoding",
    "Encoding",
    "FAVAEOutput",
    "FflVAE",
    "LatentModel",
    "LearnedTextEncoder",
    "PatchDiscriminator",
    "Posterior",
    "Quantized",
    "StftVAE",
    "VanillaAutoencoder",
    "build_quantizer",
    "cat_parameter_groups",
]
