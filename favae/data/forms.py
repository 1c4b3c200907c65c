"""Finding a published data set as users store it: in nested folders, under other names, or in an unsupported format."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from favae.data.walk import IMAGE_SUFFIXES, Unused, is_hidden, shown, subfolders, walk_images

_DEPTH = 3  # levels of folders below `root` that are searched
# Formats in which data sets are distributed, by suffix, and what to do with them.
_FORMS = {
    ".zip": "an archive: unpack it there",
    ".7z": "an archive: unpack it there",
    ".tar": "an archive: unpack it there",
    ".tgz": "an archive: unpack it there",
    ".tar.gz": "an archive: unpack it there",
    ".001": "a part of an archive: unpack it there",
    ".parquet": "Hugging Face's form, which is not read: write its images to files",
    ".arrow": "Hugging Face's form, which is not read: write its images to files",
    ".tfrecord": "TensorFlow's form, which is not read: write its images to files",
    ".tfrecords": "TensorFlow's form, which is not read: write its images to files",
    ".npz": "NumPy's form, which is not read: write its images to files, or download the published ones",
    ".h5": "HDF5, which is not read: write its images to files",
    ".hdf5": "HDF5, which is not read: write its images to files",
    ".mdb": "LMDB, which is not read: write its images to files",
}


def existing_folder(path: Path) -> Path:
    """`path` itself. Raises ValueError if there is no such folder."""
    if path.is_dir():
        return path
    if path.is_symlink():
        raise ValueError(
            f"the raw-data folder {shown(path)} is a link to {shown(path.readlink())}, which does not exist"
        )
    found = " (a file has this name)" if path.exists() else ""
    raise ValueError(
        f"the raw-data folder {shown(path)} does not exist{found}; put the data set there or correct `root`"
    )


def images_below(folder: Path, unused: Unused, companions: frozenset[str] = frozenset()) -> list[Path]:
    """Image files below an existing folder, in the order of their relative names; `companions` as in `walk_images`.

    Raises:
        ValueError: there is no such folder, or no image in it.
    """
    found = walk_images(existing_folder(folder), unused, companions=companions)
    if not found:
        raise ValueError(
            f"no images in {shown(folder)}; looked for {', '.join(sorted(IMAGE_SUFFIXES))} at any depth{hint(folder)}"
        )
    return found


def find_folder(root: Path, names: Iterable[str], what: str) -> Path:
    """The folder with the first of `names` that exists in `root` or, failing that, in the folders below it.

    Raises:
        ValueError: there is none; the message lists what is in `root` instead.
    """
    wanted = list(names)
    found = find(root, wanted, Path.is_dir)
    if found is None:
        raise ValueError(f"{shown(root)} has no folder {' or '.join(wanted)} with {what}{hint(root)}")
    return found


def find_file(root: Path, names: Iterable[str], what: str) -> Path:
    """Like `find_folder`, for a file."""
    wanted = list(names)
    found = find(root, wanted, Path.is_file)
    if found is None:
        raise ValueError(f"{shown(root / wanted[0])} is missing; {what}{hint(root)}")
    return found


def find(root: Path, names: Iterable[str], is_right: Callable[[Path], bool]) -> Path | None:
    """The first of `names` in the folder nearest to `root` (folders of equal depth in the order of their names), or None."""
    wanted = list(names)
    for folder in nested(root):
        for name in wanted:
            if is_right(folder / name):
                return folder / name
    return None


def nested(root: Path) -> Iterator[Path]:
    """`root`, then the folders below it, nearest first; folders with many subfolders, such as classes, are not entered."""
    level = [root]
    for _ in range(_DEPTH + 1):
        yield from level
        level = [child for folder in level for child in _few(subfolders(folder))]


def hint(root: Path) -> str:
    """What is in `root` instead of the data set that was not found, as the end of an error message."""
    names = sorted(path.name for path in root.iterdir() if not is_hidden(path.name))
    for name in names:
        for suffix, form in _FORMS.items():
            if name.lower().endswith(suffix):
                return f"; found {shown(name)}, {form}"
    if not names:
        return "; the folder is empty"
    first = ", ".join(shown(name) for name in names[:3])
    return f"; found {first}{', ...' if len(names) > 3 else ''}: put the published files there or correct `root`"


def _few(folders: list[Path]) -> list[Path]:
    return folders if len(folders) <= 20 else []
