"""The command `favae coverage`."""

from typing import Annotated

import typer


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
