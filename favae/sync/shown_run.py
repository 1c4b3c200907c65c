"""What MLflow shows of one result: names, descriptions, parameters, metrics, data sets, models, images, tables."""

import getpass
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from PIL import Image

from favae.jobs.estimates import dataset_of
from favae.jobs.grid import Job, load_grid
from favae.results.cards import Card, read_card
from favae.results.naming import naming
from favae.results.run_record import RunRecord
from favae.runtime import paths
from favae.runtime.hashes import sha256_file
from favae.runtime.usage import read_samples
from favae.sync.views import saved_views, tables_of

VIEW = "4"  # version of what is shown: runs of another are replaced
PARAM_LENGTH = 6000
KIND = "custom_model_development"  # with this tag, MLflow opens the experiment as model training
_AS_TRAINING = "workflowType=machine_learning"  # at the end of an address: not MLflow's views for language models
_CLOCK = 1000  # milliseconds; the end in a run record is in whole seconds
_DIGEST = 36  # most characters of a data set's digest
_IMAGES = 4  # examples of an evaluation
_VERBS = {"make_tables": "tables", "make_figures": "figures"}
_DOCS = {
    "train": "workflow/docs/equations.md",
    "evaluate": "workflow/docs/structure.md",
    "prepare": "workflow/docs/data.md",
}


@dataclass(frozen=True)
class Known:
    """Where earlier results of the same sync are in MLflow: runs and models by `<stage>/<cell>`."""

    experiment: str
    runs: dict[str, str]
    models: dict[str, str]


def run_name(job: Job) -> str:
    """Names that differ in their first letters: `natural-f4-favae · train`, `natural-f4-favae · evaluate on natural`."""
    verb = _VERBS.get(job.stage.name, job.stage.name.partition("_")[0])
    model, dataset = job.roles.get("model"), job.roles.get("dataset")
    return f"{model} · {verb} on {dataset}" if job.cell == f"{model}-on-{dataset}" else f"{job.cell} · {verb}"


def experiment_tags(scale: str, jobs: list[Job]) -> dict[str, str]:
    """The kind of the experiment, its description and its saved views."""
    stages = dict.fromkeys(job.stage.name for job in jobs)
    counts = ", ".join(f"{sum(job.stage.name == stage for job in jobs)} {stage}" for stage in stages)
    note = (
        f"Scale `{scale}` of favae (`params/grid.yaml`): {counts}.\n\n"
        f"- Tables and figures: artifacts of *all · tables* and *all · figures*; `favae page {scale}` makes a page of them\n"
        f"- Where a number comes from: `favae audit --scale {scale}`; how each word is meant: `workflow/docs/structure.md`\n"
        "- Metrics `train/*` and `val/*` are learning curves by step, `result/*` what the tables show, `system/*` what the\n"
        "  processes of the job used (100 % of the processor: all threads that it was given)\n"
        "- Saved views: *Trainings* and *Results*, with the columns that matter for each\n"
        "- This view is rebuilt from result files by `favae mlflow-sync`; runs with the tag `live` are not finished"
    )
    return {"mlflow.experimentKind": KIND, "mlflow.note.content": note, **saved_views(jobs)}


def tags_of(job: Job, card: Card, record: RunRecord, known: Known) -> dict[str, Any]:
    """Tags of a run: identity, origin, and what MLflow itself reads."""
    dirty = record.git_dirty
    return {
        "scale": job.scale,
        "stage": job.stage.name,
        "cell": job.cell,
        "key": card.key,
        "card_sha256": sha256_file(job.card),
        "code_version": card.code_version,
        "data": ", ".join(f"{Path(p).parent.name}:{h[:12]}" for p, h in card.inputs.items()) or "none",
        "checkpoint_sha256": checkpoint_sha256(card) or "none",
        "git_commit": record.git_commit or "unknown",
        "git_dirty": "unknown" if dirty is None else (", ".join(dirty) or "no")[:PARAM_LENGTH],
        "host": record.host,
        "device": record.device,
        "slurm_job": record.slurm_job or "none",
        "image": record.image or "none",
        "resumed": record.resumed,
        "started": record.started,
        "constraints_sha256": record.constraints_sha256 or "none",
        "versions": ", ".join(f"{n} {v}" for n, v in record.versions.items()),
        "view": VIEW,
        "mlflow.note.content": _note(job, record, known),
        "mlflow.source.name": f"favae run {job.stage.name} {job.cell} --scale {job.scale}",
        "mlflow.source.type": "JOB",
        "mlflow.user": user(),
        **({"mlflow.source.git.commit": record.git_commit} if record.git_commit else {}),
    }


