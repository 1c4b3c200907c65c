"""Command line: `favae COMMAND --help`."""
