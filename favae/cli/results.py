"""Commands about existing results: status, recording, adoption, audit."""

from pathlib import Path
from typing import Annotated

import typer

_NOT_DECIDED = 3  # exit code of an audit; 2 is the command line's own for a wrong option
Scale = Annotated[str | None, typer.Option(help="Scale in params/grid.yaml; default: the active one.")]


def status(
    scale: Scale = None,
    fast: Annotated[bool, typer.Option("--fast", help="Compare sizes of files only; hash nothing.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Hash all files, also large ones that were not touched.")
    ] = False,
) -> None:
    """Show the state of every cell, from contents: ok, missing, stale or corrupt. Exits with 1 unless all are ok.

    A large file that was not touched since its last hash is not hashed again, except with --full. Raw data are compared by
    names and sizes with those that the data set was prepared from (not with --fast). "code changed": the result, or one of
    its inputs, was made by other code than the present one; `favae same` shows whether both give the same bytes.

    Example: favae status --scale demo
    """
    import sys

    from favae.config.errors import ConfigError
    from favae.results.status import statuses
    from favae.sync.dvc import unrecorded

    if fast and full:
        raise typer.BadParameter("--fast and --full exclude each other")
    rows = statuses(scale, check="sizes" if fast else "bytes" if full else "remembered")
    width = max(len(job.name) for job, _, _ in rows)
    bad = {state.value for _, state, _ in rows} - {"ok"}
    state_width = max(8, *(len(state.value) for _, state, _ in rows))
    made_with: dict[str, list[str]] = {}
    for job, state, reason in rows:
        if state.value == "ok" and reason:
            made_with.setdefault(reason, []).append(job.name)
            reason = ""
        print(f"{state.value:{state_width}} {job.name:{width}}  {reason}".rstrip())
    for reason, names in made_with.items():
        print(f"{len(names)} results, such as {names[0]}: {reason}; nothing shows what that changes", file=sys.stderr)
    if "raw data changed" in bad:
        print("to prepare raw data again: snakemake", file=sys.stderr)
    if "code changed" in bad:
        print("to compare the code that made them with the present one: favae same", file=sys.stderr)
    if "corrupt" in bad:
        print("corrupt results: `favae adopt` removes their cards, then `snakemake` makes them again", file=sys.stderr)
    try:
        if new := unrecorded(scale):
            print(f"results not recorded in DVC ({len(new)}, such as {new[0]}): favae lock", file=sys.stderr)
    except ConfigError as error:
        print(f"favae: {error}", file=sys.stderr)
    raise typer.Exit(1 if bad else 0)


def why(target: Annotated[str, typer.Argument(help="STAGE/CELL.")], scale: Scale = None) -> None:
    """Show why a result is not current: the first parameter that differs (old and new value), or the functions that changed.

    Example: favae why train_autoencoder/natural-f4-favae
    """
    from favae.results.diff import explain

    print(explain(target, scale))


def lock(scale: Scale = None) -> None:
    """Record valid results in dvc.lock and DVC's cache; refuse stale and corrupt ones (exit code 1).

    Example: favae lock
    """
    from favae.sync.dvc import lock_results

    report = lock_results(scale)
    print(report.message)
    raise typer.Exit(0 if report.complete else 1)


def adopt(scale: Scale = None) -> None:
    """After git checkout, dvc checkout or dvc pull: verify results, and mark the current ones as made for Snakemake.

    Example: dvc pull && favae adopt && snakemake -n
    """
    from favae.sync.snakemake import adopt as adopt_results

    print(adopt_results(scale).message)


def audit(
    target: Annotated[str | None, typer.Argument(help="TABLE/ROW/METRIC: trace one number; ROW is a cell.")] = None,
    scale: Scale = None,
) -> None:
    """Trace every number of the tables to data, parameters, code and run, and list the problems.

    Exits with 0 if everything holds, with 1 if there is a problem, and with 3 if there is none but something is not decided,
    because a commit is not here (a shallow clone, or an archive without history).

    Both your own results (data/SCALE) and the published ones (reports/SCALE) are traced. Nothing is changed, and for the
    published ones neither a network nor MLflow, DVC or weights are needed.

    Example: favae audit reconstruction/natural-f4-favae-on-natural/psnr_test
    """
    from favae.sync.audit import audits, describe, find

    results = audits(scale)
    problems = undecided = False
    for result in results:
        if target is None:
            print("\n".join([*result.lines(), f"{result.where}: {result.summary}"]))
            problems |= bool(result.problems)
            undecided |= bool(result.undecided)
            continue
        for number in find(result, target):
            print("\n".join(describe(result, number)))
            problems |= any(item.problems for item in result.chain(number))
            undecided |= any(item.remarks.undecided for item in result.chain(number))
    raise typer.Exit(1 if problems else _NOT_DECIDED if undecided else 0)


