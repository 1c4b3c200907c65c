"""Versions of code that were shown to give the same bytes: `reports/same.json`, written by `favae same` and kept by git."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from favae.config.base import Schema
from favae.runtime import paths
from favae.runtime.files import whole_file, write_text

_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
_Version = Annotated[str, Field(pattern=r"^([0-9a-f]{16}|commit [0-9a-f]{40})$")]
_Date = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")]


class SameOutputs(Schema):
    """One cell: two versions of its code wrote these files alike. A version is a digest of its units, or `commit <hash>`."""

    recorded: _Version
    present: _Version
    outputs: Annotated[
        dict[str, _Sha256], Field(min_length=1)
    ]  # file -> SHA-256, of every file that the recorded code wrote
    added: tuple[str, ...] = ()  # files that only the present code writes
    like: str = ""  # the cell whose small job ran: the same code and parameters, but for seeds


class Comparison(Schema):
    """One run of `favae same`: what ran, with what, and the cells of which the outputs were the same."""

    date: _Date
    scale: str
    recorded_commit: _Commit
    present_commit: _Commit | None
    uncommitted: tuple[str, ...]  # files of the present code that no commit has
    numbers: dict[str, Any]  # parameters of the small job, merged over those of the scale, by stage
    platform: str
    versions: dict[str, str]
    cells: dict[str, SameOutputs]  # stage/cell


_File = TypeAdapter(list[Comparison])


def read(path: Path = paths.SAME) -> list[Comparison]:
    """All comparisons, oldest first. Raises ValueError naming the file if it is not a list of them."""
    try:
        return _File.validate_json(whole_file(path))
    except FileNotFoundError:
        return []
    except ValidationError as error:
        raise ValueError(
            f"{path}: not a list of comparisons ({error.error_count()} problems); `git checkout {path}`"
        ) from error


def add(new: Comparison, path: Path = paths.SAME) -> None:
    """Append one; of older ones, cells whose recorded version and cell it shows again are left out."""
    kept = []
    for old in read(path):
        again = {
            name
            for name, shown in old.cells.items()
            if old.scale == new.scale and name in new.cells and new.cells[name].recorded == shown.recorded
        }
        cells = {name: shown for name, shown in old.cells.items() if name not in again}
        if cells:
            kept.append(old.model_copy(update={"cells": cells}))
    text = json.dumps([item.model_dump(mode="json") for item in [*kept, new]], indent=1, sort_keys=True)
    write_text(path, text + "\n")


def all_shown_same(scale: str, name: str, recorded: str) -> Iterator[tuple[Comparison, SameOutputs]]:
    """Every comparison that shows another version to be the same as the recorded one, directly or through others between them."""
    links = list(_links(scale, name))
    reached = {recorded}
    while step := next(((c, s) for c, s in links if s.recorded in reached and s.present not in reached), None):
        reached.add(step[1].present)
        yield step


def _links(scale: str, name: str) -> Iterator[tuple[Comparison, SameOutputs]]:
    for comparison in read():
        if comparison.scale == scale and name in comparison.cells:
            yield comparison, comparison.cells[name]
