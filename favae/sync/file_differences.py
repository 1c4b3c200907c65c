"""What differs between two files of a result, and by how much."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from favae.results.diff import first_difference


def difference(old: Path, new: Path) -> str:
    """One short text about two files with different bytes."""
    try:
        if old.suffix == ".json":
            pair = [json.loads(path.read_text(encoding="utf-8")) for path in (old, new)]
            found = first_difference(*pair)
            return f"{found[0]} was {found[1]!r}, is {found[2]!r}" if found else "other spelling of the same values"
        before, after = _arrays(old), _arrays(new)
    except (OSError, ValueError, KeyError):
        return "other bytes"
    if odd := sorted(before.keys() ^ after.keys()):
        return f"{odd[0]} is in one of both only"
    if reshaped := [name for name in before if before[name].shape != after[name].shape]:
        name = reshaped[0]
        return f"{name} had the shape {before[name].shape}, has {after[name].shape}"
    changed = {name: _distance(before[name], after[name]) for name in before}
    changed = {name: distance for name, distance in changed.items() if distance}
    if not changed:
        return "the same values in other bytes"
    name = max(changed, key=lambda key: changed[key])
    more = f", and {len(changed) - 1} more" if len(changed) > 1 else ""
    amount = f" by up to {changed[name]:.3g}" if np.isfinite(changed[name]) else ""
    return f"{name} differs{amount}{more}"


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        return load_file(path)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    if path.suffix == ".npy":
        return {"array": np.load(path, allow_pickle=False)}
    if path.suffix == ".csv":
        frame = pd.read_csv(path)
        return {str(name): np.asarray(frame[name]) for name in frame}
    if path.suffix == ".png":
        from PIL import Image

        with Image.open(path) as image:
            return {"pixels": np.asarray(image.convert("RGBA"))}
    raise ValueError(f"{path}: of no kind that can be compared by value")


def _distance(old: np.ndarray, new: np.ndarray) -> float:
    """Largest absolute difference of arrays of one shape; infinite for texts, and NaN in one of both."""
    if not all(np.issubdtype(a.dtype, np.number) for a in (old, new)):
        return 0.0 if np.array_equal(old, new) else np.inf
    if np.array_equal(old, new, equal_nan=True):
        return 0.0
    absent = np.isnan(old) & np.isnan(new)
    gaps: Any = np.where(absent, 0.0, np.abs(old.astype(np.float64) - new.astype(np.float64)))
    return float(np.nan_to_num(gaps, nan=np.inf, posinf=np.inf).max())
