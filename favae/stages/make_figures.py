"""Stage `make_figures`: every figure of a scale, drawn from result files only."""

from favae.config.reporting import FiguresConfig
from favae.jobs.grid import Job
from favae.reporting.figures import DRAW
from favae.reporting.results import Results, refuse
from favae.reporting.style import drawing, save
from favae.results.publish import Outcome
from favae.runtime import paths
from favae.runtime.files import replacing
from favae.stages.context import Context, config_of


def run(job: Job, context: Context) -> Outcome:
    """Write `data/<scale>/reports/figures/<figure>.png`."""
    config = config_of(job, FiguresConfig)
    results = Results.of(job)
    refuse(job, list(config.disagreements(results.folders)))
    target = paths.report_dir(job.scale, "figures")
    with replacing(target) as folder:
        folder.mkdir()
        for figure in config.figures:
            with drawing(config.style):
                save(DRAW[figure.kind](figure, config.style, results), folder / f"{figure.id}.png")
    return Outcome({"figures": [figure.id for figure in config.figures]}, published=[target.as_posix()])
