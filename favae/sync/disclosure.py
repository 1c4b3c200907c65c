"""Pages of a bundle that follow from its records: a card of each trained model, and answers to reproducibility checklists."""

from collections.abc import Iterator
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from favae.jobs.grid import Grid, Job
from favae.jobs.terms import terms_of
from favae.results.bundle import Bundle
from favae.results.cards import Card, read_card
from favae.results.cost import cost_of
from favae.results.model_card import UNKNOWN, exports_model, model_card, model_card_path
from favae.results.run_record import RunRecord, read_record
from favae.runtime import paths
from favae.runtime.files import write_text

CHECKLIST = "checklist.md"


def pages(grid: Grid, bundle: Bundle) -> dict[Path, str]:
    """Path and text of every page. Raises ValueError or FileNotFoundError where a card or record cannot be read."""
    known = [(job, read_card(bundle.locate(job.card)), _record(job, bundle)) for job in grid]
    cards = {bundle.locate(model_card_path(job)): job for job in grid if exports_model(job)}
    texts = {path: model_card(grid, job, bundle.locate) for path, job in cards.items()}
    return texts | {bundle.results / CHECKLIST: "\n".join(checklist(grid, known)) + "\n"}


def write_pages(grid: Grid, bundle: Bundle) -> None:
    """Write all pages. Raises like `pages`."""
    for path, text in pages(grid, bundle).items():
        write_text(path, text)


def is_same_page(text: str, expected: str) -> bool:
    """Whether a page says what is expected; the metadata before it may be laid out differently (another YAML writer)."""
    return _parts(text) == _parts(expected)


def _parts(text: str) -> tuple[object, str]:
    head, found, body = text.removeprefix("---\n").partition("\n---\n")
    if not found:
        return None, text
    try:
        return YAML(typ="safe", pure=True).load(head), body
    except YAMLError:
        return None, text


def _record(job: Job, bundle: Bundle) -> RunRecord | None:
    return read_record(bundle.locate(paths.run_record(job.scale, job.stage.name, job.cell)))


def checklist(grid: Grid, known: list[tuple[Job, Card, RunRecord | None]]) -> Iterator[str]:
    """Questions that NeurIPS, ICML, ICLR and CVPR ask, with answers from the records; what no record says is unknown."""
    records = [record for _, _, record in known if record]
    trained = [(job, card) for job, card, _ in known if job.stage.name.startswith("train_")]
    seeds = sorted({str(card.parameters.get("training", {}).get("seed", UNKNOWN)) for _, card in trained})
    versions = sorted({f"{name} {version}" for record in records for name, version in record.versions.items()})
    yield f"# Reproducibility checklist of the scale {grid.scale}"
    yield "\nWritten from cards and run records by `favae publish`. What no record says is unknown.\n"
    yield "| question | answer |"
    yield "|---|---|"
    yield f"| Random seeds | {', '.join(seeds) or UNKNOWN}; {len(trained)} trainings |"
    yield f"| Compute of the published results | {cost_of(record for _, _, record in known).text} |"
    for stage in dict.fromkeys(job.stage.name for job, _, _ in known):
        yield f"| - {stage} | {cost_of(record for job, _, record in known if job.stage.name == stage).text} |"
    yield "| Compute of failed and preliminary runs | unknown |"
    yield f"| Devices | {', '.join(sorted({record.device for record in records})) or UNKNOWN} |"
    yield f"| Peak memory of one process | {_memory(records)} |"
    for job, card, _ in known:
        if job.stage.name == "prepare_dataset":
            counts = ", ".join(f"{split} {count:,}" for split, count in card.summary.get("counts", {}).items())
            yield f"| Data: {job.cell} | {counts or UNKNOWN}; how it was split and resized: `{job.where}` |"
            yield f"| Licence of {job.cell} | {terms_of(grid, job.cell).licence} |"
    yield "| Licence of code and reports | MIT |"
    yield "| Hyperparameters | in every `card.json`, as they were used |"
    yield "| How hyperparameters were chosen | unknown, except where a comment in `params/` says so |"
    yield "| Selection of checkpoints | never on test; the rule is in the tables (`selection`) |"
    yield "| Intervals | 95 %: over seeds (Student's t) and over test images (bootstrap), in the tables (`seeds_*`, `images_*`) |"
    yield f"| Code | git commits {', '.join(sorted({(r.git_commit or UNKNOWN)[:12] for r in records})) or UNKNOWN} |"
    yield f"| Software | {', '.join(versions) or UNKNOWN}; all pins in `constraints.txt` |"
    yield "| Human subjects, consent, personal data in the images | unknown: see the terms of each data set |"
    yield "| Societal impact | unknown |"


def _memory(records: list[RunRecord]) -> str:
    host = [record.host_bytes for record in records if record.host_bytes]
    gpu = [record.gpu_bytes for record in records if record.gpu_bytes]
    texts = [f"{max(sizes) / 1e9:.1f} GB of {kind} memory" for kind, sizes in (("host", host), ("GPU", gpu)) if sizes]
    return ", ".join(texts) or UNKNOWN
