"""Git commit and uncommitted files. The head process writes them to a file; jobs, on compute nodes without git, read it."""

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from favae.runtime import paths
from favae.runtime.files import read_memory, write_text

_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_DECIDES = ("favae/", "params/", "workflow/rules/", "Snakefile", "constraints.txt")  # files that a result follows from
_SEARCHED = 200  # commits after the recorded one that are looked through


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=60,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def has_commit(commit: str) -> bool | None:
    """Whether the repository here has a commit; None where it has not, and does not have the whole history either."""
    there = _COMMIT.fullmatch(commit) is not None and _git("cat-file", "-e", f"{commit}^{{commit}}") is not None
    return there or (False if _history() == "whole" else None)


def how_to_get_commits() -> str:
    """What to do where a commit is not here."""
    return {
        "none": "this copy has no history: clone the repository with git",
        "shallow": "git fetch --unshallow",
        "whole": "git fetch the branch that has it",
    }[_history()]


def _history() -> Literal["none", "shallow", "whole"]:
    """How much of the project's history is here: none in a downloaded archive, also in a folder of another repository."""
    said = _git("rev-parse", "--is-shallow-repository", "--show-prefix")
    if said is None:
        return "none"
    shallow, _, folder = said.partition("\n")
    if shallow == "true":
        return "shallow"
    return "none" if folder.strip() else "whole"


def working_tree() -> dict[str, Any]:
    """The state of the code and parameters: of the files that a result follows from, no others.

    `commit`; `dirty`, the uncommitted ones of these files; `contents`, git's id of the content of each of them ("" for a
    removed one). None where this is no git repository.
    """
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "-z", "--no-renames", "-uall", "--", *_DECIDES)
    dirty = [entry[3:] for entry in changes.split("\0") if entry] if changes is not None else None
    contents = None if dirty is None else {name: _content(name) for name in dirty}
    return {"commit": commit.strip() if commit else None, "dirty": dirty, "contents": contents}


def _content(name: str) -> str:
    """Git's id of the content of a file in the working tree, "" where there is none."""
    return (_git("hash-object", "--", name) or "").strip()


def was_committed(name: str, file: Path) -> bool | None:
    """Whether a commit up to this one has the content of `file` under the path `name`.

    None where nobody can say: the whole history is not here.
    """
    versions = _git("log", "-m", "--format=", "--raw", "--no-abbrev", "--", name)
    if versions is None:
        return None
    return _content(file.as_posix()) in versions.split() or (False if _history() == "whole" else None)


def commit_with(commit: str, contents: Mapping[str, str]) -> str | None:
    """The first commit, from `commit` on, that has these contents of uncommitted files, and else what `commit` has; or None.

    An edit that was run first and committed afterwards: what ran is what that commit holds. Only files that a result follows from
    count: code and parameters.
    """
    contents = {name: content for name, content in contents.items() if name.startswith(_DECIDES)}
    if not contents:
        return commit
    after = (_git("rev-list", "--reverse", "--ancestry-path", f"{commit}..HEAD") or "").split()[:_SEARCHED]
    return next((later for later in after if _has(later, commit, contents)), None)


def _has(later: str, commit: str, contents: Mapping[str, str]) -> bool:
    raw = _git("diff-tree", "-r", "-z", "--no-renames", "--no-abbrev", commit, later, "--", *_DECIDES)
    if raw is None:
        return False
    fields = raw.split("\0")
    found = {
        name: "" if entry.split()[4] == "D" else entry.split()[3] for entry, name in zip(fields[::2], fields[1::2])
    }
    return found == dict(contents)


def write_git_record() -> None:
    """Write `working_tree()` to a file for the jobs."""
    write_text(paths.git_record(), json.dumps(working_tree()) + "\n")


def read_git_record() -> dict[str, Any]:
    """The record that the head process wrote, or an empty mapping."""
    return read_memory(paths.git_record())
