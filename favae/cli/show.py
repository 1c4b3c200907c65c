"""Commands that show results to people: the static page."""

from pathlib import Path
from typing import Annotated

import typer


def page(
    scale: Annotated[str | None, typer.Argument(help="Scale in params/grid.yaml; default: the active one.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All published results (reports/), one page per scale.")
    ] = False,
    published: Annotated[
        bool, typer.Option("--published", help="The published results, also where there are own ones.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder of the page; default: data/SCALE/reports/page.")] = None,
) -> None:
    """Write a static page of results: tables in which each number opens its chain, images, curves, claims, terms.

    It opens from disk and asks no server. Own results (data/SCALE) are shown if there are any, otherwise the published ones.
    Photographs of data sets whose terms forbid publishing (`_terms` in params/datasets.yaml) are left out.

    Example: favae page demo
    """
    from favae.jobs.grid import load_grid
    from favae.reporting.page.build import build, default_folder
    from favae.reporting.page.source import Source
    from favae.results.bundle import Bundle

    if everything and scale:
        raise typer.BadParameter("give a scale or --all")
    if everything:
        scales = [name for name in load_grid().scales if Bundle.of(name).exists]
        sources = [Source.of(name, published=True) for name in scales]
    else:
        sources = [Source.of(scale, published=published)]
    print(build(sources, out or default_folder(None if everything else sources[0].scale)).message)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(page)
