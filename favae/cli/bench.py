"""Commands that measure the project."""

from typing import Annotated

import typer

bench = typer.Typer(help="Measure the project on this machine.", no_args_is_help=True)


@bench.callback()
def _group() -> None:
    """Keep the name of the command, even if there is but one."""


@bench.command()
def overheads(repeats: Annotated[int, typer.Option(min=1, help="Runs of each; the median is printed.")] = 3) -> None:
    """What planning and asking for the state cost, in seconds. Nothing in the project is changed.

    Example: favae bench overheads
    """
    from favae.bench.overheads import overheads as measure

    print("| command | jobs | seconds | goal |\n|---|---|---|---|")
    for item in measure(repeats):
        goal = "" if item.goal is None else f"{item.goal:g}"
        print(f"| {item.what} | {'' if item.jobs is None else item.jobs} | {item.seconds:.2f} | {goal} |", flush=True)
