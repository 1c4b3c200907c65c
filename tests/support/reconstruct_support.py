"""A model for tests of what users do with one: its shape, and the model itself."""

import torch

from favae.models import FAVAE

MODEL = {
    "image_size": 16,
    "base_channels": 4,
    "channel_multipliers": [1, 1, 2],
    "res_blocks": 1,
    "attention_resolutions": [],
    "latent_channels": 4,
    "norm_groups": 2,
    "fcm_groups": 2,
    "quantizer": {"kind": "cosine", "codes": 8, "dim": 4},
}


def tiny_model() -> FAVAE:
    """The same at every call."""
    torch.manual_seed(0)
    return FAVAE(**MODEL).eval().requires_grad_(False)
