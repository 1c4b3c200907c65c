"""The one exception for bad parameters."""


class ConfigError(ValueError):
    """A parameter file is wrong. The message names file, key, what was found and what was expected."""
