"""Command line: `favae COMMAND --help`."""

import sys


def entry() -> None:
    """Run the command line. If a package of the extras is missing, print one line with what to install."""
    try:
        from favae.cli.main import entry as run

        run()
    except ModuleNotFoundError as error:
        if (error.name or "favae").startswith("favae"):
            raise
        sys.exit(f"favae: the Python package {error.name} is missing; install 'favae[workflow,metrics]'")
