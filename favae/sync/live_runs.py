"""Trainings that run, failed or were stopped, as runs in MLflow: curves and sample images up to now, and the reason.

Read from the files of the trainings (`favae.results.live`) by the process that syncs; a training sends nothing.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from favae.jobs.grid import Grid, Job
from favae.results.live import CURVES, Live, Phase, look, rows_after
from favae.sync.database import Run
from favae.sync.experiment import Experiment
from favae.sync.shown_run import PARAM_LENGTH, VIEW, flatten, run_name, usage_of, user

_STATUS = {Phase.RUNNING: "RUNNING", Phase.FAILED: "FAILED", Phase.STOPPED: "KILLED"}


def sync_live(experiment: Experiment, grid: Grid) -> int:
    """Bring the runs of unfinished trainings up to date and remove those of finished ones; returns how many are shown."""
    shown = 0
    for job in grid:
        runs = [run for run in experiment.runs.get((job.stage.name, job.cell), []) if run.tags.get("live") == "yes"]
        if not runs and not job.stage.name.startswith("train_"):
            continue
        live = look(grid, job)
        if live.phase not in _STATUS or not job.stage.name.startswith("train_"):
            for run in runs:
                experiment.client.delete_run(run.run_id)
            continue
        _update(experiment, job, live, runs)
        shown += 1
    return shown


def _update(experiment: Experiment, job: Job, live: Live, runs: list[Run]) -> None:
    client, state = experiment.client, live.state.name if live.state else "none"
    current = next((run for run in runs if run.tags.get("state") == state and run.tags.get("view") == VIEW), None)
    for run in runs:
        if run is not current:  # of other parameters, or as an earlier version showed it
            client.delete_run(run.run_id)
    run_id = current.run_id if current else _create(experiment, job, state)
    tags = current.tags if current else {}
    if live.state is not None and live.step:
        _log_rows(client, run_id, live.state / CURVES, tags)
    _log_samples(client, run_id, job, int(tags.get("samples", 0)))
    if live.image is not None and live.step > int(tags.get("step", 0)):
        client.log_image(run_id, _pixels(live.image), key="samples", step=live.step, synchronous=True)
    client.set_tag(run_id, "step", str(live.step))
    client.set_tag(run_id, "mlflow.note.content", _note(live))
    status = _STATUS[live.phase]
    if current is None or current.status != status:
        if status == "RUNNING":
            client.update_run(run_id, status=status)
        else:
            client.set_terminated(run_id, status)


def _create(experiment: Experiment, job: Job, state: str) -> str:
    from mlflow.entities import Param

    tags = {
        "live": "yes",
        "state": state,
        "scale": job.scale,
        "stage": job.stage.name,
        "cell": job.cell,
        "view": VIEW,
        "mlflow.source.name": f"favae run {job.stage.name} {job.cell} --scale {job.scale}",
        "mlflow.source.type": "JOB",
        "mlflow.user": user(),
    }
    run_id = experiment.client.create_run(experiment.identifier, run_name=run_name(job), tags=tags).info.run_id
    params = [Param(key[:250], value[:PARAM_LENGTH]) for key, value in flatten(job.parameters)]
    for first in range(0, len(params), 100):
        experiment.client.log_batch(run_id, params=params[first : first + 100])
    return str(run_id)


def _log_rows(client: Any, run_id: str, curves: Path, tags: Mapping[str, str]) -> None:
    """Log the rows that are new. A validation comes some time after the losses of its step: each has a last step of its own."""
    from mlflow.entities import Metric

    last = {kind: int(tags.get(f"step_{kind}", 0)) for kind in ("train", "val")}
    now, metrics, logged = int(curves.stat().st_mtime * 1000), [], dict(last)
    for step, row in rows_after(curves, min(last.values())):
        kind = next(iter(row), "").partition("/")[0]
        if step > last.get(kind, 0):
            metrics += [Metric(name, float(value), now, step) for name, value in row.items()]
            logged[kind] = step
    for start in range(0, len(metrics), 1000):
        client.log_batch(run_id, metrics=metrics[start : start + 1000])
    for kind, step in logged.items():
        client.set_tag(run_id, f"step_{kind}", str(step))


def _log_samples(client: Any, run_id: str, job: Job, after: int) -> None:
    metrics = list(usage_of(job, after=after))
    for start in range(0, len(metrics), 1000):
        client.log_batch(run_id, metrics=metrics[start : start + 1000])
    if metrics:
        client.set_tag(run_id, "samples", str(max(metric.step for metric in metrics)))


def _pixels(path: Path) -> Any:
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _note(live: Live) -> str:
    where = f"at step {live.progress}" if live.step else "before its first losses"
    more = live.reason or "brought up to date by `favae mlflow-sync` and `favae watch --mlflow`"
    return f"**{live.phase}** {where}: {more}"
