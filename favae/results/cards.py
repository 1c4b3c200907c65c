"""Cards: a small deterministic file that identifies a result. Other jobs depend on a result through its card.

An identical rerun writes identical bytes: a card contains no time, host or order of execution.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from favae.config.base import Schema
from favae.jobs.grid import Job
from favae.runtime.files import whole_file, write_text
from favae.runtime.hash_memory import sha256_of
from favae.runtime.hashes import canonical_json, sha256_file, sha256_text

SCHEMA_VERSION = 1


class Output(Schema):
    """A file or folder of a result. A folder's hash is that of the sorted list of its files' hashes."""

    sha256: str
    size: int


class Card(Schema):
    """Content of `card.json`."""

    schema_version: int
    scale: str
    stage: str
    cell: str
    key: str
    code_version: int
    inputs: dict[str, str]  # card path -> sha256 of the card
    outputs: dict[str, Output]  # path -> hash and size
    summary: dict[str, Any]  # counts and other deterministic facts
    parameters: dict[str, Any]


# Parameters of a training that only divide the work: an interrupted training may resume with other values.
_WORKERS = ("ranks", "threads")


def content_key(job: Job, input_hashes: Mapping[str, str]) -> str:
    """Identity of a result: hash of stage, cell, parameters, `Stage.version` and the content of the input cards."""
    return hash_of(job.stage.name, job.cell, job.parameters, job.stage.version, input_hashes)


def resume_key(job: Job, input_hashes: Mapping[str, str]) -> str:
    """Identity of unfinished work: like the content key, but without the numbers of ranks and threads."""
    parameters = dict(job.parameters)
    if "training" in parameters:
        parameters["training"] = {k: v for k, v in parameters["training"].items() if k not in _WORKERS}
    return hash_of(job.stage.name, job.cell, parameters, job.stage.version, input_hashes)


def hash_of(stage: str, cell: str, parameters: Mapping[str, Any], version: int, inputs: Mapping[str, str]) -> str:
    """The rule of all keys: SHA-256 of the canonical JSON of what decides a result."""
    parts = {"stage": stage, "cell": cell, "parameters": parameters, "version": version, "inputs": dict(inputs)}
    return sha256_text(canonical_json(parts))


def input_hashes(job: Job) -> dict[str, str]:
    """SHA-256 of each input card. Raises FileNotFoundError if one is missing."""
    return {path.as_posix(): sha256_file(path) for path in job.inputs.values()}


def files_of(path: Path) -> list[Path]:
    """The files of an output: the file itself, or the files of a folder except hidden ones, which tools create."""
    if not path.is_dir():
        return [path]
    return sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(p.stat().st_size for p in files_of(path))


def describe(path: Path, *, again: bool = False) -> Output:
    """Hash and size of a file or folder. Hashes of large files are remembered; with `again`, all bytes are read."""
    if path.is_dir():
        listing = "".join(f"{sha256_of(p, again=again)}  {p.relative_to(path).as_posix()}\n" for p in files_of(path))
        return Output(sha256=sha256_text(listing), size=size_of(path))
    return Output(sha256=sha256_of(path, again=again), size=size_of(path))


def write_card(job: Job, key: str, hashes: dict[str, str], outputs: list[Path], summary: dict[str, Any]) -> Card:
    """Describe `outputs` and write the card, atomically. Call it last: a card means that the result is complete."""
    card = Card(
        schema_version=SCHEMA_VERSION,
        scale=job.scale,
        stage=job.stage.name,
        cell=job.cell,
        key=key,
        code_version=job.stage.version,
        inputs=hashes,
        outputs={path.as_posix(): describe(path) for path in outputs},
        summary=summary,
        parameters=job.parameters,
    )
    write_text(job.card, text_of(card))
    return card


def text_of(card: Card) -> str:
    """The content of its file."""
    return json.dumps(card.model_dump(), indent=1, sort_keys=True, allow_nan=False) + "\n"


def read_card(path: Path) -> Card:
    """Read a card. Raises FileNotFoundError, or ValueError naming the file if it is not a valid card."""
    try:
        card = Card.model_validate_json(whole_file(path))
    except ValidationError as error:
        raise ValueError(f"{path}: not a valid card ({error.error_count()} problems); remove it") from error
    try:
        canonical_json([card.summary, card.parameters])
    except ValueError as error:  # pydantic takes NaN and infinity for JSON
        raise ValueError(f"{path}: not a valid card ({error}); remove it") from error
    return card
