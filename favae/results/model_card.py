"""The card of a trained model, beside its weights: what it is, what it was made from, and what evaluations measured of it.

Written from cards and run records when a training or an evaluation of it ends. It says times and costs, so it is no output of the
job: no hash covers it, and no job depends on it.
"""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from favae.jobs.grid import Grid, Job, load_grid
from favae.jobs.terms import terms_of
from favae.results.cards import Card, read_card
from favae.results.cost import cost_of
from favae.results.run_record import RunRecord, read_record
from favae.results.trainings import facts_of
from favae.runtime import paths
from favae.runtime.files import write_text
from favae.runtime.hashes import sha256_file

log = logging.getLogger(__name__)
Locate = Callable[[Path], Path]  # where a file of `data/` lies, where that is elsewhere (`Bundle.locate`)
UNKNOWN = "unknown"
_PATIENCE = 60.0  # seconds; evaluations of one model may end at the same time


def exports_model(job: Job) -> bool:
    """Whether a job writes the weights of a trained model."""
    return any(output.name == paths.WEIGHTS for output in job.stage.outputs)


def model_card_path(job: Job) -> Path:
    """`README.md` in the folder of the weights, where the Hugging Face Hub looks."""
    return job.card.with_name(paths.MODEL_CARD)


def write_model_cards(job: Job) -> None:
    """Write the cards of the models that a finished job exported or measured. If a card cannot be written, the log says so."""
    grid = load_grid(job.scale)
    by_card = {other.card: other for other in grid}
    measured = [by_card[path] for path in job.inputs.values()] if _measures(job) else []
    for model in [job, *measured]:
        if exports_model(model):
            try:
                with FileLock(paths.model_card_lock(model.scale, model.stage.name, model.cell), timeout=_PATIENCE):
                    write_text(model_card_path(model), model_card(grid, model))
            except (OSError, ValueError, ImportError, Timeout) as error:
                log.warning("%s: its model card is not written: %s", model.name, error)


def model_card(grid: Grid, job: Job, locate: Locate = lambda path: path) -> str:
    """The page of one model, with `model-index` metadata as the Hugging Face Hub reads it.

    Raises:
        FileNotFoundError: the job has no card.
        ValueError: a card, a run record or metrics cannot be read.
    """
    from huggingface_hub import ModelCardData  # late: it imports an HTTP client

    card = read_card(locate(job.card))
    record = read_record(locate(paths.run_record(job.scale, job.stage.name, job.cell)))
    results = list(_results(grid, job, locate))
    data = ModelCardData(
        license="mit",
        library_name="favae",
        tags=["favae", job.stage.name],
        model_name=job.cell,
        eval_results=results or None,
    )
    return f"---\n{data.to_yaml().strip()}\n---\n\n" + "\n".join(_lines(grid, job, card, record, locate)) + "\n"


def _lines(grid: Grid, job: Job, card: Card, record: RunRecord | None, locate: Locate) -> Iterator[str]:
    facts = facts_of(card, _images(grid, job, locate))
    dataset = job.roles.get("dataset")
    yield f"# {job.cell}"
    yield f"Made by `favae run {job.stage.name} {job.cell} --scale {job.scale}`: {job.stage.purpose}."
    for name, output in card.outputs.items():
        if name.endswith(paths.WEIGHTS):
            yield f"- Weights: `{name}`, {output.size:,} bytes, SHA-256 `{output.sha256}`"
    yield f"- Checkpoint: {facts.text if facts else UNKNOWN}"
    terms = f" ({terms_of(grid, dataset).licence})" if dataset else ""
    yield f"- Training data: {dataset or ', '.join(job.roles.values())}{terms}"
    commit = record.git_commit if record and record.git_commit else UNKNOWN
    yield f"- Content key: `{card.key}`; git commit: `{commit}`"
    yield f"- Cost of this training: {cost_of([record]).text}; device: {record.device if record else UNKNOWN}"
    yield "- Intended use: comparison of methods. Known limits, biases and effects of other uses: unknown."
    yield "\nParameters:\n\n```json"
    yield json.dumps(card.parameters, indent=1, sort_keys=True)
    yield "```"


def _measures(job: Job) -> bool:
    return any(output.metrics for output in job.stage.outputs)


def _images(grid: Grid, job: Job, locate: Locate) -> int | None:
    """Images of the training split, where the card of the data set is here."""
    dataset = job.roles.get("dataset")
    if dataset is None:
        return None
    try:
        return read_card(locate(grid.job("prepare_dataset", dataset).card)).summary.get("counts", {}).get("train")
    except FileNotFoundError:
        return None


def _results(grid: Grid, job: Job, locate: Locate) -> Iterator[Any]:
    """Every measured metric of the evaluations of this very model; those that are not done, or of former weights, are left out."""
    from huggingface_hub import EvalResult

    own = sha256_file(locate(job.card))
    for other in grid:
        if job.card not in other.inputs.values() or not _measures(other):
            continue
        try:
            card = read_card(locate(other.card))
            metrics = json.loads((locate(other.card).parent / paths.METRICS).read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        if card.inputs.get(job.card.as_posix()) != own:
            continue
        for name, metric in metrics.items():
            if metric["value"] is not None:
                yield EvalResult(
                    task_type="text-to-image" if job.stage.name == "train_cat" else "image-to-image",
                    dataset_type=other.roles["dataset"],
                    dataset_name=other.roles["dataset"],
                    dataset_split=str(metric["protocol"].get("split", UNKNOWN)),
                    metric_type=name,
                    metric_value=metric["value"],
                )
