"""Saved views of an MLflow experiment: which runs and columns a reader wants first."""

import json
from collections.abc import Iterable
from typing import Any

from favae.config.reporting import TableConfig, TablesConfig
from favae.jobs.grid import Job

_TAG = "mlflow.sharedViewState."  # with an identifier, where MLflow keeps the saved views of an experiment
_MADE = 1_767_225_600_000  # milliseconds; the views come with the project, at no time of their own
_TRAININGS = ("val/objective", "train/l1", "val/l1", "val/lpips", "val/cross_entropy", "seconds")
# What MLflow's own saved views hold, without columns and filter.
_PLAIN: dict[str, Any] = {
    "orderByKey": "attributes.start_time",
    "orderByAsc": True,
    "startTime": "ALL",
    "lifecycleFilter": "Active",
    "modelVersionFilter": "All Runs",
    "datasetsFilter": [],
    "columnOrder": [],
    "columnWidths": {},
    "runsExpanded": {},
    "runsPinned": [],
    "runsHidden": [],
    "runsVisibilityMap": {},
    "runsHiddenMode": "FIRST_10_RUNS",
    "viewMaximized": False,
    "runListHidden": False,
    "isAccordionReordered": False,
    "useGroupedValuesInCharts": True,
    "hideEmptyCharts": True,
    "groupBy": None,
    "groupsExpanded": {},
    "autoRefreshEnabled": True,
    "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
}


def saved_views(jobs: Iterable[Job]) -> dict[str, str]:
    """Tags of the experiment with its saved views: trainings with their losses, and results with the metrics of the tables."""
    shown = dict.fromkeys(
        f"result/{row.key(metric)}"
        for table in tables_of(jobs)
        for row in table.rows
        for metric in table.columns
        if row.measured_by
    )
    return {
        f"{_TAG}trainings": _view("Trainings", "tags.stage LIKE 'train_%'", ["Dataset", "Models"], _TRAININGS),
        f"{_TAG}results": _view("Results", "tags.stage LIKE '%ate_%'", ["Dataset"], shown),
    }


def tables_of(jobs: Iterable[Job]) -> list[TableConfig]:
    """The tables of a scale."""
    configs = [job.config for job in jobs if job.stage.name == "make_tables"]
    return [table for config in configs if isinstance(config, TablesConfig) for table in config.tables]


def _view(name: str, search: str, attributes: Iterable[str], metrics: Iterable[str]) -> str:
    columns = [f"attributes.`{column}`" for column in attributes] + [f"metrics.`{metric}`" for metric in metrics]
    state = json.dumps(_PLAIN | {"searchFilter": search, "selectedColumns": columns})
    return json.dumps({"name": name, "createdAt": _MADE, "updatedAt": _MADE, "state": state})
