"""Updating MLflow from the results on disk: one valid run per content key; older runs of a cell are tagged as superseded.

Everything is read from cards, run records and curves, so a lost database is rebuilt completely, and an unreachable tracking
server affects nothing else.
"""

import logging
from typing import Any

import pandas as pd

from favae.jobs.grid import Job, load_grid
from favae.results.cards import Card, read_card
from favae.results.run_record import RunRecord, read_run_record
from favae.runtime import paths
from favae.sync.database import Run, is_kept
from favae.sync.experiment import Experiment, Unreachable, open_experiment
from favae.sync.live_runs import sync_live
from favae.sync.secrets import shown
from favae.sync.shown_run import (
    PARAM_LENGTH,
    VIEW,
    Known,
    artifacts_of,
    checkpoint_sha256,
    data_of,
    experiment_tags,
    images_of,
    metrics_of,
    params_of,
    run_name,
    tags_of,
)

log = logging.getLogger(__name__)
NOT_UPDATED = "mlflow: could not be updated"  # begins the line where nothing was done
_METRICS_A_REQUEST = 1000  # limits of the server, per request
_PARAMS_A_REQUEST = 100


def sync(scale: str | None) -> str:
    """Log every result of a scale in MLflow, and every training that is not finished; returns one line about what was done.

    An unreachable server is not an error; the line begins with `NOT_UPDATED`.
    """
    grid = load_grid(scale)
    found = [(job, *result) for job in grid if (result := _result(job)) is not None]
    uri = paths.mlflow_uri()
    if not found and not (paths.STATE / grid.scale).exists():
        return "mlflow: no results to show yet"
    try:
        with open_experiment(grid.scale, uri) as experiment:
            for name, text in experiment_tags(grid.scale, list(grid)).items():
                experiment.client.set_experiment_tag(experiment.identifier, name, text)
            known = Known(experiment.identifier, {}, {})
            added = sum(_show_if_whole(experiment, known, job, card, record) for job, card, record in found)
            live = sync_live(experiment, grid)
    except Unreachable as error:
        advice = "`favae mlflow-sync` tries again" if error.passing else "the results are whole, only this view is not"
        return f"{NOT_UPDATED} ({error}); {advice}"
    unfinished = f", {live} unfinished" if live else ""
    return f"mlflow: {added} new of {len(found)} runs{unfinished} in experiment favae-{grid.scale} ({shown(uri)})"


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


def _show_if_whole(experiment: Experiment, known: Known, job: Job, card: Card, record: RunRecord) -> bool:
    """`_show`, or a warning where a file of the result is damaged."""
    try:
        return _show(experiment, known, job, card, record)
    except ValueError as error:
        log.warning("mlflow: %s is left out: %s", job.name, error)
        return False


def _show(experiment: Experiment, known: Known, job: Job, card: Card, record: RunRecord) -> bool:
    """Log one result unless it is logged already; tag all other runs of the cell as superseded. Returns whether it was new."""
    client = experiment.client
    others = [r for r in experiment.runs.get((job.stage.name, job.cell), []) if r.tags.get("live") != "yes"]
    current = next((run for run in others if _is_whole_run_of(run, record)), None)
    for run in [run for run in others if _is_earlier_view_of(run, record)]:
        client.delete_run(run.run_id)
        others.remove(run)
    for run in others:
        if run is not current and run.tags.get("superseded") != "yes":
            client.set_tag(run.run_id, "superseded", "yes")
        if run is not current and run.status == "RUNNING":
            client.set_terminated(run.run_id, "KILLED")
    if current is None:
        known.runs[job.name] = _log(experiment, known, job, card, record)
        return True
    known.runs[job.name] = current.run_id
    known.models[job.name] = current.tags.get("model_id", "")
    if current.tags.get("superseded") == "yes":  # an earlier result was restored, from a commit or DVC's cache
        client.delete_tag(current.run_id, "superseded")
    return False


def _is_whole_run_of(run: Run, record: RunRecord) -> bool:
    tags = run.tags
    complete = tags.get("complete") == "yes" and run.status == "FINISHED" and tags.get("view") == VIEW
    whole = complete and is_kept(run.artifact_uri, paths.CARD)
    return whole and tags.get("key") == record.key and tags.get("started") == record.started


