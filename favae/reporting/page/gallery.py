"""The gallery: example images of each evaluation beside their originals, written as PNG files, with their metrics.

Each image comes as it is, as its difference from the original, and as its log-power spectrum. Images that the terms of a data set
forbid to publish are left out, and differences from them; spectra and metrics stay.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from PIL import Image

from favae.config.dataset import DatasetTerms
from favae.evaluation.protocol import describe
from favae.jobs.terms import ORIGINALS, shows, terms_of
from favae.reporting.images import log_power
from favae.reporting.page.source import Source
from favae.reporting.results import FROM_PRIOR
from favae.results.naming import naming
from favae.runtime import paths
from favae.runtime.names import slug

_SHARED = (*ORIGINALS, "condition")  # arrays that no model made: the same for all, shown once
DIFFERENCE_PEAK = 64  # levels at which the colour of a difference ends
_PALETTE = {
    name: (np.asarray(colormaps[name](np.arange(256)))[:, :3] * 255).astype(np.uint8) for name in ("magma", "inferno")
}


@dataclass(frozen=True)
class Shown:
    """An evaluation in the gallery: its result `<stage>/<cell>` and its label."""

    name: str
    label: str


@dataclass(frozen=True)
class _Column:
    """Images of one model (or the originals) by the id of the item: uint8 [H,W,3]."""

    id: str
    label: str
    images: dict[str, np.ndarray]
    result: str
    is_shown: bool
    is_original: bool = False  # or another image that no model made


def write_gallery(source: Source, shown: list[Shown], folder: Path) -> list[dict[str, Any]]:
    """Write the images of every set into `folder/<set>/`; returns the sets for the page, in the order of `shown`.

    A set is all evaluations of one stage on one data set. Evaluations whose examples are not shipped are left out.
    """
    groups: dict[tuple[str, str], list[Shown]] = {}
    for entry in shown:
        dataset = source.dataset_of(entry.name) or "unknown"
        groups.setdefault((dataset, entry.name.partition("/")[0]), []).append(entry)
    sets = (_write_set(source, dataset, stage, entries, folder) for (dataset, stage), entries in groups.items())
    return [found for found in sets if found is not None]


def write_priors(source: Source, shown: list[Shown], folder: Path) -> list[dict[str, str]]:
    """Images decoded from the prior and over the plane of two latents, as one sheet per model and kind."""
    sheets = []
    for entry in shown:
        for kind in FROM_PRIOR:
            images = arrays_of(source, entry.name).get(kind)
            if images is not None and len(images):
                folder.mkdir(parents=True, exist_ok=True)
                name = f"{slug(entry.name)}-{kind}.png"
                Image.fromarray(_sheet(images)).save(folder / name)
                sheets.append(
                    {"label": entry.label, "kind": kind, "file": f"{folder.name}/{name}", "count": str(len(images))}
                )
    return sheets


def _sheet(images: np.ndarray) -> np.ndarray:
    """A square sheet of the first s*s images [k,H,W,3], row by row."""
    side = int(len(images) ** 0.5)
    height, width = images.shape[1:3]
    grid = images[: side * side].reshape(side, side, height, width, 3)
    return grid.swapaxes(1, 2).reshape(side * height, side * width, 3)


def _write_set(source: Source, dataset: str, stage: str, entries: list[Shown], folder: Path) -> dict[str, Any] | None:
    terms = terms_of(source.grid, dataset)
    columns, captions = _columns(source, entries, terms)
    if len(columns) < 2:
        return None
    name = slug(f"{dataset}-{stage}")
    target = folder / name
    target.mkdir(parents=True, exist_ok=True)
    original = next((column for column in columns if column.is_original and column.is_shown), columns[0])
    has_differences = original.id in ORIGINALS and not stage.startswith("generate")
    ids = list(original.images)
    scale = _spectrum_scale(original)
    for column in columns:
        for number, key in enumerate(ids):
            if key in column.images:
                reference = original.images.get(key) if column is not original and has_differences else None
                _write_views(column, number, key, reference, scale, target)
    tables = {column.result: _per_image(source, column.result) for column in columns if not column.is_original}
    return {
        "id": name,
        "title": f"{dataset}: {'samples from captions' if stage.startswith('generate') else 'held-out images'}",
        "folder": f"{folder.name}/{name}",
        "hidden": terms.publish != "all",
        "original": original.id if original.is_original else None,
        "columns": [_described(column) for column in columns],
        "size": list(next(iter(original.images.values())).shape[:2]),
        "differences": has_differences,
        "metrics": _metrics(tables),
        "total": max((len(table) for table in tables.values()), default=len(ids)) or len(ids),
        "items": [_item(number, key, captions.get(key), columns, tables) for number, key in enumerate(ids)],
        "spectra": {column.id: _radial(source, column) for column in columns if not column.is_original},
    }


def _described(column: _Column) -> dict[str, Any]:
    return {
        "id": column.id,
        "label": column.label,
        "original": column.is_original,
        "shown": column.is_shown,
        "result": column.result,
    }


def _columns(source: Source, entries: list[Shown], terms: DatasetTerms) -> tuple[list[_Column], dict[str, str]]:
    """The originals, then one column per model (and guidance scale); and the captions of the items."""
    columns: list[_Column] = []
    captions: dict[str, str] = {}
    several = len(entries) > 1
    for entry in entries:
        arrays = arrays_of(source, entry.name)
        images = {key: value for key, value in arrays.items() if value.ndim == 4 and key not in FROM_PRIOR}
        if not images:
            continue
        count = len(next(iter(images.values())))
        captions |= dict(zip(_ids(arrays, count), map(str, arrays.get("caption", ())), strict=False))
        for key, stack in images.items():
            by_id = dict(zip(_ids(arrays, count), stack, strict=True))
            original = key in _SHARED
            if original and any(column.is_original and column.id == key for column in columns):
                continue
            made = [name for name in images if name not in _SHARED]
            label = key.replace("_", " ").capitalize() if original or len(made) > 1 else entry.label
            label = f"{entry.label}, {label.lower()}" if several and len(made) > 1 and not original else label
            name = key if original else slug(f"{entry.name.partition('/')[2]}-{key}")
            columns.append(_Column(name, label, by_id, entry.name, shows(terms, key), original))
    return sorted(columns, key=lambda column: not column.is_original), captions


def _ids(arrays: dict[str, np.ndarray], count: int) -> list[str]:
    """Ids of the examples; a generation has none, its captions are numbered."""
    return [str(value) for value in arrays["id"]] if "id" in arrays else [f"{i + 1}" for i in range(count)]


def arrays_of(source: Source, name: str) -> dict[str, np.ndarray]:
    """`examples.npz` of a result, in a bundle possibly without its photographs; empty where it is not shipped."""
    stage, _, cell = name.partition("/")
    folder = paths.result_dir(source.scale, stage, cell)
    path = source.file(folder / paths.EXAMPLES) or source.file(folder / paths.GENERATED)
    if path is None:
        return {}
    with naming(path), np.load(path, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def _per_image(source: Source, name: str) -> pd.DataFrame:
    """`images.csv` of a result by id; empty where it is not shipped."""
    stage, _, cell = name.partition("/")
    path = source.file(paths.result_dir(source.scale, stage, cell) / paths.IMAGES)
    if path is None:
        return pd.DataFrame()
    with naming(path):
        return pd.read_csv(path, dtype={"id": str}).set_index("id").astype(float)


def _radial(source: Source, column: _Column) -> dict[str, list[float]]:
    """Radial spectra of an evaluation, means over its images; empty where they are not shipped."""
    stage, _, cell = column.result.partition("/")
    path = source.file(paths.result_dir(source.scale, stage, cell) / paths.SPECTRUM)
    if path is None or path.stat().st_size <= 1:
        return {}
    with naming(path):
        table = pd.read_csv(path)
        wanted = [name for name in ("radius", "original_db", "reconstruction_db", "error_db") if name in table]
        return {name: [round(float(value), 4) for value in table[name]] for name in wanted}


def _metrics(tables: dict[str, pd.DataFrame]) -> list[dict[str, str]]:
    """Metrics that every model has per image, with title, unit and direction."""
    common = [str(name) for table in tables.values() for name in table]
    found: list[dict[str, str]] = []
    for name in dict.fromkeys(common):
        if all(name in table for table in tables.values()):
            info = describe(f"{name}_test")
            found.append({"id": name, "title": info.title, "head": info.head, "unit": info.unit, "better": info.better})
    return sorted(
        found, key=lambda metric: ("psnr", "ssim").index(metric["id"]) if metric["id"] in ("psnr", "ssim") else 9
    )


def _item(
    number: int, key: str, caption: str | None, columns: list[_Column], tables: dict[str, pd.DataFrame]
) -> dict[str, Any]:
    values = {
        column.id: _finite(tables[column.result].loc[key])
        for column in columns
        if not column.is_original and key in tables[column.result].index
    }
    there = [column.id for column in columns if key in column.images]
    return {"n": number, "id": key, "caption": caption or "", "values": values, "there": there}


def _finite(row: Any) -> dict[str, float]:
    return {name: float(f"{value:.6g}") for name, value in row.items() if np.isfinite(value)}


def _spectrum_scale(column: _Column) -> tuple[float, float]:
    """Ends of the colour scale of a set's spectra (dB): percentiles of the first originals."""
    spectra = np.stack([log_power(image) for image in list(column.images.values())[:64]])
    low, high = np.percentile(spectra, [1, 99.9])
    return float(low), float(max(high, low + 1e-6))


