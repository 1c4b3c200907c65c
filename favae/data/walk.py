"""Searching a folder for images, for every layout and for `favae reconstruct`, and recording what is left out and why."""

import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"})
# Names that begin with a dot (macOS, notebooks, version control) are always left out.
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
_NAMED = 3  # file names per reason in the log


class Unused:
    """Files and folders that were left out: their number per reason, and the first names."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}
        self._counts: dict[str, int] = {}

    def add(self, reason: str, name: str) -> None:
        """Count `name`, a path relative to the searched folder."""
        self._counts[reason] = self._counts.get(reason, 0) + 1
        names = self._names.setdefault(reason, [])
        if len(names) < _NAMED:
            names.append(shown(name))

    def summary(self) -> dict[str, dict[str, Any]]:
        """`count` and `first` (the first names) for each reason; the same on every machine."""
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

    Symbolic links are followed, except to a folder that contains the link. A broken link with the suffix of an image is
    returned, so that reading it reports an error. Hidden files and those of operating systems, NAS and notebooks are
    left out in every folder.

    Args:
        folder: existing folder.
        unused: records everything that is not returned.
        suffixes: lower-case suffixes of images.
        companions: further suffixes that the caller reads, such as those of captions; neither returned nor counted.
        leave_out: a folder that is not searched, such as that of the results.

    Raises:
        ValueError: a folder cannot be read; the message names it.
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


def walk_all(folder: Path) -> Iterator[tuple[Path, bool]]:
    """(path, whether it is a folder) of everything below `folder` that is not hidden, in a fixed order.

    Raises:
        ValueError: a folder cannot be read; the message names it.
    """
    waiting: list[tuple[Path, tuple[tuple[int, int], ...]]] = [(folder, (_identity(folder),))]
    while waiting:
        parent, above = waiting.pop()
        yield parent, True
        for entry in _entries(parent):
            if is_hidden(entry.name):
                continue
            path = parent / entry.name
            if not _is(entry.is_dir):
                yield path, False
            elif (identity := _identity(path)) not in above:
                waiting.append((path, (*above, identity)))


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name belongs to an operating system or a tool, not to a data set."""
    lower = name.lower()
    return lower.startswith((".", *_SYSTEM_PREFIXES)) or lower in _SYSTEM_NAMES


def subfolders(folder: Path) -> list[Path]:
    """Folders directly in `folder`, including links to folders, without hidden ones, sorted by name."""
    return sorted(Path(entry.path) for entry in _entries(folder) if not is_hidden(entry.name) and _is(entry.is_dir))


def shown(path: Path | str) -> str:
    """A file name as text that is safe in every terminal, log and card: other bytes and control characters are escaped."""
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
    """The result of the test; False for a link to itself or into a folder without permission."""
    try:
        return question()
    except OSError:
        return False


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
