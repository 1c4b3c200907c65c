"""What is known of the networks and losses that parameters describe: whether they can be built, what they cost, their sizes.

The constructors in `favae.models`, `favae.losses` and `favae.text` decide; `favae.jobs.building` asks them, on tensors without
storage. Their answers are kept in `data/state/facts.json` by a hash of parameters and sources, so that planning imports torch
only after one of these has changed. A file that is damaged or cannot be written is no error: then nothing is kept.
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
from favae.runtime import paths
from favae.runtime.files import write_text
from favae.runtime.hashes import canonical_json, sha256_text

log = logging.getLogger(__name__)
_PACKAGE = Path(__file__).parents[1]
# What the answers follow from. A training module states which networks and losses it builds.
_SOURCES = ("models", "losses", "text", "jobs/building.py", "pretrained/lpips.py")
_TRAININGS = ("training/autoencoder.py", "training/companions.py")


@dataclass(frozen=True)
class Cost:
    """One module on one image (or text): multiply-accumulates of a forward pass, parameters, bytes kept for backward in fp32."""

    macs: float = 0
    parameters: int = 0
    kept: float = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.macs + other.macs, self.parameters + other.parameters, self.kept + other.kept)


@dataclass(frozen=True)
class Facts:
    """Answers to one request.

    costs: by module: `encoder`, `quantizer`, `decoder`, ... as named in `favae.jobs.building`.
    sizes: `image_size`, `image_channels`, `latent` (0 without a prior), `codes` and `latent_size` (0 without a codebook),
        of a text encoder `text_dim` and `text_tokens`.
    problem: path of the block of parameters that cannot be built, and why; None where all can.
    """

    costs: Mapping[str, Cost] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    problem: tuple[tuple[str | int, ...], str] | None = None

    def cost(self, *modules: str) -> Cost:
        """Of several modules together; of those that were not built, nothing."""
        return sum((self.costs[name] for name in modules if name in self.costs), start=Cost())


@dataclass(frozen=True)
class Request:
    """Something to build: `kind` names a builder in `favae.jobs.building`, `design` is all that it depends on."""

    kind: str
    design: str
    subject: Any = field(compare=False)

    @property
    def key(self) -> str:
        """Name under which the answer is kept."""
        return sha256_text(f"{self.kind} {self.design}")


def training_request(config: Schema) -> Request:
    """Networks and losses of the training of an autoencoder."""
    given = config.given()
    design = canonical_json({"model": given["model"], "objective": given["objective"]})
    return Request(type(config).__name__, design, config)


def cat_request(config: CatConfig, codes: int, side: int) -> Request:
    """CAT and its text encoder, for the codes of an autoencoder whose latent has `side` x `side` of them."""
    design = {"model": config.model.given(), "text": config.text.given(), "codes": codes, "side": side}
    return Request(type(config).__name__, canonical_json(design), (config, codes, side))


def lpips_request(network: str, image_size: int) -> Request:
    """LPIPS as a metric."""
    return Request("lpips", canonical_json([network, image_size]), (network, image_size))


_known: dict[str, Facts] = {}  # of this process


def facts(request: Request) -> Facts:
    """The answer to one request."""
    return gather([request])[0]


def gather(requests: Iterable[Request]) -> list[Facts]:
    """The answers, in order. What no earlier process has kept is built now, all of it in this one."""
    asked = list(requests)
    wanted = {request.key: request for request in asked}
    if not wanted.keys() <= _known.keys():
        _known.update(_read())
    missing = {key: request for key, request in wanted.items() if key not in _known}
    if missing:
        log.debug("building %d networks on tensors without storage", len(missing))
        for key, request in missing.items():
            _known[key] = _build(request)
        _write(_read() | _known)
    return [_known[request.key] for request in asked]


def _build(request: Request) -> Facts:
    from favae.jobs.building import build

    try:
        return build(request.kind, request.subject)
    except BadKey as error:
        return Facts(problem=(error.keys, str(error)))


@cache
def _sources() -> str:
    """Hash of all that the answers depend on beside the parameters."""
    parts = [path for name in _SOURCES for path in sorted((_PACKAGE / name).rglob("*.py")) or [_PACKAGE / name]]
    texts = [path.read_text() for path in [*parts, *(_PACKAGE / name for name in _TRAININGS)]]
    return sha256_text("\0".join([importlib.metadata.version("torch"), *texts]))


def _read() -> dict[str, Facts]:
    """What is kept, if it follows from today's sources."""
    try:
        tree = json.loads(paths.facts().read_text())
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
        log.debug("facts are not kept: %s", error)


def _from_json(entry: Mapping[str, Any]) -> Facts:
    costs = {name: Cost(**cost) for name, cost in entry["costs"].items()}
    problem = entry["problem"]
    return Facts(costs, dict(entry["sizes"]), None if problem is None else (tuple(problem[0]), problem[1]))
