"""Builds networks and losses from parameters on meta tensors, runs them once, and counts costs, for `favae.jobs.facts`.

It builds the same networks and losses as the training, and torch counts, so no network is described twice. This module
imports torch; planning needs it only after a change.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from favae.config.cat import CatConfig, ClipTextConfig
from favae.config.companions import CompanionConfig
from favae.config.errors import BadKey, blaming
from favae.config.evaluation import LpipsNet, WeightsFileConfig
from favae.config.favae import FavaeConfig
from favae.jobs.facts import Cost, Facts
from favae.losses import adaptive_weight
from favae.models import CAT, FAVAE
from favae.pretrained.lpips import LPIPS
from favae.runtime.hashes import canonical_json
from favae.runtime.torchvision import ensure_torchvision
from favae.text import build_text_encoder
from favae.text.clip import text_tower
from favae.training.autoencoder import adaptive_bounds, build_networks
from favae.training.companions import build_model, build_terms

R = TypeVar("R")
_BATCH = 2  # some normalisation layers reject a batch of one image


def build(kind: str, subject: Any) -> Facts:
    """Build the subject of a request, run one forward pass and all losses. Raises BadKey if any of this is rejected."""
    with torch.device("meta"):
        return _BUILDERS[kind](subject)


@contextmanager
def _refusing(*keys: str | int) -> Iterator[None]:
    """Like `blaming`, also for torch's errors about shapes."""
    try:
        with blaming(*keys):
            yield
    except NotImplementedError:
        raise  # a fault of this module: an operation that meta tensors do not support
    except RuntimeError as error:
        raise BadKey(keys, str(error).partition("\n")[0]) from error


def counted(modules: list[nn.Module], run: Callable[[], R]) -> tuple[R, Cost]:
    """The return value of `run`, and its cost per image."""
    own = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
    weights = {tensor.untyped_storage()._cdata for tensor in own}
    kept: dict[int, Tensor] = {}  # one tensor per storage, so that the storage's number is not reused

    def pack(tensor: Tensor) -> Tensor:
        number = tensor.untyped_storage()._cdata
        if number not in weights:
            kept.setdefault(number, tensor)
        return tensor

    with FlopCounterMode(display=False) as flops, torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        result = run()
    size = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    parameters = sum(p.numel() for module in modules for p in module.parameters())
    return result, Cost(flops.get_total_flops() / 2 / _BATCH, parameters, size / _BATCH)


class _Passed(NamedTuple):
    """An FA-VAE after one forward pass."""

    costs: dict[str, Cost]
    pairs: list[tuple[Tensor, Tensor]]
    reconstruction: Tensor


@cache
def _pass(model_json: str, model: "_Unhashed") -> _Passed:
    """Cached, because rows of a table share a model and differ only in their losses."""
    favae, image = model.favae, _image(model.favae.config)
    encoding, encoder = counted([favae.encoder], lambda: favae.encode(image))
    quantized, quantizer = counted([favae.quantizer], lambda: favae.quantize(encoding.z, update_codebook=False))
    decoding, decoder = counted([favae.decoder], lambda: favae.decode(quantized.z))
    pairs = list(zip(encoding.taps, reversed(decoding.complements), strict=False))
    return _Passed({"encoder": encoder, "quantizer": quantizer, "decoder": decoder}, pairs, decoding.image)


class _Unhashed:
    """Wraps a network, so that it is not part of a cache key."""

    def __init__(self, favae: FAVAE) -> None:
        self.favae = favae

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Unhashed)

    def __hash__(self) -> int:
        return 0


def _image(config: dict[str, Any]) -> Tensor:
    return torch.zeros(_BATCH, config["image_channels"], config["image_size"], config["image_size"])


