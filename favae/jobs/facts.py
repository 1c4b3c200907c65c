"""Facts about the networks and losses that parameters describe: whether they can be built, their costs and sizes.

`favae.jobs.building` computes them by calling the constructors in `favae.models`, `favae.losses` and `favae.text` on meta
tensors (without storage). Facts are cached in `data/state/facts.json` by a hash of parameters and sources, so that planning
imports torch only after a change. If the file is damaged or cannot be written, facts are computed again; that is no error.
"""

import importlib.metadata
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from favae.config.base import Schema
from favae.config.cat import CatConfig
from favae.config.errors import BadKey
from favae.config.segmentation import SegmenterConfig
from favae.runtime import paths
from favae.runtime.files import write_text
from favae.runtime.hashes import canonical_json, sha256_text

log = logging.getLogger(__name__)
_PACKAGE = Path(__file__).parents[1]
# Sources on which facts depend. The training modules build the networks and losses.
_SOURCES = ("models", "losses", "text", "jobs/building.py", "pretrained/lpips.py", "evaluation/protocol.py")
_TRAININGS = tuple(
    f"training/{n}.py"
    for n in ("autoencoder", "companions", "terms", "gan", "pix2pix", "spade", "stylegan2", "segmenter")
)


@dataclass(frozen=True)
class ModuleCost:
    """Cost of one module for one image (or text).

    macs: multiply-accumulates of a forward pass.
    parameters: number of parameters.
    kept: bytes of activations kept for the backward pass, in fp32.
    """

    macs: float = 0
    parameters: int = 0
    kept: float = 0

    def __add__(self, other: "ModuleCost") -> "ModuleCost":
        return ModuleCost(self.macs + other.macs, self.parameters + other.parameters, self.kept + other.kept)


@dataclass(frozen=True)
class Facts:
    """Facts for one request.

    costs: by module: `encoder`, `quantizer`, `decoder`, ... as named in `favae.jobs.building`.
    sizes: `image_size`, `image_channels`, `latent` (0 without a prior), `codes` and `latent_size` (0 without a codebook);
        for a text encoder `text_dim` and `text_tokens`.
    problem: path of the block of parameters that cannot be built, and the reason; None if everything can be built.
    """

    costs: Mapping[str, ModuleCost] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    problem: tuple[tuple[str | int, ...], str] | None = None

    def cost(self, *modules: str) -> ModuleCost:
        """Total cost of several modules; modules that do not exist cost nothing."""
        return sum((self.costs[name] for name in modules if name in self.costs), start=ModuleCost())


@dataclass(frozen=True)
class Request:
    """A request for facts: `kind` names a builder in `favae.jobs.building`, `design` is everything that the facts depend on."""

    kind: str
    design: str
    subject: Any = field(compare=False)

    @property
    def key(self) -> str:
        """Key of the facts in the cache."""
        return sha256_text(f"{self.kind} {self.design}")


def training_request(config: Schema) -> Request:
    """Request for the networks and losses of a training of an autoencoder or a generator."""
    given = config.given()
    design = canonical_json({key: given[key] for key in ("model", "discriminator", "objective") if key in given})
    return Request(type(config).__name__, design, config)


def cat_request(config: CatConfig, codes: int, side: int) -> Request:
    """Request for CAT and its text encoder, for an autoencoder with `codes` codes and a latent of `side` x `side` tokens."""
    design = {"model": config.model.given(), "text": config.text.given(), "codes": codes, "side": side}
    return Request(type(config).__name__, canonical_json(design), (config, codes, side))


def segmenter_request(config: SegmenterConfig, height: int, width: int) -> Request:
    """Request for a segmenter of images of a size."""
    return Request(
        type(config).__name__, canonical_json([config.model.given(), height, width]), (config, height, width)
    )


def lpips_request(network: str, image_size: int) -> Request:
    """Request for LPIPS as a metric."""
    return Request("lpips", canonical_json([network, image_size]), (network, image_size))


def metric_request(name: str) -> Request:
    """Request whether a metric, named with its split, exists; it has no costs."""
    return Request("metric", name, name)


_known: dict[str, Facts] = {}  # cache of this process


def facts(request: Request) -> Facts:
    """The facts for one request."""
    return gather([request])[0]


def gather(requests: Iterable[Request]) -> list[Facts]:
    """The facts for several requests, in order. Facts that are not cached are computed in this process."""
    asked = list(requests)
    wanted = {request.key: request for request in asked}
    if not wanted.keys() <= _known.keys():
        _known.update(_read())
    missing = {key: request for key, request in wanted.items() if key not in _known}
    if missing:
        log.debug("building %d networks on tensors without storage", len(missing))
        for key, request in missing.items():
            _known[key] = build(request)
        _write(_read() | _known)
    return [_known[request.key] for request in asked]


def build(request: Request) -> Facts:
    """Build what is requested on the meta device, and return its facts, or the key that its constructor refused."""
    from favae.jobs.building import build

    try:
        return build(request.kind, request.subject)
    except BadKey as error:
        return Facts(problem=(error.keys, str(error)))


@cache
def _sources() -> str:
    """Hash of everything except parameters that facts depend on: the source files and the version of torch."""
    parts = [path for name in _SOURCES for path in sorted((_PACKAGE / name).rglob("*.py")) or [_PACKAGE / name]]
    texts = [path.read_text(encoding="utf-8") for path in [*parts, *(_PACKAGE / name for name in _TRAININGS)]]
    return sha256_text("\0".join([importlib.metadata.version("torch"), *texts]))


def _read() -> dict[str, Facts]:
    """The facts in the cache file, or none if the sources have changed since."""
    try:
        tree = json.loads(paths.facts().read_text(encoding="utf-8"))
        if tree["sources"] != _sources():
            return {}
        return {key: _from_json(entry) for key, entry in tree["facts"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def _write(known: Mapping[str, Facts]) -> None:
    tree = {"sources": _sources(), "facts": {key: asdict(found) for key, found in sorted(known.items())}}
    try:
        write_text(paths.facts(), json.dumps(tree, indent=0) + "\n")
    except OSError as error:
        log.debug("the cache of facts cannot be written: %s", error)


def _from_json(entry: Mapping[str, Any]) -> Facts:
    costs = {name: ModuleCost(**cost) for name, cost in entry["costs"].items()}
    problem = entry["problem"]
    return Facts(costs, dict(entry["sizes"]), None if problem is None else (tuple(problem[0]), problem[1]))
