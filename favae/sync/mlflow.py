"""Updating MLflow from the results on disk: one valid run per content key; older runs of a cell are tagged as superseded.

Everything is read from cards, run records and curves, so a lost database is rebuilt completely, and an unreachable tracking
server affects nothing else.
"""

import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from favae.jobs.grid import Job, load_grid
from favae.results.cards import Card, read_card
from favae.results.run_record import RunRecord, read_run_record
from favae.runtime import paths
from favae.runtime.hashes import sha256_file
from favae.sync.database import is_kept
from favae.sync.experiment import Experiment, Run, Unreachable, open_experiment
from favae.sync.secrets import shown

log = logging.getLogger(__name__)
_METRICS_A_REQUEST = 1000  # limits of the server, per request
_PARAMS_A_REQUEST = 100
_PARAM_LENGTH = 6000


def flatten(tree: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Leaves of nested parameters as (dotted key, text)."""
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from flatten(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, str(tree)


def sync(scale: str | None) -> str:
    """Log every result of a scale in MLflow; returns one line about what was done.

    An unreachable server is not an error; the line reports it.
    """
    grid = load_grid(scale)
    found = [(job, *result) for job in grid if (result := _result(job)) is not None]
    if not found:
        return "mlflow: no results to show yet"
    uri = paths.mlflow_uri()
    try:
        with open_experiment(grid.scale, uri) as experiment:
            added = sum(_show(experiment, job, card, record) for job, card, record in found)
    except Unreachable as error:
        advice = "`favae mlflow-sync` tries again" if error.passing else "the results are whole, only this view is not"
        return f"mlflow: could not be updated ({error}); {advice}"
    return f"mlflow: {added} new of {len(found)} runs in experiment favae-{grid.scale} ({shown(uri)})"


def _result(job: Job) -> tuple[Card, RunRecord] | None:
    """Card and run record of a cell, if both exist, are readable and have the same key; otherwise None."""
    try:
        card = read_card(job.card)
        record = read_run_record(job.scale, job.stage.name, job.cell)
    except FileNotFoundError:
        return None
    except ValueError as error:
        log.warning("mlflow: %s is left out: %s", job.name, error)
        return None
    return (card, record) if record is not None and card.key == record.key else None


def _show(experiment: Experiment, job: Job, card: Card, record: RunRecord) -> bool:
    """Log one result unless it is logged already; tag all other runs of the cell as superseded. Returns whether it was new."""
    client = experiment.client
    others = experiment.runs.get((job.stage.name, job.cell), [])
    current = next((run for run in others if _is_whole_run_of(run, record)), None)
    for run in others:
        if run is not current and run.tags.get("superseded") != "yes":
            client.set_tag(run.run_id, "superseded", "yes")
        if run is not current and run.status == "RUNNING":
            client.set_terminated(run.run_id, "KILLED")
    if current is None:
        _log(experiment, job, card, record)
    elif current.tags.get("superseded") == "yes":  # an earlier result was restored, from a commit or DVC's cache
        client.delete_tag(current.run_id, "superseded")
    return current is None


def _is_whole_run_of(run: Run, record: RunRecord) -> bool:
    tags = run.tags
    complete = tags.get("complete") == "yes" and run.status == "FINISHED"
    whole = complete and is_kept(run.artifact_uri, paths.CARD)
    return whole and tags.get("key") == record.key and tags.get("started") == record.started


def _log(experiment: Experiment, job: Job, card: Card, record: RunRecord) -> None:
    from mlflow.entities import Param, RunTag

    client = experiment.client
    started, ended = (int(pd.Timestamp(t).timestamp() * 1000) for t in (record.started, record.ended))
    run_id = client.create_run(experiment.identifier, start_time=started, run_name=job.name).info.run_id
    client.log_batch(run_id, tags=[RunTag(k, str(v)) for k, v in _tags(job, card, record).items()])
    params = [Param(k[:250], v[:_PARAM_LENGTH]) for k, v in flatten(card.parameters)]
    for first in range(0, len(params), _PARAMS_A_REQUEST):
        client.log_batch(run_id, params=params[first : first + _PARAMS_A_REQUEST])
    metrics = list(_metrics(job, record, started, ended))
    for first in range(0, len(metrics), _METRICS_A_REQUEST):
        client.log_batch(run_id, metrics=metrics[first : first + _METRICS_A_REQUEST])
    log_file = paths.log(job.scale, job.stage.name, job.cell)
    for artifact in [*record.artifacts, job.card.as_posix(), log_file.as_posix()]:
        if Path(artifact).exists():
            client.log_artifact(run_id, artifact)
    # Last, so that a sync that is killed earlier leaves a run without this tag, which the next sync replaces.
    client.set_tag(run_id, "complete", "yes")
    client.set_terminated(run_id, "FINISHED", ended)


def checkpoint_sha256(card: Card) -> str | None:
    """Hash of the weights of a result; None for a result without weights."""
    return next((o.sha256 for p, o in card.outputs.items() if p.endswith(".safetensors")), None)


def _tags(job: Job, card: Card, record: RunRecord) -> dict[str, Any]:
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
        "git_dirty": "unknown" if dirty is None else (", ".join(dirty) or "no")[:_PARAM_LENGTH],
        "host": record.host,
        "device": record.device,
        "slurm_job": record.slurm_job or "none",
        "resumed": record.resumed,
        "started": record.started,
        "constraints_sha256": record.constraints_sha256 or "none",
        "versions": ", ".join(f"{n} {v}" for n, v in record.versions.items()),
    }


def _metrics(job: Job, record: RunRecord, started: int, ended: int) -> Iterator[Any]:
    """Learning curves by step (with times spread evenly over the run), then the metrics of the result."""
    from mlflow.entities import Metric

    file = paths.curves(job.scale, job.stage.name, job.cell)
    if file.exists():
        table = pd.read_csv(file)
        last = max([1, *table["step"].astype(int)])  # a training of no step has no row
        for row in table.to_dict("records"):
            step = int(row.pop("step"))
            time = started + (ended - started) * step // last
            yield from (Metric(str(k), float(v), time, step) for k, v in row.items() if math.isfinite(v))
    yield from (Metric(f"result/{k}", v, ended, 0) for k, v in record.metrics.items() if math.isfinite(v))
    yield Metric("seconds", record.seconds, ended, 0)