def _is_earlier_view_of(run: Run, record: RunRecord) -> bool:
    """Whether a run shows this result as an earlier version of this program did."""
    same = run.tags.get("key") == record.key and run.tags.get("started") == record.started
    return same and run.tags.get("view") != VIEW


def _log(experiment: Experiment, known: Known, job: Job, card: Card, record: RunRecord) -> str:
    from mlflow.entities import Param, RunTag

    client = experiment.client
    started, ended = (int(pd.Timestamp(t).timestamp() * 1000) for t in (record.started, record.ended))
    run_id = str(client.create_run(experiment.identifier, start_time=started, run_name=run_name(job)).info.run_id)
    client.log_batch(run_id, tags=[RunTag(k, str(v)) for k, v in tags_of(job, card, record, known).items()])
    params = [Param(k[:250], v[:PARAM_LENGTH]) for k, v in params_of(job, card)]
    for first in range(0, len(params), _PARAMS_A_REQUEST):
        client.log_batch(run_id, params=params[first : first + _PARAMS_A_REQUEST])
    about = _log_data(client, run_id, known, job, card) | _log_model(experiment, run_id, known, job, card)
    metrics = list(metrics_of(job, record, started, ended, about))
    for first in range(0, len(metrics), _METRICS_A_REQUEST):
        client.log_batch(run_id, metrics=metrics[first : first + _METRICS_A_REQUEST])
    for image, key, step in images_of(job):
        client.log_image(run_id, image, key=key, step=step, timestamp=ended, synchronous=True)
    for path, place in artifacts_of(job, record, card):
        if path.is_dir():
            client.log_artifacts(run_id, str(path), place)
        elif path.exists():
            client.log_artifact(run_id, str(path), place)
    # Last, so that a sync that is killed earlier leaves a run without this tag, which the next sync replaces.
    client.set_tag(run_id, "complete", "yes")
    client.set_terminated(run_id, "FINISHED", ended)
    return run_id


def _log_data(client: Any, run_id: str, known: Known, job: Job, card: Card) -> dict[str, str]:
    """The data set and the model that a job read, as inputs; returns to which data set its metrics belong."""
    from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelInput

    models = [known.models.get(f"{job.stage.inputs[role]}/{cell}") for role, cell in job.roles.items()]
    inputs = [LoggedModelInput(model) for model in models if model]
    data = data_of(job, card)
    if data is None:
        if inputs:
            client.log_inputs(run_id, models=inputs)
        return {}
    name, digest, profile = data
    source = f'{{"uri": "data/{job.scale}/prepare_dataset/{name}"}}'
    dataset = Dataset(name, digest, source_type="local", source=source, profile=profile)
    context = "training" if job.stage.name.startswith("train_") else job.stage.name.partition("_")[0]
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])], inputs or None)
    return {"dataset_name": name, "dataset_digest": digest}


def _log_model(experiment: Experiment, run_id: str, known: Known, job: Job, card: Card) -> dict[str, str]:
    """The model that a training made, or to which the metrics of an evaluation belong."""
    from mlflow.entities import LoggedModelOutput

    client, sha256 = experiment.client, checkpoint_sha256(card)
    if sha256 is None:
        model = next(
            (m for role, cell in job.roles.items() if (m := known.models.get(f"{job.stage.inputs[role]}/{cell}"))), ""
        )
        return {"model_id": model} if model else {}
    weights = next(path for path in card.outputs if path.endswith(".safetensors"))
    tags = {"checkpoint": weights, "checkpoint_sha256": sha256, "key": card.key, "scale": job.scale}
    model = client.create_logged_model(
        experiment.identifier, name=job.cell, source_run_id=run_id, tags=tags, model_type=job.stage.name
    ).model_id
    client.finalize_logged_model(model, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model, int(card.summary.get("best_step", 0)))])
    client.set_tag(run_id, "model_id", model)
    known.models[job.name] = model
    return {"model_id": model}
