"""Networks; they need torch and nothing else of this package."""

from favae.models.decoder import Decoding
from favae.models.discriminators import PatchDiscriminator
from favae.models.encoder import Encoding
from favae.models.favae import FAVAE, FAVAEOutput
from favae.models.quantizers import CodebookUsage, Quantized, build_quantizer, code_counts, codebook_usage

__all__ = [
    "FAVAE",
    "CodebookUsage",
    "Decoding",
    "Encoding",
    "FAVAEOutput",
    "PatchDiscriminator",
    "Quantized",
    "build_quantizer",
    "code_counts",
    "codebook_usage",
]
