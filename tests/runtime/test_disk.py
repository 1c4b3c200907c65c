"""Free space as a user has it: the file system's, or what a quota leaves."""

import shutil
import subprocess
from pathlib import Path

import pytest

from favae.runtime.disk import free_space

HEAD = """Disk quotas for user root (uid 0):
     Filesystem  blocks   quota   limit   grace   files   quota   limit   grace
"""


@pytest.fixture
def quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Let `quota` say that the user has these blocks, quota and limit (KiB) on the file system of the folder."""

    def say(blocks: str, soft: int, hard: int, source: str | None = None) -> Path:
        df = subprocess.run(["df", "--output=source", tmp_path], capture_output=True, text=True, check=True)
        line = f"{source or df.stdout.split()[-1]} {blocks} {soft} {hard} 0 7 0 0 0"
        (tmp_path / "quota").write_text(f"#!/bin/sh\ncat <<'END'\n{HEAD}{line}\nEND\n")
        (tmp_path / "quota").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return tmp_path

    return say


@pytest.mark.parametrize(
    ("blocks", "soft", "hard", "left"), [("100", 300, 400, 200), ("100", 0, 400, 300), ("350*", 300, 400, 0)]
)
def test_a_quota_bounds_the_free_space(quota, blocks: str, soft: int, hard: int, left: int) -> None:
    assert free_space(quota(blocks, soft, hard)) == 1024 * left


def test_a_quota_of_another_file_system_and_one_without_limits_bound_nothing(quota) -> None:
    least = shutil.disk_usage(Path.cwd()).free // 2  # others write meanwhile
    assert free_space(quota("100", 300, 400, source="server:/home")) > least
    assert free_space(quota("100", 0, 0)) > least
