"""Checkpoints: everything that a run needs to resume exactly where it stopped."""

import logging
import pickle
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import TypedDict

from favae.runtime.files import replacing, saying_what_to_do

log = logging.getLogger(__name__)
_KEEP = 2
_NAME = re.compile(r"step-(\d{9})\.pt")
# What zipfile, pickle and torch raise on bytes that are no archive, or the archive of something else.
_UNREADABLE = (
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


class Damaged(ValueError):
    """A file of a training's state that is not what was written; the message names it."""


class Checkpoint(TypedDict):
    """What a checkpoint holds."""

    step: int
    best_step: int  # 0: no model was selected yet
    best_objective: float
    resumed: int
    metrics: dict[str, float]
    pending: list[tuple[int, dict[str, float]]]
    modules: dict[str, dict[str, Any]]
    optimizers: dict[str, dict[str, Any]]
    rng: dict[str, Any]


_CHECKPOINT = TypeAdapter(Checkpoint)


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
    """Checkpoints in a state folder, oldest first."""
    return sorted(path for path in folder.glob("step-*.pt") if _NAME.fullmatch(path.name) and path.is_file())


def save_whole(path: Path, state: Any) -> None:
    """Write tensors to `path`, whole or not at all. Raises OSError saying what to do where they cannot be written."""
    with saying_what_to_do(path), replacing(path) as temporary, temporary.open("wb") as handle:
        try:
            torch.save(state, handle)
        except RuntimeError as error:  # torch's writer puts its own error over the one that says why
            raise _system_error(error) or error from error


def _system_error(error: BaseException) -> OSError | None:
    """The OSError during which `error` was raised, if there is one."""
    below = error.__cause__ or error.__context__
    while below is not None and not isinstance(below, OSError):
        below = below.__cause__ or below.__context__
    return below


def load_whole(path: Path) -> Any:
    """Read what `save_whole` wrote, onto the CPU, after comparing all bytes with the checksums of the archive.

    Raises Damaged, which names the file, where it is absent or anything else. No code of the file is run.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if bad := archive.testzip():
                raise Damaged(f"{path} is damaged: the checksum of its part {bad} is wrong")
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise Damaged(f"{path} is missing") from None
    except Damaged:
        raise
    except _UNREADABLE as error:
        reason = str(error).partition("\n")[0].partition(". ")[0] or type(error).__name__  # not torch's advice
        raise Damaged(f"{path} is damaged: expected an archive of tensors ({reason})") from error


def save_checkpoint(folder: Path, step: int, state: Checkpoint) -> Path:
    """Write `step-<step>.pt` atomically, then remove all but the last two."""
    path = folder / f"step-{step:09d}.pt"
    save_whole(path, state)
    for old in checkpoints(folder)[:-_KEEP]:
        old.unlink()
    return path


def whole_checkpoints(folder: Path) -> Iterator[tuple[Path, Checkpoint]]:
    """Checkpoints that are whole, newest first. Each one that is not is named in the log."""
    for path in reversed(checkpoints(folder)):
        try:
            yield path, _checked(path, load_whole(path))
        except Damaged as error:
            log.warning("%s; trying the checkpoint before it", error)


def _checked(path: Path, saved: Any) -> Checkpoint:
    """`saved`, if it has the fields of a checkpoint. Raises Damaged."""
    try:
        _CHECKPOINT.validate_python(saved, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or f"a {type(saved).__name__}"
        raise Damaged(f"{path} is not a checkpoint ({where}: {first['msg']})") from None
    if path.name != f"step-{saved['step']:09d}.pt":
        raise Damaged(f"{path} is the checkpoint of another step ({saved['step']})")
    return saved


def misfit(saved: Any, present: Mapping[str, Any]) -> str | None:
    """The first tensor whose name, shape or type differs between two states, in words; None where all agree."""
    if not isinstance(saved, dict):
        return f"it holds a {type(saved).__name__}"
    if names := sorted(map(str, saved.keys() ^ present.keys())):
        return f"{names[0]} is only in {'the file' if names[0] in saved else 'the network'}"
    for name, value in present.items():
        found, expected = _form(saved[name]), _form(value)
        if found != expected:
            return f"{name} is {found}, expected {expected}"
    return None


def _form(value: Any) -> str:
    """Type and shape of a tensor, in words. A tensor of another type would be rounded in silence when it is loaded."""
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"


def unfit(saved: Checkpoint, modules: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizer]) -> str | None:
    """Why a checkpoint cannot be loaded into these networks and optimisers, in words; None where it can. Changes nothing."""
    for kind, there in (("modules", modules), ("optimizers", optimizers)):
        if saved[kind].keys() != there.keys():  # type: ignore[literal-required]
            return f"{kind}: {', '.join(map(str, saved[kind]))}, expected {', '.join(there)}"  # type: ignore[literal-required]
    for name, module in modules.items():
        if problem := misfit(saved["modules"][name], module.state_dict()):
            return f"{name}: {problem}"
    for name, optimizer in optimizers.items():
        if problem := _unfit_optimizer(saved["optimizers"][name], optimizer):
            return f"{name}: {problem}"
    return _unfit_rng(saved["rng"])


def _unfit_optimizer(saved: dict[str, Any], optimizer: Optimizer) -> str | None:
    """The same for one optimiser: its groups, and moments of the shape of their parameter."""
    try:
        groups = [len(group["params"]) for group in saved["param_groups"]]
        moments = {
            index: [_form(v) for v in state.values() if _is_moment(v)] for index, state in saved["state"].items()
        }
    except (LookupError, TypeError, AttributeError) as error:
        return f"no state of an optimizer ({type(error).__name__}: {error})"
    expected = [len(group["params"]) for group in optimizer.param_groups]
    if groups != expected:
        return f"groups of {groups} parameters, expected {expected}"
    forms = dict(enumerate(_form(p) for group in optimizer.param_groups for p in group["params"]))
    wrong = [i for i, found in moments.items() if i not in forms or not {*found} <= {forms[i]}]
    return f"moments of parameter {wrong[0]} do not have its shape and type" if wrong else None


def _is_moment(value: Any) -> bool:
    """Whether a value of an optimiser's state belongs to each element of a parameter; others count steps."""
    return isinstance(value, Tensor) and value.ndim > 0


def _unfit_rng(saved: dict[str, Any]) -> str | None:
    """The same for the generators: the state is set, and the present one again."""
    before = rng_state()
    try:
        set_rng_state(saved)
    except _UNREADABLE as error:
        return f"random numbers: {type(error).__name__}: {error}"
    finally:
        set_rng_state(before)
    return None
