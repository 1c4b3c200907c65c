"""Parameter files: reading, merging and validation."""

from favae.config.errors import ConfigError

__all__ = ["ConfigError"]
