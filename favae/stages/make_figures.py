"""Stage `make_figures`: every figure of a scale, drawn from result files only."""

from typing import cast

from favae.config.reporting import FiguresConfig
from favae.jobs.grid import Job
from favae.reporting.figures import DRAW
from favae.reporting.results import Results, refuse
from favae.reporting.style import drawing, save
from favae.runtime import paths
from favae.runtime.files import replacing
from favae.stages.runner import Context


def run(job: Job, context: Context) -> None:
    """Write `reports/<scale>/figures/<figure>.png`."""
    config = cast(FiguresConfig, job.config)
    results = Results.of(job)
    refuse(job, list(config.disagreements(results.folders)))
    target = paths.report_dir(job.scale, "figures")
    with replacing(target) as folder:
        folder.mkdir()
        for figure in config.figures:
            with drawing(config.style):
                save(DRAW[figure.kind](figure, config.style, results), folder / f"{figure.id}.png")
    context.published.append(target)
    context.summary = {"figures": [figure.id for figure in config.figures]}
