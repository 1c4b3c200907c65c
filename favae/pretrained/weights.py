"""Pretrained weights of other networks: declared in `params/weights.yaml`, searched on this machine and verified, never
downloaded.

torch.hub does not verify a file that is already in its folder, so the sha256 is checked here before the first use.
"""

import hashlib
import os
import pickle
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from favae.config.evaluation import WeightsConfig, WeightsFileConfig
from favae.config.load import read_yaml, validate
from favae.runtime import paths


class MissingWeights(FileNotFoundError):
    """Declared weights are missing on this machine, or have another hash. `reason` is a sentence for the user."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class FoundWeights:
    """A verified file and its declaration."""

    path: Path
    declared: WeightsFileConfig


def load_catalogue(path: Path | None = None) -> WeightsConfig:
    """The declared weights of `params/weights.yaml`, or of another file of the same form. Raises ConfigError."""
    path = path or paths.params_file("weights")
    return validate(WeightsConfig, read_yaml(path), str(path))


def search_folders(catalogue: WeightsConfig) -> list[Path]:
    """The folders to search, in order: the catalogue's `folder`, `$FAVAE_WEIGHTS`, torch.hub's folder of checkpoints."""
    torch_home = Path(os.environ.get("TORCH_HOME") or os.path.expanduser("~/.cache/torch"))  # noqa: PTH111  (may lack a home)
    given = [catalogue.folder, os.environ.get("FAVAE_WEIGHTS")]
    return [Path(folder) for folder in given if folder] + [torch_home / "hub" / "checkpoints"]


def find_weights(name: str, catalogue: WeightsConfig | None = None) -> FoundWeights | MissingWeights:
    """The first file declared for `name` that exists with the declared sha256, or the reason why there is none.

    Raises:
        ValueError: `name` is not in the catalogue.
    """
    catalogue = catalogue or load_catalogue()
    if name not in catalogue.weights:
        raise ValueError(f"no weights named {name!r}; available: {', '.join(catalogue.weights)}")
    refused = []
    for declared in catalogue.weights[name].files:
        for folder in search_folders(catalogue):
            path = folder / declared.file
            if not path.is_file():
                continue
            status = path.stat()
            actual = _sha256(path, status.st_size, status.st_mtime_ns)
            if actual == declared.sha256:
                return FoundWeights(path, declared)
            refused.append(f"{path} has sha256 {actual[:12]}..., expected {declared.sha256[:12]}...")
    first = catalogue.weights[name].files[0]
    if refused:
        return MissingWeights(f"weights {name} refused: {'; '.join(refused)}: fetch the file again from {first.source}")
    return MissingWeights(f"weights {first.file} missing: put the file from {first.source} into $FAVAE_WEIGHTS")


def load_weights(name: str, catalogue: WeightsConfig | None = None) -> tuple[dict[str, Tensor], WeightsFileConfig]:
    """State dict of the verified weights `name`, on the CPU, floating point tensors as float32, and the declaration of
    the file.

    Raises:
        MissingWeights: the file is missing on this machine, or is not the declared one.
        ValueError: the declared file is no archive of tensors. No code of it is run.
    """
    found = find_weights(name, catalogue)
    if isinstance(found, MissingWeights):
        raise found
    try:
        state: dict[str, Tensor] = torch.load(found.path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError, ValueError, LookupError) as error:
        reason = str(error).partition("\n")[0].partition(". ")[0]  # not torch's advice to load unsafely
        raise ValueError(
            f"{found.path} holds no tensors that can be loaded ({reason}); declare another file"
        ) from error
    return {key: t.float() if t.is_floating_point() else t for key, t in state.items()}, found.declared


@lru_cache(maxsize=64)
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    """Hex digest of a file's bytes; size and modification time are part of the cache's key."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
