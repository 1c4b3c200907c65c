"""The fingerprint of a job: the hash of each unit of code that can affect its result, and the libraries that this code uses."""

import importlib.metadata
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from favae.config.base import Schema
from favae.config.errors import ConfigError
from favae.config.training import TrainingConfig
from favae.fingerprint.devices import unlike_elsewhere
from favae.fingerprint.modules import BODY, PACKAGE, Package, present
from favae.fingerprint.on_import import statements_on_import
from favae.fingerprint.reach import Reach
from favae.jobs.grid import Job, load_grid
from favae.runtime.hashes import canonical_json, sha256_text

Units = dict[str, dict[str, str]]  # module -> unit -> hash

SETTINGS = "parameters"  # in the place of a module: the validated parameters, with the defaults of their schema
_ALL = "all"
_BF16 = f"{PACKAGE}.runtime.bf16:ProductsInFp32"
# Import name -> distribution, of the libraries that compute, read or draw.
_LIBRARIES = {
    "PIL": "pillow",
    "lpips": "lpips",
    "matplotlib": "matplotlib",
    "numpy": "numpy",
    "open_clip": "open_clip_torch",
    "pandas": "pandas",
    "pytorch_fid": "pytorch-fid",
    "safetensors": "safetensors",
    "scipy": "scipy",
    "seaborn": "seaborn",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "torch": "torch",
    "torchmetrics": "torchmetrics",
    "torchvision": "torchvision",
}


class Code(Schema):
    """Code of a result, as its run record has it."""

    units: Units
    libraries: dict[str, str]  # distribution -> version
    on_import: dict[str, str] | None = None  # module -> hash of what runs on import; older records lack it


def code_of(job: Job, package: Package | None = None) -> Code:
    """The code that can affect the result of `job`, in the package that runs or in another version of it.

    Raises:
        LookupError: the package has no such stage.
    """
    package = package or present()
    reach = _reach(job, package)
    units: Units = {}
    for unit in sorted(reach.units):
        module, _, name = unit.partition(":")
        if (digest := package.hash(unit)) is not None:
            units.setdefault(module, {})[name] = digest
    if package is present():
        units[SETTINGS] = {_ALL: _settings(job)}
    used = sorted(_LIBRARIES[name] for name in reach.libraries & _LIBRARIES.keys())
    libraries = {name: found for name in used if (found := installed(name))}
    return Code(units=units, libraries=libraries, on_import=statements_on_import(package, job.stage.name, units))


def digest_of(units: Units) -> str:
    """A fingerprint in one short word."""
    return sha256_text(canonical_json(units))[:16]


def changed_units(units: Units, job: Job, package: Package | None = None) -> list[str]:
    """Units of a recorded fingerprint, as `module:unit`, that the package (default: the one that runs) does not have like that."""
    package = package or present()
    changed = []
    for module, inner in units.items():
        for name, digest in inner.items():
            now = _settings(job) if module == SETTINGS else package.hash(f"{module}:{name}")
            if now != digest:
                changed.append(f"{module}:{name}")
    return changed


def changed_unlike_elsewhere(units: Units, job: Job, ran: Collection[str]) -> list[str]:
    """Changed units, as `module:unit`, that do something else on another kind of device, where the functions `ran` ran here."""
    return sorted(unlike_elsewhere(present(), ran) & set(changed_units(units, job)))


def changed_on_import(code: Code | None, job: Job, before: Package | None) -> Units:
    """Statements that run on import and are not those of the recorded code, with their hashes here ("": none any more).

    Args:
        code: as the run record has it. Where it has no such statements, those of `before` are compared.
        before: the package at the commit that made the result, if git has it. Without it, only modules of which the recorded code
            has units are compared: whatever such a module executes is among its units.
    """
    units = code.units if code else code_of(job).units
    here = statements_on_import(present(), job.stage.name, units) or {}
    there = code.on_import if code and code.on_import is not None else None
    if there is None and before is not None:
        there = statements_on_import(before, job.stage.name, units)
    if there is None:
        there = {module: inner[BODY] for module, inner in units.items() if BODY in inner}
        there |= {module: digest for module, digest in here.items() if module not in units}
    modules = sorted(here.keys() | there.keys())
    return {module: {BODY: here.get(module, "")} for module in modules if here.get(module) != there.get(module)}


def readable(unit: str) -> str:
    """`module:unit` for people, as `losses.frequency.FocalFrequencyLoss.forward`."""
    module, _, name = unit.partition(":")
    if module == SETTINGS:
        return "the parameters after validation"
    short = module.removeprefix(PACKAGE + ".")
    return f"{short}, statements that run on import" if name == BODY else f"{short}.{name}"


@lru_cache(maxsize=64)
def installed(distribution: str) -> str | None:
    """Version of an installed distribution."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _reach(job: Job, package: Package) -> Reach:
    entries = [f"{PACKAGE}.stages.{job.stage.name}:run"]
    if not package.nodes(entries[0]):
        raise LookupError(f"no stage {job.stage.name!r} in this version")
    if job.parameters.get("training", {}).get("ranks", 1) > 1:
        entries.append(f"{PACKAGE}.stages.launch:train_on_ranks")
    if package.nodes(_BF16) and computes_bf16_in_fp32(job.config):
        entries.append(_BF16)
    words = {word for other in _with_upstream(job) for word in _words_of(other)}
    return Reach(package, entries, words, set(_classes(job.config)))


def computes_bf16_in_fp32(config: Schema) -> bool:
    """Whether a training with these parameters takes `runtime.bf16` on this machine; a compiled network is one operation."""
    training = getattr(config, "training", None)
    if not isinstance(training, TrainingConfig) or training.precision != "bf16" or training.compile:
        return False
    from favae.runtime.cpu import emulates_bf16  # late: it imports torch, which most jobs do not need here

    return emulates_bf16()


def _with_upstream(job: Job) -> Iterator[Job]:
    """The job and all whose results it reads, directly or not. What a collecting job reads are numbers."""
    yield job
    grid = load_grid(job.scale) if job.roles else None
    for role, cell in job.roles.items():
        assert grid is not None
        yield from _with_upstream(grid.job(job.stage.inputs[role], cell))


def _words_of(job: Job) -> Iterator[str]:
    yield from _strings(job.parameters)
    yield from _strings(job.config.model_dump(mode="json"))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from map(str, value)
        value = list(value.values())
    if isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner)
    elif isinstance(value, str):
        yield value


def _classes(value: Any) -> Iterator[str]:
    """Classes of the package of which `value`, or something in it, is an instance."""
    if isinstance(value, BaseModel):
        for kind in type(value).__mro__:
            if kind.__module__.partition(".")[0] == PACKAGE:
                yield f"{kind.__module__}:{kind.__qualname__}"
        value = [inner for _, inner in value]
    elif isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for inner in value:
            yield from _classes(inner)


def _settings(job: Job) -> str:
    """Hash of the validated parameters; "" where the schemas refuse them."""
    try:
        return sha256_text(canonical_json(job.config.model_dump(mode="json")))[:10]
    except ConfigError:
        return ""
