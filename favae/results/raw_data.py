"""Whether the raw data of a prepared data set are still those that it was made from. Raw data that are not here are no change."""

import contextlib
import json
from pathlib import Path

from favae.config.dataset import DatasetConfig
from favae.data.digest import RAW_TABLE, is_there, raw_changes, stamp
from favae.jobs.grid import Job
from favae.runtime import paths
from favae.runtime.files import read_memory, write_text


def changed_raw_data(job: Job) -> list[str]:
    """One line per raw file that was added, removed or changed since a data set was prepared; empty for other stages.

    Compares names and sizes, and contents where they are cheap; no image is decoded.
    """
    if not isinstance(job.config, DatasetConfig):
        return []
    try:
        return raw_changes(job.config, _prepared(job))
    except ValueError as error:  # the layout itself no longer fits
        return [str(error)]


def is_made_from_other(job: Job, copy: Path = Path()) -> bool:
    """Whether raw data changed since the result of `job`, or its `copy` below another folder, was made. Raw data that no
    longer match the layout count as absent."""
    if not isinstance(job.config, DatasetConfig):
        return False
    try:
        return bool(raw_changes(job.config, copy / _prepared(job)))
    except ValueError:
        return False


class RawMemory:
    """The same for the start of a workflow: what was found is remembered until names, sizes or times below a folder change."""

    def __init__(self) -> None:
        self._file = paths.raw_memory()
        self._known = read_memory(self._file)

    def changes(self, job: Job) -> list[str]:
        """Like `changed_raw_data`.

        Raises:
            ValueError: the raw data no longer match the layout, such as those on a disk that is not mounted.
        """
        config, root, table = job.config, paths.raw_root(), _prepared(job) / RAW_TABLE
        if not isinstance(config, DatasetConfig) or config.layout.kind == "tiles":
            return []
        if not table.is_file() or not is_there(config, root):
            return []
        made = table.stat()
        key = [stamp(config, root), made.st_size, made.st_mtime_ns]
        known = self._known.get(job.card.as_posix())
        if isinstance(known, dict) and known.get("key") == key:
            return list(known["changes"])
        changes = raw_changes(config, _prepared(job), root)
        self._known[job.card.as_posix()] = {"key": key, "changes": changes}
        self._write()
        return changes

    def _write(self) -> None:
        with contextlib.suppress(OSError):  # read-only: not remembered
            write_text(self._file, json.dumps(self._known, indent=0, sort_keys=True) + "\n")


def _prepared(job: Job) -> Path:
    return paths.result_dir(job.scale, job.stage.name, job.cell) / paths.SHARDS
