"""Commands about results that exist: are they current, recorded, taken over, traceable."""

from typing import Annotated

import typer

Scale = Annotated[str | None, typer.Option(help="Scale in params/grid.yaml; default: the active one.")]


def status(
    scale: Scale = None,
    fast: Annotated[bool, typer.Option("--fast", help="Trust file sizes, do not hash large files.")] = False,
) -> None:
    """State of every cell, from contents: ok, missing, stale or corrupt. Exits 1 unless all are ok.

    Example: favae status --scale demo
    """
    import sys

    from favae.config.errors import ConfigError
    from favae.results.status import statuses
    from favae.sync.dvc import unrecorded

    rows = statuses(scale, verify_bytes=not fast)
    width = max(len(job.name) for job, _, _ in rows)
    for job, state, reason in rows:
        print(f"{state.value:8} {job.name:{width}}  {reason}".rstrip())
    bad = {state.value for _, state, _ in rows} - {"ok"}
    if "corrupt" in bad:
        print("corrupt results: `favae adopt` removes their cards, then `snakemake` makes them again", file=sys.stderr)
    try:
        if new := unrecorded(scale):
            print(f"results not recorded in DVC ({len(new)}, such as {new[0]}): favae lock", file=sys.stderr)
    except ConfigError as error:
        print(f"favae: {error}", file=sys.stderr)
    raise typer.Exit(1 if bad else 0)


def why(target: Annotated[str, typer.Argument(help="STAGE/CELL.")], scale: Scale = None) -> None:
    """First field in which a result differs from what the parameters now ask for (old and new value).

    Example: favae why train_autoencoder/natural-f4-favae
    """
    from favae.results.diff import explain

    print(explain(target, scale))


def lock(scale: Scale = None) -> None:
    """Record valid results in dvc.lock and DVC's cache; refuses stale and corrupt ones (exit code 1).

    Example: favae lock
    """
    from favae.sync.dvc import lock_results

    report = lock_results(scale)
    print(report.message)
    raise typer.Exit(0 if report.complete else 1)


def adopt(scale: Scale = None) -> None:
    """After git checkout, dvc checkout or dvc pull: verify results, let Snakemake take over what is current.

    Example: dvc pull && favae adopt && snakemake -n
    """
    from favae.sync.snakemake import adopt as adopt_results

    print(adopt_results(scale).message)


def audit(
    target: Annotated[str | None, typer.Argument(help="TABLE/ROW/METRIC: print one chain; ROW is a cell.")] = None,
    scale: Scale = None,
) -> None:
    """Trace every number of the tables to data, parameters, code and run. Exits 1 and names what does not hold.

    Example: favae audit reconstruction/natural-f4-favae-on-natural/psnr_test
    """
    from favae.sync.audit import audit as walk
    from favae.sync.audit import describe, find

    result = walk(scale)
    if target is not None:
        numbers = find(result, target)
        for number in numbers:
            print("\n".join(describe(result, number)))
        raise typer.Exit(1 if any(item.problems for n in numbers for item in result.chain(n)) else 0)
    for problem in result.problems:
        print(problem)
    print(f"{len(result.numbers)} numbers, {len(result.evidence)} results, {len(result.problems)} problems")
    raise typer.Exit(1 if result.problems else 0)


def prune(
    scale: Scale = None, yes: Annotated[bool, typer.Option("--yes", help="Remove them; without it, only list.")] = False
) -> None:
    """List results of cells that left the grid and resume states that nothing asks for; with --yes, remove them.

    Example: favae prune --yes
    """
    from favae.results.prune import leftovers
    from favae.results.prune import prune as remove

    for path in remove(scale) if yes else leftovers(scale):
        print(f"{'removed ' if yes else ''}{path}")


def mlflow_sync(
    scale: Scale = None, quiet: Annotated[bool, typer.Option("--quiet", help="Only say what went wrong.")] = False
) -> None:
    """Bring MLflow up to date with the results on disk (rebuilds a lost database, curves too).

    Example: MLFLOW_TRACKING_URI=http://127.0.0.1:5000 favae mlflow-sync
    """
    from favae.sync.mlflow import sync

    message = sync(scale)
    if not quiet:
        print(message)


def graph(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 if dvc.yaml is out of date.")] = False,
) -> None:
    """Write dvc.yaml from params/grid.yaml, the recipes and the stages.

    Example: favae graph --check
    """
    from favae.sync.dvc_yaml import PATH, is_current, renew

    if check:
        current = is_current()
        print(f"{PATH} is up to date" if current else f"{PATH} is out of date: favae graph")
        raise typer.Exit(0 if current else 1)
    renew()
    print(f"{PATH} is up to date")


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (status, why, lock, adopt, audit, prune, graph):
        app.command()(command)
    app.command("mlflow-sync")(mlflow_sync)
