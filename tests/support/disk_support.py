"""Folders that behave as if each were on a disk of its own."""

import errno
from pathlib import Path

import pytest


def separate_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `Path.replace` fail between two folders as it does between two file systems."""
    rename = Path.replace

    def within_one(self: Path, to: Path) -> Path:
        if self.parent != to.parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(self, to)

    monkeypatch.setattr(Path, "replace", within_one)