def _write_views(
    column: _Column,
    number: int,
    key: str,
    reference: np.ndarray | None,
    scale: tuple[float, float],
    target: Path,
) -> None:
    image = column.images[key]
    low, high = scale
    spectrum = (log_power(image) - low) / (high - low)
    _coloured(spectrum, "magma").save(target / f"{number}-{column.id}-spectrum.png")
    if column.is_shown:
        Image.fromarray(image).save(target / f"{number}-{column.id}.png")
        if reference is not None and reference.shape == image.shape:
            difference = np.abs(image.astype(np.float64) - reference).mean(-1) / DIFFERENCE_PEAK
            _coloured(difference, "inferno").save(target / f"{number}-{column.id}-difference.png")


def _coloured(values_HW: np.ndarray, palette: str) -> Image.Image:
    """Values, 0 to 1 and clipped, in the colours of a palette."""
    image = Image.fromarray((np.clip(values_HW, 0, 1) * 255).round().astype(np.uint8), mode=None)
    image.putpalette(_PALETTE[palette].tobytes())
    return image


def left_out(source: Source, names: list[str]) -> Iterator[tuple[str, DatasetTerms]]:
    """Each data set whose photographs may not be published, with its terms."""
    for dataset in dict.fromkeys(filter(None, map(source.dataset_of, names))):
        terms = terms_of(source.grid, dataset)
        if terms.publish != "all":
            yield dataset, terms
