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
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from favae.config.base import Schema
from favae.config.cat import CatConfig, ClipTextConfig
from favae.config.companions import CompanionConfig
from favae.config.copying import CopyConfig
from favae.config.errors import BadKey, blaming, closest
from favae.config.evaluation import LpipsNet, WeightsFileConfig
from favae.config.favae import FavaeConfig
from favae.config.gan import GeneratorTrainingConfig
from favae.config.pix2pix import Pix2PixConfig
from favae.config.segmentation import SegmenterConfig
from favae.config.spade import SpadeConfig
from favae.config.stylegan2 import StyleGan2Config
from favae.evaluation.protocol import describe, metric_names
from favae.jobs.facts import Facts, ModuleCost
from favae.losses import adaptive_weight
from favae.losses.perceptual import Vgg19Features
from favae.models import CAT, FAVAE
from favae.models.generators import complete, image_size
from favae.pretrained.lpips import LPIPS
from favae.runtime.hashes import canonical_json
from favae.runtime.torchvision import ensure_torchvision
from favae.text import build_text_encoder
from favae.text.clip import text_tower
from favae.training import pix2pix, spade, stylegan2
from favae.training.autoencoder import adaptive_bounds, build_networks
from favae.training.companions import build_model, data_range
from favae.training.gan import GanNetworks, adversarial_loss
from favae.training.segmenter import build_segmenter
from favae.training.terms import Pretrained, build_terms

R = TypeVar("R")
_BATCH = 2  # some normalisation layers reject a batch of one image


def build(kind: str, subject: Any) -> Facts:
    """Build the subject of a request, run one forward pass and all losses. Raises BadKey if any of this is rejected."""
    with torch.device("meta"), _WithoutValues():
        return _BUILDERS[kind](subject)


class _WithoutValues(TorchFunctionMode):
    """Leaves out what would only set values: initialisation, and the power iterations of spectral norm (15 per layer)."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if func is F.normalize and given.get("out") is not None:
            return given["out"]
        if getattr(func, "__module__", None) == "torch.nn.init":
            return given["tensor"] if "tensor" in given else args[0]
        return func(*args, **given)


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


def counted(modules: list[nn.Module], run: Callable[[], R]) -> tuple[R, ModuleCost]:
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
    return result, ModuleCost(flops.get_total_flops() / 2 / _BATCH, parameters, size / _BATCH)


class _Passed(NamedTuple):
    """An FA-VAE after one forward pass."""

    costs: dict[str, ModuleCost]
    pairs: list[tuple[Tensor, Tensor]]
    reconstruction: Tensor


class _Played(NamedTuple):
    """A generator and its discriminator after one forward pass."""

    costs: dict[str, ModuleCost]
    fake: Tensor
    sizes: dict[str, int]


class _Unhashed:
    """Wraps what is not to be part of a cache key."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Unhashed)

    def __hash__(self) -> int:
        return 0


@cache
def _pass(model_json: str, model: _Unhashed) -> _Passed:
    """Cached, because rows of a table share a model and differ only in their losses."""
    favae: FAVAE = model.value
    image = _image(favae.config)
    encoding, encoder = counted([favae.encoder], lambda: favae.encode(image))
    quantized, quantizer = counted([favae.quantizer], lambda: favae.quantize(encoding.z, update_codebook=False))
    decoding, decoder = counted([favae.decoder], lambda: favae.decode(quantized.z))
    pairs = list(zip(encoding.taps, reversed(decoding.complements), strict=False))
    return _Passed({"encoder": encoder, "quantizer": quantizer, "decoder": decoder}, pairs, decoding.image)


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
    costs["last_layer"] = ModuleCost(last, 0, 0)
    return Facts(costs, _sizes(model) | {"latent_size": model.latent_size})


def _companion(config: CompanionConfig) -> Facts:
    model = build_model(config)
    image = _image(model.config)
    noise = torch.zeros(_BATCH, model.latent) if model.latent else None
    with _refusing("model"):
        (reconstruction, _), cost = counted([model], lambda: model(image, noise))
    costs = {"model": cost}
    for name, term in build_terms(config.objective.terms, data_range(config), _Bare()).items():
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


def _text(config: CatConfig) -> tuple[Tensor, ModuleCost, bool]:
    """Embeddings, cost, and whether the encoder is trained. Here a learned encoder has a vocabulary of one word."""
    if isinstance(config.text, ClipTextConfig):
        given = config.text.given()
        tower = text_tower(*([given["model"]] if "model" in given else [])).requires_grad_(False)
        ids = torch.zeros(_BATCH, tower.context_length, dtype=torch.int64)
        return *counted([tower], lambda: tower(ids)), False
    encoder = build_text_encoder({**config.text.given(), "words": ["word"]})
    ids = torch.zeros(_BATCH, encoder.tokenizer.max_tokens, dtype=torch.int64)  # type: ignore[attr-defined]
    return *counted([encoder], lambda: encoder.encode(ids)), True  # type: ignore[list-item]


