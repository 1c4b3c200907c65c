"""Stage `prepare_dataset`: a published layout, or the shipped photographs, to shards with an index."""

import os
from typing import cast

from favae.config.dataset import DatasetConfig
from favae.data.prepare import prepare
from favae.jobs.grid import Job
from favae.runtime import paths
from favae.stages.runner import Context


def run(job: Job, context: Context) -> None:
    """Write `shards/`; the counts go to the card."""
    shards = context.build / "shards"
    shards.mkdir()
    workers = int(os.environ.get("FAVAE_THREADS", os.cpu_count() or 1))
    context.summary = prepare(
        cast(DatasetConfig, job.config), paths.raw_root(), shards, workers, unfinished=context.state / "unfinished"
    )
    context.metrics = {f"images/{split}": float(n) for split, n in context.summary["counts"].items()}
