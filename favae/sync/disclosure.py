"""Pages of a bundle that follow from its records: a card of each trained model, and answers to reproducibility checklists."""

import json
from collections.abc import Iterator
from typing import Any

from favae.jobs.grid import Grid, Job
from favae.jobs.terms import terms_of
from favae.results.bundle import Bundle
from favae.results.cards import Card, read_card
from favae.results.cost import cost_of
from favae.results.run_record import RunRecord, read_record
from favae.results.trainings import facts_of
from favae.runtime import paths
from favae.runtime.files import write_text

MODEL_CARD, CHECKLIST = "README.md", "checklist.md"
_WEIGHTS = "model.safetensors"
_UNKNOWN = "unknown"


def write_pages(grid: Grid, bundle: Bundle) -> None:
    """Write both kinds of pages. Raises ValueError or FileNotFoundError where a card or record cannot be read."""
    known = {job.name: (job, read_card(bundle.locate(job.card)), _record(job, bundle)) for job in grid}
    for job, card, record in known.values():
        if any(name.endswith(_WEIGHTS) for name in card.outputs):
            write_text(bundle.locate(job.card).with_name(MODEL_CARD), model_card(grid, bundle, job, card, record))
    write_text(bundle.results / CHECKLIST, "\n".join(checklist(grid, list(known.values()))) + "\n")


def _record(job: Job, bundle: Bundle) -> RunRecord | None:
    return read_record(bundle.locate(paths.run_record(job.scale, job.stage.name, job.cell)))


def model_card(grid: Grid, bundle: Bundle, job: Job, card: Card, record: RunRecord | None) -> str:
    """The page of one model, with `model-index` metadata as the Hugging Face Hub reads it."""
    from huggingface_hub import ModelCardData  # late: it imports an HTTP client

    results = list(_results(grid, bundle, job))
    data = ModelCardData(
        license="mit",
        library_name="favae",
        tags=["favae", job.stage.name],
        model_name=job.cell,
        eval_results=results or None,
    )
    facts = facts_of(card, _images(grid, bundle, job))
    dataset = job.roles.get("dataset")
    weights = {name: output for name, output in card.outputs.items() if name.endswith(_WEIGHTS)}
    lines = [
        f"# {job.cell}",
        f"Made by `favae run {job.stage.name} {job.cell} --scale {job.scale}`: {job.stage.purpose}.",
        *(f"- Weights: `{name}`, {output.size:,} bytes, SHA-256 `{output.sha256}`" for name, output in weights.items()),
        f"- Checkpoint: {facts.text if facts else _UNKNOWN}",
        f"- Training data: {dataset or ', '.join(job.roles.values())}"
        + (f" ({terms_of(grid, dataset).licence})" if dataset else ""),
        f"- Content key: `{card.key}`; git commit: `{record.git_commit if record and record.git_commit else _UNKNOWN}`",
        f"- Cost of this training: {cost_of([record]).text}; device: {record.device if record else _UNKNOWN}",
        "- Intended use: comparison of methods. Known limits, biases and effects of other uses: unknown.",
        "",
        "Parameters:",
        "",
        "```json",
        json.dumps(card.parameters, indent=1, sort_keys=True),
        "```",
    ]
    return f"---\n{data.to_yaml().strip()}\n---\n\n" + "\n".join(lines) + "\n"


def _images(grid: Grid, bundle: Bundle, job: Job) -> int | None:
    dataset = job.roles.get("dataset")
    if dataset is None:
        return None
    counts = read_card(bundle.locate(grid.job("prepare_dataset", dataset).card)).summary.get("counts", {})
    return counts.get("train")


def _results(grid: Grid, bundle: Bundle, job: Job) -> Iterator[Any]:
    """Every measured metric of the evaluations that read this model."""
    from huggingface_hub import EvalResult

    for other in grid:
        if job.card not in other.inputs.values() or not any(output.metrics for output in other.stage.outputs):
            continue
        metrics = json.loads((bundle.locate(other.card).parent / paths.METRICS).read_text(encoding="utf-8"))
        for name, metric in metrics.items():
            if metric["value"] is not None:
                yield EvalResult(
                    task_type="text-to-image" if job.stage.name == "train_cat" else "image-to-image",
                    dataset_type=other.roles["dataset"],
                    dataset_name=other.roles["dataset"],
                    dataset_split=str(metric["protocol"].get("split", _UNKNOWN)),
                    metric_type=name,
                    metric_value=metric["value"],
                )


def checklist(grid: Grid, known: list[tuple[Job, Card, RunRecord | None]]) -> Iterator[str]:
    """Questions that NeurIPS, ICML, ICLR and CVPR ask, with answers from the records; what no record says is unknown."""
    records = [record for _, _, record in known if record]
    trained = [(job, card) for job, card, _ in known if job.stage.name.startswith("train_")]
    seeds = sorted({str(card.parameters.get("training", {}).get("seed", _UNKNOWN)) for _, card in trained})
    versions = sorted({f"{name} {version}" for record in records for name, version in record.versions.items()})
    yield f"# Reproducibility checklist of the scale {grid.scale}"
    yield "\nWritten from cards and run records by `favae publish`. What no record says is unknown.\n"
    yield "| question | answer |"
    yield "|---|---|"
    yield f"| Random seeds | {', '.join(seeds) or _UNKNOWN}; {len(trained)} trainings |"
    yield f"| Compute of the published results | {cost_of(record for _, _, record in known).text} |"
    for stage in dict.fromkeys(job.stage.name for job, _, _ in known):
        yield f"| - {stage} | {cost_of(record for job, _, record in known if job.stage.name == stage).text} |"
    yield "| Compute of failed and preliminary runs | unknown |"
    yield f"| Devices | {', '.join(sorted({record.device for record in records})) or _UNKNOWN} |"
    yield f"| Peak memory of one process | {_memory(records)} |"
    for job, card, _ in known:
        if job.stage.name == "prepare_dataset":
            counts = ", ".join(f"{split} {count:,}" for split, count in card.summary.get("counts", {}).items())
            yield f"| Data: {job.cell} | {counts or _UNKNOWN}; how it was split and resized: `{job.where}` |"
            yield f"| Licence of {job.cell} | {terms_of(grid, job.cell).licence} |"
    yield "| Licence of code and reports | MIT |"
    yield "| Hyperparameters | in every `card.json`, as they were used |"
    yield "| How hyperparameters were chosen | unknown, except where a comment in `params/` says so |"
    yield "| Selection of checkpoints | never on test; the rule is in the tables (`selection`) |"
    yield "| Intervals | 95 %: over seeds (Student's t) and over test images (bootstrap), in the tables (`seeds_*`, `images_*`) |"
    yield f"| Code | git commits {', '.join(sorted({(r.git_commit or _UNKNOWN)[:12] for r in records})) or _UNKNOWN} |"
    yield f"| Software | {', '.join(versions) or _UNKNOWN}; all pins in `constraints.txt` |"
    yield "| Human subjects, consent, personal data in the images | unknown: see the terms of each data set |"
    yield "| Societal impact | unknown |"


def _memory(records: list[RunRecord]) -> str:
    host = [record.host_bytes for record in records if record.host_bytes]
    gpu = [record.gpu_bytes for record in records if record.gpu_bytes]
    texts = [f"{max(sizes) / 1e9:.1f} GB of {kind} memory" for kind, sizes in (("host", host), ("GPU", gpu)) if sizes]
    return ", ".join(texts) or _UNKNOWN
