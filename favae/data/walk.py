"""One walk of a folder of images, for every layout and for `favae reconstruct`: what is used, and what is not and why."""

import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"})
# Names that begin with a dot (macOS, notebooks, version control) are left out by that alone.
_SYSTEM_NAMES = frozenset(
    {
        "__macosx",
        "__pycache__",
        "@eadir",
        "@recycle",
        "@recently-snapshot",
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "recycler",
        "system volume information",
        "lost+found",
        "network trash folder",
        "temporary items",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "icon\r",
    }
)
_SYSTEM_PREFIXES = ("synofile_thumb", "synophoto_thumb")
_NAMED = 3  # files named per reason in the log


class Unused:
    """Files and folders that a walk left out: how many for each reason, and the first of them."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}
        self._counts: dict[str, int] = {}

    def add(self, reason: str, name: str) -> None:
        """Count `name`, a path relative to the folder that was walked."""
        self._counts[reason] = self._counts.get(reason, 0) + 1
        names = self._names.setdefault(reason, [])
        if len(names) < _NAMED:
            names.append(shown(name))

    def summary(self) -> dict[str, dict[str, Any]]:
        """For each reason `count` and `first`, the first names; the same on every machine."""
        return {
            reason: {"count": self._counts[reason], "first": self._names[reason]} for reason in sorted(self._counts)
        }

    def lines(self) -> list[str]:
        """One readable line per reason."""
        return [
            f"{found['count']:,} not used ({reason}): {', '.join(found['first'])}"
            + (", ..." if found["count"] > len(found["first"]) else "")
            for reason, found in self.summary().items()
        ]


def walk_images(
    folder: Path,
    unused: Unused,
    suffixes: Collection[str] = IMAGE_SUFFIXES,
    companions: Collection[str] = (),
    leave_out: Path | None = None,
) -> list[Path]:
    """Image files at any depth below `folder`, in the order of their relative names.

    Symbolic links are followed, except to a folder that the link lies in. A link whose name says that it is an image
    is returned even if it leads nowhere, so that its reader names it. Hidden files and those of operating systems,
    NAS and notebooks are left out, in whatever folder.

    Args:
        folder: existing folder.
        unused: told everything that is not returned.
        suffixes: lower-case suffixes of images.
        companions: further suffixes that the caller reads, such as captions; neither returned nor counted.
        leave_out: a folder that is not entered, such as the one that results are written into.

    Raises:
        ValueError: naming a folder that cannot be read.
    """
    found = []
    skipped = _identity(leave_out) if leave_out is not None and leave_out.is_dir() else None
    for name, path in _files(folder, unused, skipped):
        suffix = path.suffix.lower()
        if suffix in suffixes:
            found.append((name, path))
        elif path.is_symlink() and not path.exists():
            unused.add("link that leads nowhere", name)
        elif suffix not in companions:
            unused.add(f"suffix {shown(suffix)}" if suffix else "no suffix", name)
    return [path for _, path in sorted(found)]


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name belongs to an operating system or a tool, not to a data set."""
    lower = name.lower()
    return lower.startswith((".", *_SYSTEM_PREFIXES)) or lower in _SYSTEM_NAMES


def subfolders(folder: Path) -> list[Path]:
    """Folders directly in `folder`, links to folders among them, hidden ones left out, by name."""
    return sorted(Path(entry.path) for entry in _entries(folder) if not is_hidden(entry.name) and _is(entry.is_dir))


def shown(path: Path | str) -> str:
    """A file name as text that any terminal, log or card can hold: other bytes and control characters escaped."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _files(top: Path, unused: Unused, skipped: tuple[int, int] | None) -> Iterator[tuple[str, Path]]:
    """(name relative to `top`, path) of all files that are not hidden."""
    waiting: list[tuple[Path, str, tuple[tuple[int, int], ...]]] = [(top, "", (_identity(top),))]
    while waiting:
        folder, prefix, above = waiting.pop()
        for entry in _entries(folder):
            path, name = folder / entry.name, prefix + entry.name
            if is_hidden(entry.name):
                unused.add("hidden or system file", name)
            elif _is(entry.is_dir):
                identity = _identity(path)
                if identity in above:
                    unused.add("link to a folder above it", name)
                elif identity == skipped:
                    unused.add("folder of results", name)
                else:
                    waiting.append((path, f"{name}/", (*above, identity)))
            elif _is(entry.is_file) or entry.is_symlink():
                yield name, path
            else:
                unused.add("not a regular file", name)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise ValueError(f"{shown(folder)} cannot be read: {error.strerror}; correct its permissions") from error


def _is(question: Callable[[], bool]) -> bool:
    """The answer; no for a link that leads to itself or to where we may not look."""
    try:
        return question()
    except OSError:
        return False


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