def user() -> str:
    """The user who updates MLflow; empty where the system has no name for the user, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def checkpoint_sha256(card: Card) -> str | None:
    """Hash of the weights of a result; None for a result without weights."""
    return next((o.sha256 for p, o in card.outputs.items() if p.endswith(".safetensors")), None)


def _note(job: Job, record: RunRecord, known: Known) -> str:
    """Description of a run, with links to the runs that it was made from."""
    verb = job.stage.name.partition("_")[0]
    made = [f"{role} {_link(f'{job.stage.inputs[role]}/{cell}', known)}" for role, cell in job.roles.items()]
    lines = [
        f"`{job.name}`: {job.stage.purpose}.",
        f"- Parameters: {job.where}",
        *([f"- Made from: {', '.join(made)}"] if made else []),
        f"- Made again by `snakemake --config scale={job.scale} -- {job.card}`; {record.seconds:.0f} s on {record.device}",
        *(
            [f"- Shown in the table {shown}, an artifact of {_tables_link(known)}"]
            if (shown := _tables_of(job))
            else []
        ),
        *([f"- Documentation: `{_DOCS[verb]}`"] if verb in _DOCS else []),
    ]
    return "\n".join(lines)


def _tables_of(job: Job) -> str:
    """Names of the tables that show a result."""
    tables = tables_of(load_grid(job.scale))
    return ", ".join(f"`{table.id}`" for table in tables if any(job.name in row.measured_by for row in table.rows))


def _link(name: str, known: Known) -> str:
    run = known.runs.get(name)
    return f"[{name}](#/experiments/{known.experiment}/runs/{run}?{_AS_TRAINING})" if run else f"`{name}`"


def _tables_link(known: Known) -> str:
    """The run of the tables, by a search: it is made after the runs that lead to it."""
    search = quote("tags.stage = 'make_tables'")
    return f"[all · tables](#/experiments/{known.experiment}/runs?searchFilter={search}&{_AS_TRAINING})"


def params_of(job: Job, card: Card) -> Iterator[tuple[str, str]]:
    """(dotted key, text) of each parameter. Tables and figures have none: theirs are whole files, published numbers among them."""
    return iter(()) if job.stage.collects else flatten(card.parameters)


def flatten(tree: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Leaves of nested parameters as (dotted key, text)."""
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from flatten(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, str(tree)


def metrics_of(job: Job, record: RunRecord, started: int, ended: int, about: Mapping[str, str]) -> Iterator[Any]:
    """Learning curves by step (with times spread evenly over the run), the metrics of the result, and what it took.

    `about` says which model and data set the metrics of the result belong to.
    """
    from mlflow.entities import Metric

    file = paths.curves(job.scale, job.stage.name, job.cell)
    if file.exists():
        with naming(file):
            table = pd.read_csv(file).apply(pd.to_numeric)
            last = max([1, *table["step"].astype(int)])  # a training of no step has no row
        for row in table.to_dict("records"):
            step = int(row.pop("step"))
            time = started + (ended - started) * step // last
            yield from (Metric(str(k), float(v), time, step) for k, v in row.items() if math.isfinite(v))
    yield from (Metric(f"result/{k}", v, ended, 0, **about) for k, v in record.metrics.items() if math.isfinite(v))
    yield Metric("seconds", record.seconds, ended, 0)
    for name, size in (("host", record.host_bytes), ("gpu", record.gpu_bytes)):
        if size:
            yield Metric(f"system/peak_{name}_memory_megabytes", size / 1e6, ended, 0)
    if record.gpu_seconds:
        yield Metric("system/gpu_seconds", record.gpu_seconds, ended, 0)
    if record.cpu_seconds:
        yield Metric("system/cpu_seconds", record.cpu_seconds, ended, 0)
    yield from usage_of(job, until=ended)


def usage_of(job: Job, after: int = 0, until: float = math.inf) -> Iterator[Any]:
    """System metrics of a training after the first `after` samples, up to a time in milliseconds; the step is the sample's number.

    Later samples are of another run than the result's, such as one that was pulled.
    """
    from mlflow.entities import Metric

    for step, sample in enumerate(read_samples(paths.usage(job.scale, job.stage.name, job.cell), after), after + 1):
        if (time := int(1000 * sample.pop("time"))) <= until + _CLOCK:
            yield from (Metric(f"system/{name}", value, time, step) for name, value in sample.items())


def data_of(job: Job, card: Card) -> tuple[str, str, str] | None:
    """(name, digest, profile) of the data set that a job made or read, also through codes of its images; None without one."""
    reads = bool({"dataset", "tokens"} & set(job.roles))
    if not reads and job.stage.name != "prepare_dataset":
        return None
    cell = dataset_of(load_grid(job.scale), job) if reads else job.cell
    path = paths.card(job.scale, "prepare_dataset", cell)
    if not path.exists():
        return None
    prepared = read_card(path) if reads else card
    return cell, prepared.key[:_DIGEST], json.dumps(prepared.summary.get("counts", {}))


def images_of(job: Job) -> Iterator[tuple[np.ndarray, str, int]]:
    """(uint8 [H,W,3], key, step) of the images of a result: samples of a training at its last step, examples of an evaluation."""
    folder = job.card.parent
    if (samples := folder / paths.SAMPLES).exists():
        with naming(samples), Image.open(samples) as image:
            yield np.asarray(image.convert("RGB")), "samples", int(read_card(job.card).summary.get("steps", 0))
    if (examples := folder / paths.EXAMPLES).exists():
        with naming(examples), np.load(examples, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files if file[key].ndim == 4}
        count = min((len(stack) for stack in arrays.values()), default=0)
        pairs = {key: stack for key, stack in arrays.items() if len(stack) == count}
        title = " above ".join(key.replace("_", " ") for key in pairs)
        for index in range(min(count, _IMAGES)):
            yield np.concatenate([stack[index] for stack in pairs.values()]), title, index


def artifacts_of(job: Job, record: RunRecord, card: Card) -> Iterator[tuple[Path, str | None]]:
    """(file or folder, place among the artifacts) of each artifact: card, log, images, tables, figures, metrics."""
    log = paths.log(job.scale, job.stage.name, job.cell)
    for path in [*map(Path, record.artifacts), job.card, log, job.card.parent / paths.METRICS]:
        yield path, None
    for output in job.stage.outputs:
        if output.where == "report":
            yield output.path(job.scale, job.stage.name, job.cell), output.name
