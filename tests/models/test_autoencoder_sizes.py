"""Parameter counts of the published networks, from networks without storage."""

from typing import Any

import pytest
import torch
from torch import nn

from favae.models import FAVAE, PatchDiscriminator

F8 = {"channel_multipliers": (1, 2, 2, 4), "attention_resolutions": (32,)}
F4 = {
    "channel_multipliers": (1, 2, 4),
    "attention_resolutions": (),
    "latent_channels": 3,
    "fcm_groups": 3,
    "quantizer": {"kind": "cosine", "codes": 8192, "dim": 256},
}


def millions(module: nn.Module) -> float:
    return sum(p.numel() for p in module.parameters()) / 1e6


def make(**config: Any) -> FAVAE:
    with torch.device("meta"):
        return FAVAE(**config)


def counts() -> dict[str, tuple[float, float]]:
    """What it is -> (ours, the official code's), in millions of parameters."""
    f16, baseline = make(), make(fcm="none")
    with torch.device("meta"):
        discriminators = [PatchDiscriminator(layers=n) for n in (2, 3)]
    return {
        "encoder, f=16": (millions(f16.encoder), 29.4),
        "decoder without FCM, f=16": (millions(baseline.decoder), 42.5),
        "four conv FCMs": (millions(f16.decoder.fcms), 10.9),
        "four residual FCMs": (millions(make(fcm="residual").decoder.fcms), 10.9),
        "four attention FCMs": (millions(make(fcm="attention").decoder.fcms), 7.9),
        "FA-VAE f=16": (millions(f16), 82.7),
        "FA-VAE f=8": (millions(make(**F8)), 81.0),
        "FA-VAE f=4": (millions(make(**F4)), 65.0),
    } | {
        f"discriminator, {n} layers": (millions(network), published)
        for n, network, published in zip((2, 3), discriminators, (0.66, 2.77), strict=True)
    }


@pytest.mark.parametrize("network", counts())
def test_parameter_count_is_the_published_one(network: str) -> None:
    ours, published = counts()[network]
    digits = 2 if network.startswith("discriminator") else 1
    print(f"{network}: {ours:.3f} M, published {published} M")
    assert round(ours, digits) == published


def test_the_codebook_is_not_a_parameter() -> None:
    assert millions(make().quantizer) == 0
    assert make().quantizer.codebook.shape == (1024, 256)
