"""Whether raw data changed since a data set was prepared. Raw data that are not on this machine count as unchanged."""

from favae.config.dataset import DatasetConfig
from favae.data.digest import raw_changes
from favae.jobs.grid import Job
from favae.runtime import paths


def changed_raw_data(job: Job) -> list[str]:
    """One line per raw file that was added, removed or changed since a data set was prepared; empty for other stages.

    Compares names and sizes, and contents of lists and captions; no image is decoded.
    """
    if not isinstance(job.config, DatasetConfig):
        return []
    prepared = paths.result_dir(job.scale, job.stage.name, job.cell) / paths.SHARDS
    try:
        return raw_changes(job.config, prepared)
    except ValueError as error:  # the layout itself no longer fits
        return [str(error)]
