"""What only the head process knows: the state of the git working tree. Compute nodes read the file it writes."""

import json
import subprocess

from favae import paths
from favae.provenance.files import write_text


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def write_head_state() -> None:
    """Write commit and uncommitted files (None where this is no git repository). Results and reports do not count as dirty."""
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--", ".", ":!reports", ":!dvc.lock")
    state = {
        "commit": commit.strip() if commit else None,
        "dirty": [line[3:] for line in changes.splitlines()] if changes is not None else None,
    }
    write_text(paths.head_provenance(), json.dumps(state) + "\n")