def same(
    targets: Annotated[list[str] | None, typer.Argument(help="STAGE or STAGE/CELL; default: all that changed.")] = None,
    scale: Scale = None,
    again: Annotated[
        bool, typer.Option("--again", help="Repeat the comparisons that reports/same.json records.")
    ] = False,
) -> None:
    """Show that the present code gives the same bytes as the code that made results ("code changed" in favae status).

    The recorded code, checked out at its commit, and the present code both run these jobs on the CPU of this machine, with
    their own recipes, for a few steps. If all files are the same, reports/same.json gets an entry with the evidence, and the
    results stay. Exits with 1 if a result differs or could not be compared.

    Example: favae same train_autoencoder --scale stft
    """
    from favae.sync.same import same as compare_code

    report = compare_code(targets or [], scale, lambda line: print(line, flush=True), again=again)
    print(report.message)
    raise typer.Exit(1 if report.different or report.not_compared else 0)


def publish(
    scale: Annotated[str, typer.Argument(help="Scale in params/grid.yaml.")],
    folder: Annotated[
        Path | None,
        typer.Option(
            "--from", help="Add files that the published results know by their hash only and this folder has."
        ),
    ] = None,
) -> None:
    """Make the published results (reports/SCALE) from your own (data/SCALE), whole or not at all.

    Copies cards, run records, metrics, tables and figures, and per-image values and curves up to 5 MB in git; lists all other
    files with their hashes. Refused unless every result is ok and the copy passes `favae audit`. Where data/SCALE has none,
    the published tables are written again from the published metrics. If that gives what is published, nothing is written.

    Example: favae publish demo
    """
    from favae.sync.publish import publish as publish_results

    print(publish_results(scale, folder=folder).message)


def compare(
    scale: Annotated[str, typer.Argument(help="Scale in params/grid.yaml.")],
    brief: Annotated[bool, typer.Option("--brief", help="Print the three closing lines only.")] = False,
) -> None:
    """Your own results (data/SCALE) beside the published ones (reports/SCALE): number by number, then claim by claim.

    A number is equal to the bit, within the spread over seeds, or outside of it. Of a single seed, it is within the interval
    over images or equal to rounding, or not decided. It is not comparable where nothing gives an interval, or where the two
    sides measured something else; it is not decided instead, if the two differ by more than 10%. The last line says how many
    numbers are not comparable, and which of them differs most. Exits with 0 if no number is outside or not decided and no
    claim is reversed; with 1 otherwise, or if a file is not what its card says.

    Example: favae compare demo
    """
    from favae.sync.compare import compare as beside

    result = beside(scale)
    for line in [*([] if brief else result.lines()), *result.closing()]:
        print(line)
    raise typer.Exit(0 if result.reproduced else 1)


def prune(
    scale: Scale = None, yes: Annotated[bool, typer.Option("--yes", help="Remove them; without it, only list.")] = False
) -> None:
    """List results of cells that are no longer in the grid, and unused files of state; with --yes, remove them.

    Example: favae prune --yes
    """
    from favae.results.prune import leftovers
    from favae.results.prune import prune as remove

    for path in remove(scale) if yes else leftovers(scale):
        print(f"{'removed ' if yes else ''}{path}")


def mlflow_sync(
    scale: Scale = None, quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False
) -> None:
    """Update MLflow from the results on disk (rebuilds a lost database, including curves). Exits with 1 if it cannot be updated.

    Example: MLFLOW_TRACKING_URI=http://127.0.0.1:5000 favae mlflow-sync
    """
    import sys

    from favae.sync.mlflow import NOT_UPDATED, sync

    message = sync(scale)
    if message.startswith(NOT_UPDATED):
        print(message, file=sys.stderr)
        raise typer.Exit(1)
    if not quiet:
        print(message)


def graph(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 1 if dvc.yaml is out of date.")
    ] = False,
) -> None:
    """Write dvc.yaml from params/grid.yaml, the recipes and the stages.

    Example: favae graph --check
    """
    from favae.sync.dvc_yaml import PATH, is_current, renew

    if check:
        current = is_current()
        print(f"{PATH} is up to date" if current else f"{PATH} is out of date; run favae graph")
        raise typer.Exit(0 if current else 1)
    renew()
    print(f"{PATH} is up to date")


def coverage(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 1 if the page is out of date.")
    ] = False,
) -> None:
    """Write reports/README.md: which rows of the published tables are measured, planned, and at what cost.

    Example: favae coverage --check
    """
    from favae.reporting.coverage import PAGE, current, render
    from favae.runtime.files import write_text

    if not check:
        write_text(PAGE, render())
        print(f"{PAGE}: written")
    elif current():
        print(f"{PAGE} is up to date")
    else:
        print(f"{PAGE} is out of date: run favae coverage")
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (status, why, same, lock, adopt, audit, publish, compare, coverage, prune, graph):
        app.command()(command)
    app.command("mlflow-sync")(mlflow_sync)
