"""Parameters: reading, merging, validating, and the grid of jobs."""

from favae.config.errors import ConfigError

__all__ = ["ConfigError"]