class _Bare(Pretrained):
    """Networks of perceptual terms without pretrained weights."""

    def lpips(self, network: LpipsNet) -> nn.Module:
        return bare_lpips(network)

    def vgg19(self) -> nn.Module:
        return Vgg19Features()


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


def _generator(config: GeneratorTrainingConfig) -> Facts:
    """A generator, its discriminator, and the terms of its objective."""
    if isinstance(config, StyleGan2Config):
        with _refusing("objective", "path_length"):
            stylegan2.build_path_length(config)
    given = config.given()
    played = _play(canonical_json([given["model"], given.get("discriminator")]), _Unhashed(config))
    adversarial_loss(config.objective.adversarial)  # type: ignore[attr-defined]
    costs, fake = dict(played.costs), played.fake
    for name, term in build_terms(config.objective.terms, 2.0, _Bare()).items():
        with _refusing("objective", "terms", name):
            costs[f"term {name}"] = counted([term], lambda term=term: term(fake, fake.detach()))[1]  # type: ignore[misc]
    return Facts(costs, played.sizes)


@cache
def _play(networks_json: str, training: _Unhashed) -> _Played:
    """Cached, because trainings share their networks and differ only in their losses and data."""
    config = training.value
    networks: GanNetworks = _NETWORKS[type(config)](config)
    height, width = image_size(config.model.given())
    model = complete(config.model.given())
    inputs = int(model.get("in_channels") or model.get("map_channels") or 0)
    channels = int(model.get("out_channels") or model.get("image_channels") or 0)
    condition = torch.zeros(_BATCH, inputs, height, width) if inputs else torch.zeros(_BATCH, model["z"])
    with _refusing("model"):
        fake, cost = _counted_apart(networks.generator, lambda: networks.generator(condition))
    costs = {"generator": cost}
    seen = (condition, fake.detach()) if inputs else (fake.detach(),)
    with _refusing("discriminator"):
        costs["discriminator"] = _counted_apart(networks.discriminator, lambda: networks.discriminator(*seen))[1]
    sizes = {"image_size": height, "image_width": width, "image_channels": channels, "condition_channels": inputs}
    group = getattr(networks.discriminator, "group", 1)
    return _Played(costs, fake, {**sizes, "group": group, "latent": 0, "codes": 0, "latent_size": 0})


def _copy(config: CopyConfig) -> Facts:
    """Nothing to count; `term` losses are not used."""
    height, width = image_size(config.model.given())
    sizes = {"image_size": height, "image_width": width, "image_channels": 3, "condition_channels": 3}
    return Facts({}, {**sizes, "group": 1, "latent": 0, "codes": 0, "latent_size": 0})


def _segmenter(subject: tuple[SegmenterConfig, int, int]) -> Facts:
    """A segmenter, for images of a height and width."""
    config, height, width = subject
    network = build_segmenter(config)
    with _refusing("model"):
        cost = counted([network], lambda: network(torch.zeros(_BATCH, 3, height, width)))[1]
    return Facts({"segmenter": cost}, {"classes": config.model.classes})


def _counted_apart(module: nn.Module, run: Callable[[], R]) -> tuple[R, ModuleCost]:
    """Like `counted`, in two passes: torch does not count a convolution whose kernel is computed with a graph."""
    module.requires_grad_(False)
    first = counted([module], run)[1]
    module.requires_grad_(True)
    result, kept = counted([module], run)
    return result, ModuleCost(first.macs, first.parameters, kept.kept)


_NETWORKS: dict[type[Schema], Callable[[Any], GanNetworks]] = {
    Pix2PixConfig: pix2pix.build_networks,
    SpadeConfig: spade.build_networks,
    StyleGan2Config: stylegan2.build_networks,
}


def _metric(name: str) -> Facts:
    """No facts, but a metric of a table that no evaluation reports is refused."""
    base, _, split = name.rpartition("_")
    try:
        describe(name)
    except ValueError:
        known = [f"{other}_{split if base else 'test'}" for other in metric_names()]
        raise BadKey((), f"no metric {name!r}; {closest(name, known)}") from None
    return Facts()


_BUILDERS: dict[str, Callable[[Any], Facts]] = {
    "FavaeConfig": _favae,
    "CompanionConfig": _companion,
    "Pix2PixConfig": _generator,
    "SpadeConfig": _generator,
    "StyleGan2Config": _generator,
    "CopyConfig": _copy,
    "SegmenterConfig": _segmenter,
    "CatConfig": _cat,
    "lpips": _lpips_metric,
    "metric": _metric,
}
