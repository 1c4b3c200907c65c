"""Figures on the page: copied as they were drawn, except those of photographs that may not be published, each with the steps of
the weights that it shows.
"""

import shutil
from collections.abc import Collection
from pathlib import Path

from favae.config.reporting import OF_PHOTOGRAPHS
from favae.reporting.page.source import Source
from favae.reporting.steps import about_steps
from favae.runtime import paths


def write_figures(source: Source, hidden: Collection[str], folder: Path) -> list[dict[str, str]]:
    """Copy the figures of a scale into `folder`; returns file, title and steps of each. `hidden` data sets may not be shown."""
    shown = []
    for figure in source.figures:
        path = source.file(paths.report_dir(source.scale, "figures") / f"{figure.id}.png")
        datasets = {source.dataset_of(series.run) for series in figure.series}
        if path is None or (figure.kind in OF_PHOTOGRAPHS and datasets & set(hidden)):
            continue
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / path.name)
        steps = about_steps(figure, source.results_of(figure))
        shown.append({"file": f"{folder.name}/{path.name}", "title": figure.title, "steps": steps})
    return shown
