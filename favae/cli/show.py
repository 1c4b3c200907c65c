"""Commands that show results to people: the static page, jobs while they run, a perceptual study."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from favae.results.live import Live

_SYNC_EVERY = 60.0  # seconds between two updates of MLflow


def page(
    scale: Annotated[str | None, typer.Argument(help="Scale in params/grid.yaml; default: the active one.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All published results (reports/), one page per scale.")
    ] = False,
    published: Annotated[
        bool, typer.Option("--published", help="Show the published results, even if you have your own.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder of the page; default: data/SCALE/reports/page.")] = None,
) -> None:
    """Write a static page of results: tables in which each number opens its chain, images, curves, claims, terms.

    It opens from disk and needs no server. It shows your own results (data/SCALE) if there are any, otherwise the published ones.
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


def watch(
    scale: Annotated[str | None, typer.Option(help="Scale in params/grid.yaml; default: the active one.")] = None,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two updates.")] = 5.0,
    once: Annotated[bool, typer.Option("--once", help="Print once and exit.")] = False,
    mlflow: Annotated[bool, typer.Option("--mlflow", help="Also update MLflow, once a minute.")] = False,
) -> None:
    """Show the progress, losses and newest sample images of running jobs, and why others failed or stopped.

    It only reads files that the jobs write, so compute nodes need no network. Ends when all jobs are done.

    Example: favae watch --scale demo
    """
    import time

    from favae.jobs.grid import load_grid
    from favae.results.live import Phase, look
    from favae.sync.mlflow import sync

    grid = load_grid(scale)
    synced, said = -_SYNC_EVERY, ""
    while True:
        seen = [look(grid, job) for job in grid]
        if mlflow and time.monotonic() - synced >= _SYNC_EVERY:
            said, synced = sync(grid.scale), time.monotonic()
        if sys.stdout.isatty() and not once:
            print("\x1b[H\x1b[J", end="")
        print("\n".join([*_lines(grid.scale, seen), *([said] if said else [])]), flush=True)
        if once or all(live.phase is Phase.DONE for live in seen):
            return
        time.sleep(every)


def _lines(scale: str, seen: Sequence["Live"]) -> Iterator[str]:
    """A head, one line per stage, and what runs, failed or was stopped."""
    from favae.results.live import Phase

    yield f"{scale}: " + ", ".join(f"{sum(live.phase is phase for live in seen)} {phase}" for phase in Phase)
    for stage in dict.fromkeys(live.job.stage.name for live in seen):
        own = [live for live in seen if live.job.stage.name == stage]
        done = sum(live.phase is Phase.DONE for live in own)
        yield f"  {stage:30}{'#' * round(20 * done / len(own)):.<20} {done}/{len(own)}"
    for live in seen:
        if live.phase in (Phase.RUNNING, Phase.FAILED, Phase.STOPPED):
            eta = f"ETA {live.eta}" if live.eta else ""
            losses = "  ".join(f"{name} {value:.4g}" for name, value in list(live.losses.items())[:4])
            yield "  ".join(filter(None, [f"{live.phase:8}{live.job.name}", live.progress, eta, losses]))
            if live.reason:
                yield f"          {live.reason}"
            if live.image:
                yield f"          images: {live.image}"


def study(
    scale: Annotated[str | None, typer.Argument(help="Scale in params/grid.yaml; default: the active one.")] = None,
    models: Annotated[tuple[str, str] | None, typer.Option(help="Two cells of evaluate_reconstruction.")] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Show the published results, even if you have your own.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder of the page; default: data/SCALE/reports/study.")] = None,
) -> None:
    """Write the page of a perceptual study: which of two models' reconstructions is closer to the original?

    A static page to give to participants: random order and sides, catch trials, keyboard; each participant saves a file of
    answers, and `favae study-result` evaluates them.

    Example: favae study demo --models natural-f4-vqgan-on-natural natural-f4-favae-on-natural
    """
    from favae.reporting.page.source import Source
    from favae.reporting.page.study import write_study
    from favae.runtime import paths

    source = Source.of(scale, published=published)
    folder = out or paths.report_dir(source.scale, "study")
    print(f"{folder / 'index.html'}: {write_study(source, models, folder)} trials")


def study_result(
    answers: Annotated[list[Path], typer.Argument(help="Files that participants saved.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show which model the participants of a study preferred, with an interval.

    Example: favae study-result study-*.json
    """
    import json

    from favae.reporting.page.study import preference, read_answers, summary

    result = preference(read_answers(answers))
    print(json.dumps(summary(result), indent=1) if as_json else "\n".join(result.lines()))


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(page)
    app.command()(watch)
    app.command()(study)
    app.command("study-result")(study_result)
