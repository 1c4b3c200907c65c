"""The commands. Each imports its modules when it runs, so that `favae --help` is fast."""

import io
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from favae.cli import results as contract
from favae.cli import show
from favae.cli.bench import bench
from favae.cli.generate import sample, translate
from favae.cli.plan import plan
from favae.cli.results import Scale
from favae.cli.site import site
from favae.runtime.disk import is_full

app = typer.Typer(
    name="favae",
    help="FA-VAE and CAT (CVPR 2023) as a reproducible workflow. Run in the project's root folder.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
internal = typer.Typer(help="Called by the Snakefile.", hidden=True, no_args_is_help=True)
app.add_typer(internal, name="internal")

_state = {"debug": False}
EXIT_INTERRUPTED = 75  # EX_TEMPFAIL: saved; start again to resume


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="More messages.")] = False,
) -> None:
    _state["debug"] = debug
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S"
    )
    for noisy in ("matplotlib", "PIL", "mlflow", "alembic", "urllib3", "fsspec", "dvc", "graphviz"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def entry() -> None:
    """Run the command line. An error of any kind is printed as one readable line; with `--debug`, as a traceback."""
    for stream in (sys.stdout, sys.stderr):  # no name or sign that the terminal cannot show stops a command
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app(standalone_mode=True)
    except Exception as error:
        if _state["debug"]:
            raise
        print(f"favae: {_readable(error)}", file=sys.stderr)
        sys.exit(1)


def _readable(error: BaseException) -> str:
    """The error in words, with what to do where it does not say so by itself."""
    if is_full(error) and "make room" not in str(error):
        return f"{error}; make room and start again"
    if isinstance(error, MemoryError):
        return f"there is not enough memory ({error})"
    if not isinstance(error, ValueError | OSError | RuntimeError | ArithmeticError):  # raised by no reader on purpose
        return f"{type(error).__name__}: {error}; `favae --debug COMMAND` shows where: a file is damaged, or this is a fault of favae"
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    if not isinstance(error, UnicodeEncodeError):
        return str(error)
    return f"{error.object!r}: the locale's encoding, {error.encoding}, lacks a character; set PYTHONUTF8=1"


@app.command()
def run(
    stage: Annotated[str, typer.Argument(help="Stage, as in params/grid.yaml.")],
    cell: Annotated[str, typer.Argument(help="Cell of the stage.")],
    scale: Scale = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
    log: Annotated[Path | None, typer.Option(help="Also write the messages to this file.")] = None,
) -> None:
    """Make the result of one cell (called by the rules of the workflow).

    Example: favae run train_autoencoder natural-f4-favae --scale demo
    """
    from favae.jobs.grid import load_grid
    from favae.runtime.early import note_signals

    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # read by NumPy and torch when they are imported
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("", encoding="utf-8")
        _also_into(log)
    job = load_grid(scale).job(stage, cell)
    if job.stage.resumes:
        note_signals()  # before torch is imported, which takes seconds
    from favae.results.publish import CellBusy
    from favae.runtime.slurm import describe_job, requeue
    from favae.stages.runner import run_job
    from favae.training.loop import Interrupted

    if allocation := describe_job():
        logging.getLogger(__name__).info("%s: %s", job.name, allocation)
    try:
        card = run_job(job, threads, log)
    except Interrupted as interrupted:
        logging.getLogger(__name__).warning("%s", interrupted)
        requeue()
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except CellBusy as busy:
        logging.getLogger(__name__).error("%s: %s", job.name, busy)
        raise typer.Exit(EXIT_INTERRUPTED if requeue() else 1) from None
    except Exception as error:
        logging.getLogger(__name__).error("%s: %s", job.name, _readable(error), exc_info=_state["debug"])
        raise typer.Exit(1) from None
    logging.getLogger(__name__).info("%s: done, key %s", job.name, card.key[:12])


def _also_into(log: Path) -> None:
    handler = logging.FileHandler(log, mode="a", encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger().addHandler(handler)


@app.command()
def check(scale: Scale = None) -> None:
    """Validate all parameters of a scale, before anything runs.

    Example: favae check --scale paper
    """
    from favae.jobs.grid import load_grid
    from favae.sync.dvc_yaml import renew

    grid = load_grid(scale)
    grid.check()
    renew()
    print(f"{grid.scale}: {len(grid.jobs)} jobs, parameters valid")


app.command()(plan)
app.command()(site)
app.command()(bench)


contract.register(app)
show.register(app)


@app.command()
def reconstruct(
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders that are searched for images.")],
    model: Annotated[Path, typer.Option(help="Folder with model.safetensors and config.json.")],
    out: Annotated[Path, typer.Option(help="Folder for the reconstructions (PNG).")],
) -> None:
    """Reconstruct your own images, of any size and mode.

    Each image is written to OUT/<name>.png, in the same subfolders as in the given folder. If two images would have the
    same name, the suffix or the folder is added to their names. The command stops before it writes anything if it would
    overwrite one of your images, or any file but the reconstruction of the same image with the same model. Images that
    cannot be read are reported at the end, with exit code 1.

    To limit memory, an image of more than 512 x 512 pixels (256 x 256 for a model that down-samples by 2) is cut into
    overlapping tiles of 48 x 48 latent positions (at most 512 x 512 pixels), which are blended. Normalisation and
    attention then see one tile instead of the whole image, so the values differ from those of an undivided image.

    Example: favae reconstruct photo.jpg --model data/demo/train_autoencoder/natural-f4-favae --out out
    """
    from favae.data.walk import shown
    from favae.inference.reconstruct import reconstruct_files

    problems = []
    for result in reconstruct_files(images, model, out):
        if result.target is not None:
            print(shown(result.target), flush=True)
        else:
            problems.append(f"{shown(result.source)}: {result.problem}")
    if problems:
        several = f"{len(problems)} images were not reconstructed:\n  " if len(problems) > 1 else ""
        print(f"favae: {several}" + "\n  ".join(problems), file=sys.stderr)
        raise typer.Exit(1)


app.command()(translate)
app.command()(sample)


@internal.command()
def rank(
    stage: str,
    cell: str,
    scale: Scale,
    state: Annotated[Path, typer.Option()],
    threads: Annotated[int, typer.Option()],
    log_file: Annotated[Path | None, typer.Option()] = None,
) -> None:
    """One rank of a training in several processes, started by torchrun."""
    from favae.runtime.early import note_signals

    note_signals()
    from favae.jobs.grid import load_grid
    from favae.stages.context import Context
    from favae.stages.launch import run_rank

    if log_file is not None and os.environ["RANK"] == "0":
        _also_into(log_file)
    run_rank(load_grid(scale).job(stage, cell), Context(state, state / "build", threads, log_file))


@internal.command()
def start() -> None:
    """Before the first job: record the git commit and uncommitted files."""
    from favae.results.git import write_git_record
    from favae.runtime import paths

    write_git_record()
    if "DVC_STAGE" not in os.environ:
        paths.unfinished_run().touch()


@internal.command()
def finish(scale: Scale = None) -> None:
    """After a successful run: record valid results in DVC and update MLflow."""
    from favae.runtime import paths
    from favae.sync.dvc import lock_results
    from favae.sync.mlflow import sync

    alone = "DVC_STAGE" not in os.environ  # inside `dvc repro`, DVC records the stage itself
    recorded = not alone or _attempt(
        lambda: lock_results(scale).message, "results not recorded in DVC ({}); when that is mended: favae lock"
    )
    shown = _attempt(lambda: sync(scale), "mlflow: could not be updated ({}); when that is mended: favae mlflow-sync")
    if alone and recorded and shown:  # else the next `snakemake` tries again
        paths.unfinished_run().unlink(missing_ok=True)


def _attempt(act: Callable[[], str], otherwise: str) -> bool:
    """Print what `act` says; false if it failed. The results are there, whatever happens in it: an error fails no run."""
    try:
        print(act(), file=sys.stderr)
    except Exception as error:
        logging.getLogger(__name__).debug("", exc_info=True)
        print(otherwise.format(_readable(error)), file=sys.stderr)
        return False
    return True
