"""After `git checkout`, `dvc checkout` or `dvc pull`: tell Snakemake about results that it did not make.

Snakemake records parameters and times of its own results in `.snakemake/`, which is local to a machine and a commit.
`snakemake --touch` marks results as current. Snakemake is then asked which of the others it would make again; a result that
is not current but that it would leave as it is loses its card.
"""

import contextlib
import logging
import os
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from favae.config.errors import ConfigError
from favae.jobs.grid import Grid, Job, load_grid
from favae.results.model_card import exports_model, model_card_path, write_model_cards
from favae.results.project_lock import ProjectBusy, project_held
from favae.results.raw_data import RawMemory
from favae.results.status import State, state_of, statuses
from favae.runtime import paths

log = logging.getLogger(__name__)
_ADOPTING = "FAVAE_ADOPTING"  # set in the Snakemake that `adopt` starts


def _is_inner() -> bool:
    """Whether `favae adopt` or `dvc repro` started this Snakemake; they see to results themselves."""
    return _ADOPTING in os.environ or "DVC_STAGE" in os.environ


def refuse_foreign(grid: Grid) -> None:
    """Stop where results of other parameters lie here that Snakemake would leave as they are ("nothing to be done").

    Such are those of a copy without hidden folders: Snakemake has no record of them, and goes by times alone. Inside
    `dvc repro`, DVC has compared them.

    Raises:
        ConfigError: naming one, and what to type.
    """
    if _is_inner():
        return
    foreign = [job for job in grid if job.card.exists() and not _has_record(job) and not _older_than_an_input(job)]
    stale = [job.name for job in foreign if state_of(job, check="sizes")[0] is not State.OK]
    if stale:
        raise ConfigError(
            f"{len(stale)} results are not current, such as {stale[0]}, and Snakemake has no record of them: favae adopt"
        )


def made_from_other_raw_data(grid: Grid) -> set[str]:
    """Cards of prepared data sets whose raw data changed since; Snakemake is told to prepare them again. Each is named in the log.

    Raises:
        ConfigError: inside `dvc repro`, which asks for something else and would use the old data.
    """
    if _ADOPTING in os.environ:
        return set()
    memory, found, asked = RawMemory(), set[str](), os.environ.get("DVC_STAGE", "").replace("@", "/")
    for job in grid:
        if job.stage.name != "prepare_dataset" or not job.card.exists():
            continue
        try:
            changes = memory.changes(job)
        except ValueError as error:
            log.warning("%s: its raw data cannot be compared with those that it was made from: %s", job.name, error)
            continue
        if changes:
            more = f" and {len(changes) - 1} more" if len(changes) > 1 else ""
            said = f"{job.name}: raw data changed ({changes[0]}{more})"
            if asked and asked != job.name:
                raise ConfigError(f"{said}; first: dvc repro --force --single-item {job.name.replace('/', '@')}")
            log.warning("%s; it is prepared again", said)
            found.add(job.card.as_posix())
    return found


def take_back_future_times(inputs: Collection[str]) -> None:
    """Give files from the future the present time: after a clock was set back, Snakemake fails every job that reads them."""
    now = time.time()
    found = {Path(name) for name in inputs} | {Path(name, ".snakemake_timestamp") for name in inputs}
    late = [path for path in sorted(found) if path.exists() and path.stat().st_mtime > now]
    for path in late:
        os.utime(path, (now, now))
    if late:
        log.warning(
            "%d files are from the future, such as %s: the clock was set back; they get the present time",
            len(late),
            late[0],
        )


def finish_killed_run(workflow: Any, scale: str) -> None:
    """When a Snakemake that had nothing to do ends: record the results of a run that was killed before it recorded them.

    With nothing to do, Snakemake calls no hook. `workflow` is its object of this name.
    """
    was_executed = workflow.executor_plugin is not None and workflow.dag is not None
    if not was_executed or workflow.dryrun or len(workflow.dag) or workflow.execution_settings.no_hooks:
        return
    if _is_inner() or not paths.unfinished_run().exists():
        return
    with contextlib.suppress(ProjectBusy), project_held():
        subprocess.run(["favae", "internal", "finish", "--scale", scale], check=False)


def _older_than_an_input(job: Job) -> bool:
    made = job.card.stat().st_mtime
    return any(path.exists() and path.stat().st_mtime > made for path in job.inputs.values())


def _has_record(job: Job) -> bool:
    name = urlsafe_b64encode(job.card.as_posix().encode()).decode()
    return any(Path(".snakemake", kind, name).exists() for kind in ("metadata", "incomplete"))


@dataclass(frozen=True)
class Adoption:
    """Results that are current and were marked as such, those that Snakemake makes again, and those that are missing."""

    adopted: list[Job]
    again: list[tuple[Job, str]]  # with the reason
    missing: list[Job]

    @property
    def message(self) -> str:
        """One line with the counts, and one line per result that is made again."""
        lines = [f"adopted {len(self.adopted)}, to be made again {len(self.again)}, missing {len(self.missing)}"]
        return "\n".join([*lines, *(f"to be made again: {job.name}: {reason}" for job, reason in self.again)])


def adopt(scale: str | None) -> Adoption:
    """Verify every result of a scale; mark those that are current, and see to it that Snakemake makes the others again.

    At most a card is removed, never a checkpoint: a cell without a card runs again even if its other files exist.

    Raises:
        ProjectBusy: Snakemake is running in this folder.
        RuntimeError: `snakemake --touch` failed.
    """
    with project_held():
        report = Adoption([], [], [])
        for job, state, reason in statuses(scale, origin=False):  # who made them is the business of `favae status`
            if state is State.OK:
                report.adopted.append(job)
            elif job.card.exists():
                report.again.append((job, reason))
            else:
                report.missing.append(job)
        grid = load_grid(scale)
        for job in report.adopted:
            if exports_model(job) and not model_card_path(job).exists():
                write_model_cards(job)
        if report.adopted:
            _snakemake(grid.scale, "--touch", "--forceall", targets=[job.card.as_posix() for job in report.adopted])
        if report.again:
            left = _left_as_they_are(grid.scale)
            for job, _ in report.again:
                if job.card.as_posix() in left:
                    job.card.unlink()
        return report


def _left_as_they_are(scale: str) -> set[str]:
    """Cards of the results that Snakemake would not make again, by its own table of plans."""
    lines = _snakemake(scale, "--summary").splitlines()
    rows = [dict(zip(lines[0].split("\t"), line.split("\t"), strict=True)) for line in lines[1:]]
    return {row["output_file"] for row in rows if row["plan"] == "no update"}


def _snakemake(scale: str, *options: str, targets: Sequence[str] = ()) -> str:
    # Not `--quiet all`, which hides errors too.
    quiet = ("--quiet", "rules", "progress", "host", "reason")
    command = [sys.executable, "-m", "snakemake", *targets, *options, "--no-hooks", "--cores", "1", *quiet]
    done = subprocess.run(
        [*command, "--config", f"scale={scale}"],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env=os.environ | {_ADOPTING: "yes"},
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "without a message").splitlines()
        raise RuntimeError(f"snakemake {options[0]} failed: {said[-1].strip()}")
    return done.stdout
