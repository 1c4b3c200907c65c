"""The file of each reconstruction. All files are determined before anything is written."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from favae.data.walk import IMAGE_SUFFIXES, Unused, shown, walk_images

MADE_BY = "favae reconstruct"  # in the PNG's Software field: files with it may be overwritten
# Images that cannot be read, or only with an additional package: included, so that their message tells what to do.
_FOREIGN_SUFFIXES = frozenset({".heic", ".heif", ".avif", ".jfif", ".jpe", ".jxl", ".jp2"})


@dataclass(frozen=True)
class Planned:
    """An image and the file of its reconstruction."""

    source: Path
    target: Path


@dataclass(frozen=True)
class _Input:
    path: Path
    below: Path  # folders between the given folder and the file

    def names(self) -> list[Path]:
        """Possible names of the target, each more specific than the previous one."""
        stem, suffix = self.path.stem, self.path.suffix.removeprefix(".").lower()
        long = f"{stem}-{suffix}" if suffix else stem
        above = Path(Path(os.path.realpath(self.path)).parent.name)  # resolve() refuses a link to itself
        return [self.below / stem, self.below / long, above / self.below / stem, above / self.below / long]


def plan(images: Iterable[Path], out: Path) -> tuple[list[Planned], Unused]:
    """The images among files and folders, in order, each with a unique file in `out`, and the files in the folders that
    are not used.

    The file is `<name>.png` in the same subfolders as the image. If two images would share a file, both names get the
    suffix (`photo-bmp.png`), or else the name of the folder (`a/photo.png`).

    Raises:
        ValueError: two images would still share a file, or a target is one of the images, is a file that this command
            did not write, or cannot be created. Nothing is written in these cases.
    """
    unused = Unused()
    inputs = _inputs(images, out, unused)
    planned = [
        Planned(i.path, out / f"{name.as_posix()}.png") for i, name in zip(inputs, _distinct(inputs), strict=True)
    ]
    _refuse_to_overwrite(planned)
    return planned, unused


def _inputs(images: Iterable[Path], out: Path, unused: Unused) -> list[_Input]:
    found: dict[Path, _Input] = {}
    for path in images:
        if path.is_dir():
            files = walk_images(path, unused, IMAGE_SUFFIXES | _FOREIGN_SUFFIXES, leave_out=out)
            inputs = [_Input(file, file.relative_to(path).parent) for file in files]
            if not files:
                unused.add("folder without images", str(path))
        else:  # a missing file is reported when it is read
            inputs = [_Input(path, Path())]
        for one in inputs:
            found.setdefault(Path(os.path.abspath(one.path)), one)  # noqa: PTH100  (a link is not its target)
    if not found:
        raise ValueError(
            f"no images ({', '.join(sorted(IMAGE_SUFFIXES))}) in the folders given: {'; '.join(unused.lines())}"
        )
    return list(found.values())


def _distinct(inputs: Sequence[_Input]) -> list[Path]:
    """The shortest name for each input that is unique among all inputs."""
    names = [one.names() for one in inputs]
    level = [0] * len(inputs)
    while True:
        sharing = defaultdict(list)
        for number, choices in enumerate(names):
            sharing[_folded(choices[level[number]])].append(number)
        clashing = [numbers for numbers in sharing.values() if len(numbers) > 1]
        if not clashing:
            return [choices[chosen] for choices, chosen in zip(names, level, strict=True)]
        for numbers in clashing:
            if max(level[n] for n in numbers) == len(names[0]) - 1:
                one, other = (shown(inputs[n].path) for n in numbers[:2])
                raise ValueError(
                    f"{one} and {other} would both be written to {shown(names[numbers[0]][-1])}.png; reconstruct one of "
                    "them with another --out"
                )
            for number in numbers:
                level[number] += 1


def _refuse_to_overwrite(planned: Sequence[Planned]) -> None:
    names = {_folded(Path(os.path.realpath(p.source))): p.source for p in planned}
    identities = {_identity(p.source): p.source for p in planned if _exists(p.source)}
    for item in planned:
        source = names.get(_folded(Path(os.path.realpath(item.target))))
        if source is None and _exists(item.target):
            source = identities.get(_identity(item.target))
        if source is not None:
            raise ValueError(
                f"{shown(item.target)}, where the reconstruction of {shown(item.source)} would be written, is the image "
                f"{shown(source)} itself; give another folder as --out (nothing was written)"
            )
        if (_exists(item.target) or item.target.is_symlink()) and not _made_here(item.target):
            raise ValueError(
                f"{shown(item.target)}, where the reconstruction of {shown(item.source)} would be written, exists and was "
                "not written by this command; move it, or give another folder as --out (nothing was written)"
            )
        above = next(folder for folder in item.target.parents if folder.exists())
        if not above.is_dir():
            raise ValueError(f"{shown(above)} is a file, expected a folder for the reconstructions; give another --out")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long
        return False


def refuse_to_replace(path: Path) -> None:
    """Raise ValueError if `path` is a file that none of these commands wrote."""
    if (_exists(path) or path.is_symlink()) and not _made_here(path):
        raise ValueError(
            f"{shown(path)} exists and was not written by this command; move it, or give another folder as --out"
        )


def _made_here(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        with Image.open(path, formats=["PNG"]) as image:
            return image.info.get("Software") == MADE_BY
    except (OSError, SyntaxError, ValueError):
        return False


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _folded(path: Path) -> str:
    """A key that is equal for names that some file systems do not distinguish."""
    return unicodedata.normalize("NFC", path.as_posix()).casefold()
