"""Stage `prepare_dataset`: write a published layout, or the shipped photographs, as shards with an index."""

from favae.config.dataset import DatasetConfig
from favae.data.prepare import prepare
from favae.jobs.grid import Job
from favae.results.publish import Outcome
from favae.runtime import paths
from favae.runtime.progress import following
from favae.stages.context import Context, config_of


def run(job: Job, context: Context) -> Outcome:
    """Write `shards/`; the counts go to the card."""
    shards = context.build / paths.SHARDS
    shards.mkdir()
    unfinished = context.state / "unfinished"
    config, shown = config_of(job, DatasetConfig), following(job.cell)
    summary = prepare(config, paths.raw_root(), shards, context.threads, shown, unfinished=unfinished)
    return Outcome(summary, metrics={f"images/{split}": float(n) for split, n in summary["counts"].items()})
