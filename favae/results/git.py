"""Git commit and uncommitted files. The head process writes them to a file; jobs, on compute nodes without git, read it."""

import json
import re
import subprocess
from typing import Any

from favae.runtime import paths
from favae.runtime.files import write_text

_COMMIT = re.compile(r"[0-9a-f]{40,64}")


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def has_commit(commit: str) -> bool | None:
    """Whether this repository has a commit; None outside a git repository."""
    if _git("rev-parse", "--git-dir") is None:
        return None
    return _COMMIT.fullmatch(commit) is not None and _git("cat-file", "-e", f"{commit}^{{commit}}") is not None


def working_tree() -> dict[str, Any]:
    """`commit` and `dirty`, the uncommitted files except results and reports; both None outside a git repository."""
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--", ".", ":!reports", ":!dvc.lock")
    return {
        "commit": commit.strip() if commit else None,
        "dirty": [line[3:] for line in changes.splitlines()] if changes is not None else None,
    }


def write_git_record() -> None:
    """Write `working_tree()` to a file for the jobs."""
    write_text(paths.git_record(), json.dumps(working_tree()) + "\n")


def read_git_record() -> dict[str, Any]:
    """The record that the head process wrote, or an empty mapping."""
    try:
        return json.loads(paths.git_record().read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
