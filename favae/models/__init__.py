"""Networks; they need torch and nothing else of this package."""

from favae.models.cat import CAT, cat_parameter_groups
from favae.models.decoder import Decoding
from favae.models.discriminators import PatchDiscriminator
from favae.models.encoder import Encoding
from favae.models.favae import FAVAE, FAVAEOutput
from favae.models.quantizers import Quantized, build_quantizer
from favae.models.text_encoder import LearnedTextEncoder

__all__ = [
    "CAT",
    "FAVAE",
    "Decoding",
    "Encoding",
    "FAVAEOutput",
    "LearnedTextEncoder",
    "PatchDiscriminator",
    "Quantized",
    "build_quantizer",
    "cat_parameter_groups",
]
