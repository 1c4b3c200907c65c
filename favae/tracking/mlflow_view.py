"""Bringing MLflow up to date with the results on disk: one finished run a content key, older ones of a cell tagged superseded.

Everything shown is read from cards, run records and curves, so a lost database is rebuilt in full, and a tracking server that is away
costs nothing but this view.
"""

import logging
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from favae import paths
from favae.config.grid import Job, load_grid
from favae.provenance.canonical import sha256_file
from favae.provenance.cards import Card, read_card
from favae.provenance.run_record import RunRecord, read_run_record

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ASYNC_LOGGING", "false")

log = logging.getLogger(__name__)
_BATCH = 1000  # metrics in one request, the server's limit
_PARAM_LENGTH = 6000


def flatten(tree: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Leaves of nested parameters as (dotted key, text)."""
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from flatten(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, str(tree)


def sync(scale: str | None) -> str:
    """Make MLflow show every result of a scale; returns a line on what was done. Never raises for an unreachable server."""
    grid = load_grid(scale)
    found = [(job, *result) for job in grid if (result := _result(job)) is not None]
    if not found:
        return "mlflow: no results to show yet"
    uri = paths.mlflow_uri()
    try:
        view = _View(uri, f"favae-{grid.scale}")
        with FileLock(paths.DATA / "state" / "mlflow.lock"):
            added = sum(view.show(job, card, record) for job, card, record in found)
    except Exception as error:  # noqa: BLE001  (MLflow raises many kinds; the view must never fail a workflow)
        log.debug("mlflow", exc_info=True)
        return f"mlflow: {uri} could not be brought up to date ({type(error).__name__}: {error}); `favae mlflow-sync` tries again"
    return f"mlflow: {added} new of {len(found)} runs in experiment favae-{grid.scale} ({uri})"


def _result(job: Job) -> tuple[Card, RunRecord] | None:
    """Card and run record of a cell, where both are there and belong together."""
    record = read_run_record(job.scale, job.stage.name, job.cell)
    if record is None or not job.card.exists():
        return None
    card = read_card(job.card)
    return (card, record) if card.key == record.key else None


class _View:
    """One experiment of a tracking server."""

    def __init__(self, uri: str, experiment: str) -> None:
        if uri.startswith("sqlite:///"):
            Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        import mlflow
        from mlflow.entities import ViewType

        self.mlflow = mlflow
        self.client = mlflow.MlflowClient(uri)
        there = self.client.get_experiment_by_name(experiment)
        artifacts = None
        if uri.startswith("sqlite:///"):
            artifacts = (paths.DATA / "mlflow" / "artifacts").absolute().as_uri()
        self.experiment = there.experiment_id if there else self.client.create_experiment(experiment, artifacts)
        # All runs at once: one request, whatever their number.
        self.runs: dict[tuple[str, str], list[Any]] = {}
        token = None
        while True:
            page = self.client.search_runs([self.experiment], run_view_type=ViewType.ACTIVE_ONLY, page_token=token)
            for run in page:
                tags = run.data.tags
                self.runs.setdefault((tags.get("stage", ""), tags.get("cell", "")), []).append(run)
            token = page.token
            if not token:
                break

    def show(self, job: Job, card: Card, record: RunRecord) -> bool:
        """Log one result unless it is there; tag every other run of the cell superseded. Returns whether it was new."""
        others = self.runs.get((job.stage.name, job.cell), [])
        current = [r for r in others if _is_current(r, record)]
        for run in others:
            if run not in current[:1] and run.data.tags.get("superseded") != "yes":
                self.client.set_tag(run.info.run_id, "superseded", "yes")
                if run.info.status == "RUNNING":
                    self.client.set_terminated(run.info.run_id, "KILLED")
        if current:
            return False
        self._log(job, card, record)
        return True

    def _log(self, job: Job, card: Card, record: RunRecord) -> None:
        from mlflow.entities import Param, RunTag

        started, ended = (int(pd.Timestamp(t).timestamp() * 1000) for t in (record.started, record.ended))
        name = f"{job.stage.name}/{job.cell}"
        run = self.client.create_run(self.experiment, start_time=started, run_name=name)
        run_id = run.info.run_id
        tags = [RunTag(k, str(v)) for k, v in _tags(job, card, record).items()]
        params = [Param(k[:250], v[:_PARAM_LENGTH]) for k, v in flatten(card.parameters)]
        for first in range(0, max(len(params), 1), 100):
            self.client.log_batch(run_id, params=params[first : first + 100], tags=tags if first == 0 else [])
        metrics = list(_metrics(job, record, started, ended))
        for first in range(0, len(metrics), _BATCH):
            self.client.log_batch(run_id, metrics=metrics[first : first + _BATCH])
        for artifact in [*record.artifacts, job.card.as_posix(), _log_file(job)]:
            if artifact and Path(artifact).exists():
                self.client.log_artifact(run_id, artifact)
        # Last: a sync that is killed before leaves a run without this tag, which the next one replaces.
        self.client.set_tag(run_id, "complete", "yes")
        self.client.set_terminated(run_id, "FINISHED", ended)


def _is_current(run: Any, record: RunRecord) -> bool:
    tags = run.data.tags
    return tags.get("key") == record.key and tags.get("started") == record.started and tags.get("complete") == "yes"


def _log_file(job: Job) -> str:
    return paths.log(job.scale, job.stage.name, job.cell).as_posix()


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
        "checkpoint_sha256": next((o.sha256 for p, o in card.outputs.items() if p.endswith(".safetensors")), "none"),
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
    """Curves by step (times spread evenly over the run), then the result's metrics."""
    from mlflow.entities import Metric

    file = paths.curves(job.scale, job.stage.name, job.cell)
    if file.exists():
        table = pd.read_csv(file)
        last = max(int(table["step"].max()), 1)
        for row in table.to_dict("records"):
            step = int(row.pop("step"))
            time = started + (ended - started) * step // last
            yield from (Metric(k, float(v), time, step) for k, v in row.items() if math.isfinite(v))
    yield from (Metric(f"result/{k}", v, ended, 0) for k, v in record.metrics.items() if math.isfinite(v))
    yield Metric("seconds", record.seconds, ended, 0)
