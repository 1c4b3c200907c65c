"""The chain behind a number: every result that it was made from, with parameters, data, code, environment and cost."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from favae.reporting.page.source import Source

_TRAININGS = ("train_", "evaluate_", "generate_", "tokenize_", "prepare_")

# Of a run record. The hashes of its code alone are nine tenths of it; `favae why` and `favae audit` read them in the record.
_NOT_SHOWN = {"metrics", "artifacts", "code", "git_contents"}


def chain_facts(source: Source, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Facts about each of `names` and all that they were made from, by `<stage>/<cell>`."""
    facts: dict[str, dict[str, Any]] = {}
    for name in names:
        for step in source.chain(name):
            if step not in facts:
                facts[step] = _facts(source, step)
    return facts


def _facts(source: Source, name: str) -> dict[str, Any]:
    card, record = source.card(name), source.record(name)
    assert card is not None  # `Source.chain` gives only results that have one
    run = record.model_dump(exclude=_NOT_SHOWN) if record else None
    return {
        "key": card.key,
        "version": card.code_version,
        "summary": {key: value for key, value in flat(card.summary) if not isinstance(value, list | dict)},
        "parameters": {key: str(value) for key, value in flat(card.parameters)},
        "inputs": ["/".join(Path(path).parts[-3:-1]) for path in card.inputs],
        "outputs": [[path, output.sha256, output.size] for path, output in card.outputs.items()],
        "run": run,
        "command": f"snakemake --config scale={source.scale} -- {_card_path(source, name)}",
    }


def _card_path(source: Source, name: str) -> str:
    stage, _, cell = name.partition("/")
    return source.grid.job(stage, cell).card.as_posix() if (stage, cell) in source.grid.jobs else name


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of every leaf."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def differing(source: Source, rows: Mapping[str, tuple[str, ...]]) -> dict[str, dict[str, str]]:
    """Parameters in which the rows of a table differ: row -> `<stage>: <key>` -> value.

    `rows` has the evaluations of each row. Of several seeds the first is shown, and the seed is not a difference.
    """
    values = {row: dict(_parameters(source, cells[0])) if cells else {} for row, cells in rows.items()}
    known = [found for found in values.values() if found]
    keys = list(dict.fromkeys(key for found in known for key in found))
    chosen = [key for key in keys if len({found.get(key) for found in known}) > 1]
    return {row: {key: found.get(key, "–") for key in chosen} if found else {} for row, found in values.items()}


def _parameters(source: Source, name: str) -> Iterator[tuple[str, str]]:
    for step in source.chain(name):
        stage = step.partition("/")[0]
        card = source.card(step)
        if card is not None and stage.startswith(_TRAININGS):
            for key, value in flat(card.parameters):
                yield f"{stage}: {key}", str(value)
