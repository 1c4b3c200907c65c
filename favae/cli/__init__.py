"""Command line: `favae COMMAND --help`."""

import sys


def entry() -> None:
    """Run the command line. If a package of the extras is missing, print one line with what to install."""
    try:
        from favae.cli.main import entry as run

        run()
    except KeyboardInterrupt:  # while modules are imported; later, typer ends a command in the same way
        sys.exit(130)
    except ModuleNotFoundError as error:
        if (error.name or "favae").startswith("favae"):
            raise
        sys.exit(f"favae: the Python package {error.name} is missing; install 'favae[workflow,metrics]'")