def _favae(config: FavaeConfig) -> Facts:
    networks = build_networks(config)
    model = networks.model
    with _refusing("model"):
        passed = _pass(canonical_json(config.model.given()), _Unhashed(model))
    image, costs = _image(model.config), dict(passed.costs)
    with _refusing("objective", "spectrum"):
        costs["spectrum"] = counted([networks.spectrum], lambda: networks.spectrum(passed.pairs))[1]
    with _refusing("objective", "image_ffl"):
        networks.image_ffl(passed.reconstruction.float(), image)
    with _refusing("objective", "adversarial", "discriminator"):
        costs["discriminator"] = counted([networks.discriminator], lambda: networks.discriminator(image))[1]
    with _refusing("objective", "adversarial"):
        adaptive_weight(torch.zeros(()), torch.zeros(()), **adaptive_bounds(config))
    with _refusing("objective", "perceptual"):
        for network in config.pretrained_networks():
            costs["lpips"] = _lpips((network, model.config["image_size"])).costs["lpips"]
    last = model.last_layer_weight.numel() * model.config["image_size"] ** 2
    costs["last_layer"] = Cost(last, 0, 0)
    return Facts(costs, _sizes(model) | {"latent_size": model.latent_size})


def _companion(config: CompanionConfig) -> Facts:
    model = build_model(config)
    image = _image(model.config)
    noise = torch.zeros(_BATCH, model.latent) if model.latent else None
    with _refusing("model"):
        (reconstruction, _), cost = counted([model], lambda: model(image, noise))
    costs = {"model": cost}
    for name, term in build_terms(config, bare_lpips).items():
        with _refusing("objective", "terms", name):
            costs[f"term {name}"] = counted([term], lambda term=term: term(reconstruction, image))[1]  # type: ignore[misc]
    return Facts(costs, _sizes(model))


def _sizes(model: Any) -> dict[str, int]:
    sizes = {name: model.config[name] for name in ("image_size", "image_channels")}
    return sizes | {"latent": model.latent, "codes": model.codes or 0, "latent_size": 0}


def _cat(subject: tuple[CatConfig, int, int]) -> Facts:
    """CAT with teacher forcing, and its text encoder, for one pair of image and text."""
    config, codes, side = subject
    with _refusing("text"):
        text, cost, trained = _text(config)
    with _refusing("model"):
        cat = CAT(codes=codes, grid=(side, side), text_dim=text.shape[2], **config.model.given())
        indices, mask = torch.zeros(_BATCH, side**2, dtype=torch.int64), torch.ones(text.shape[:2], dtype=torch.bool)
        costs = {"cat": counted([cat], lambda: cat.loss(indices, text, mask))[1], "text": cost}
    return Facts(costs, {"text_dim": text.shape[2], "text_tokens": text.shape[1], "text_trained": trained})


def _text(config: CatConfig) -> tuple[Tensor, Cost, bool]:
    """Embeddings, cost, and whether the encoder is trained. Here a learned encoder has a vocabulary of one word."""
    if isinstance(config.text, ClipTextConfig):
        given = config.text.given()
        tower = text_tower(*([given["model"]] if "model" in given else [])).requires_grad_(False)
        ids = torch.zeros(_BATCH, tower.context_length, dtype=torch.int64)
        return *counted([tower], lambda: tower(ids)), False
    encoder = build_text_encoder({**config.text.given(), "words": ["word"]})
    ids = torch.zeros(_BATCH, encoder.tokenizer.max_tokens, dtype=torch.int64)  # type: ignore[attr-defined]
    return *counted([encoder], lambda: encoder.encode(ids)), True  # type: ignore[list-item]


@cache
def bare_lpips(network: LpipsNet) -> LPIPS:
    """LPIPS without pretrained weights."""
    ensure_torchvision()
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lpips uses a deprecated argument of torchvision
        bare = lpips.LPIPS(pretrained=False, net=network, pnet_rand=True, verbose=False)
    return LPIPS(bare.to("meta"), WeightsFileConfig(file="none", sha256="0" * 64, source="none"))


@cache
def _lpips(subject: tuple[LpipsNet, int]) -> Facts:
    """The cost of LPIPS for a pair of images, one of which needs a gradient."""
    network, side = subject
    module = bare_lpips(network)
    ours, theirs = torch.zeros(_BATCH, 3, side, side, requires_grad=True), torch.zeros(_BATCH, 3, side, side)
    return Facts({"lpips": counted([module], lambda: module(ours, theirs))[1]})


def _lpips_metric(subject: tuple[LpipsNet, int]) -> Facts:
    with _refusing("lpips_nets"):
        return _lpips(subject)


_BUILDERS: dict[str, Callable[[Any], Facts]] = {
    "FavaeConfig": _favae,
    "CompanionConfig": _companion,
    "CatConfig": _cat,
    "lpips": _lpips_metric,
}
