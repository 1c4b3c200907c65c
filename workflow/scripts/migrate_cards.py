"""Carry the committed cards of a scale over to today's spelling of the same parameters, without running anything again.

    python workflow/scripts/migrate_cards.py stft ffl-small

Two spellings changed: an FA-VAE says `kind: favae`, and a number without a fraction is a whole number (3.0 is 3). A
card is carried over only if its old key follows from its old content, and if its parameters, spelled anew, are those
of today's grid. Its new key and the hashes of its inputs follow by the same rules as for a new result; outputs stay
as they are. Tables name the keys of their numbers, so they are written again, from the same metrics. What was done to
each card is added to `reports/<scale>/results/migrations.json`.
"""

import argparse
import json
import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from favae.config.load import whole_numbers
from favae.jobs.grid import Grid, Job
from favae.results.cards import Card, content_key, describe, hash_of, read_card
from favae.runtime import paths
from favae.runtime.files import replacing, write_text
from favae.runtime.hashes import sha256_file
from favae.stages.make_tables import render

RECORD = "migrations.json"
REASON = "an FA-VAE says kind: favae; a number without a fraction is a whole number"


def changes(old: Any, new: Any, path: str = "") -> list[list[Any]]:
    """[dotted key, old, new] of every leaf that is spelled differently."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [c for k in sorted({*old, *new}) for c in changes(old.get(k), new.get(k), f"{path}.{k}" if path else k)]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [c for i, (a, b) in enumerate(zip(old, new, strict=True)) for c in changes(a, b, f"{path}[{i}]")]
    return [] if old == new and type(old) is type(new) else [[path, old, new]]


def respelled(card: Card) -> dict[str, Any]:
    """The parameters of a card in today's spelling."""
    parameters = whole_numbers(card.parameters)
    if card.stage == "train_autoencoder" and "kind" not in parameters["model"]:
        parameters["model"] = {"kind": "favae", **parameters["model"]}
    return parameters


def migrate(job: Job, card: Card) -> tuple[Card, dict[str, Any]]:
    """The new card and what is recorded of it. Raises ValueError where the old one does not hold or says something else."""
    if hash_of(card.stage, card.cell, card.parameters, card.code_version, card.inputs) != card.key:
        raise ValueError(f"{job.name}: the key of the committed card does not follow from its content")
    parameters = respelled(card)
    if not job.stage.collects and changes(parameters, job.parameters):
        raise ValueError(f"{job.name}: today's parameters are others: {changes(parameters, job.parameters)[:3]}")
    hashes = {path.as_posix(): sha256_file(path) for path in job.inputs.values()}
    key = content_key(job, hashes)
    outputs = {name: describe(Path(name)) for name in card.outputs} if job.stage.name == "make_tables" else card.outputs
    new = card.model_copy(
        update={
            "key": key,
            "inputs": hashes,
            "parameters": job.parameters,
            "code_version": job.version,
            "outputs": outputs,
        }
    )
    return new, {"old_key": card.key, "new_key": key, "respelled": changes(card.parameters, parameters)}


def write_tables(job: Job) -> None:
    """The tables again, from the same metrics."""
    with replacing(paths.report_dir(job.scale, "tables")) as folder:
        folder.mkdir()
        for name, text in render(job).items():
            (folder / name).write_text(text, encoding="utf-8")


def migrate_scale(project: Path, scale: str) -> None:
    """Work in a copy, where the bundle lies as results do, and bring back what has changed."""
    bundle = project / "reports" / scale / "results"
    record = bundle / RECORD
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        shutil.copytree(project / "params", "params")
        shutil.copytree(bundle, Path("data") / scale)
        shutil.copytree(project / "reports" / scale, Path("reports") / scale)
        done: dict[str, Any] = {}
        for job in Grid(scale):
            card = read_card(job.card)
            if job.stage.name == "make_tables":
                write_tables(job)
            new, done[job.name] = migrate(job, card)
            write_text(job.card, json.dumps(new.model_dump(), indent=1, sort_keys=True, allow_nan=False) + "\n")
            run = paths.run_record(scale, job.stage.name, job.cell)
            tree = json.loads(run.read_text(encoding="utf-8"))
            write_text(run, json.dumps(tree | {"key": new.key}, indent=1, sort_keys=True) + "\n")
            for path in (job.card, run):
                shutil.copy(path, bundle / path.relative_to(Path("data") / scale))
        tables = paths.report_dir(scale, "tables")
        shutil.copytree(tables, project / "reports" / scale / "tables", dirs_exist_ok=True)
        os.chdir(project)
    moved = {name: entry for name, entry in done.items() if entry["old_key"] != entry["new_key"]}
    if moved:
        before = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else []
        entry = {"date": datetime.now(UTC).date().isoformat(), "reason": REASON, "cards": moved}
        write_text(record, json.dumps([*before, entry], indent=1, sort_keys=True) + "\n")
    print(f"{scale}: {len(moved)} of {len(done)} cards carried over")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scale", nargs="+")
    for scale in parser.parse_args().scale:
        migrate_scale(Path.cwd(), scale)
