"""Checkpoints: everything that a run needs to resume exactly where it stopped."""

import logging
import random
import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from favae.runtime.files import replacing

log = logging.getLogger(__name__)
_KEEP = 2
_NAME = re.compile(r"step-(\d{9})\.pt")


def rng_state() -> dict[str, Any]:
    """State of the random generators of python, numpy, torch and CUDA, in types that can be loaded without unpickling code."""
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = cast(tuple[str, np.ndarray, int, int, float], np.random.get_state())
    return {
        "python": [version, list(internal), gauss],
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_rng_state(state: dict[str, Any]) -> None:
    """Restore what `rng_state` returned. CUDA generators are restored if their number is the same."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


def checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints in a state folder, oldest first."""
    return sorted(path for path in folder.glob("step-*.pt") if _NAME.fullmatch(path.name))


def save_whole(path: Path, state: Any) -> None:
    """Write tensors to `path` atomically. Raises OSError, with advice, if they cannot be written."""
    try:
        with (
            replacing(path) as temporary,
            temporary.open("wb") as handle,
        ):  # open the file here: torch's own writer hides the reason of an error
            torch.save(state, handle)
    except OSError as error:
        raise OSError(
            f"{path} cannot be written ({error.strerror}); the previous checkpoint is intact: free some space and start again"
        ) from error


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write `step-<step>.pt` atomically, then remove all but the last two."""
    path = folder / f"step-{step:09d}.pt"
    save_whole(path, state)
    for old in checkpoints(folder)[:-_KEEP]:
        old.unlink()
    return path


def load_latest(folder: Path) -> dict[str, Any] | None:
    """The newest readable checkpoint, or None. An unreadable checkpoint is logged and the previous one is used."""
    for path in reversed(checkpoints(folder)):
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, OSError, ValueError) as error:
            log.warning("%s cannot be read (%s); trying the previous one", path, error)
    return None
