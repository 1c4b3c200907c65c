"""The file of each reconstruction. All files are determined before anything is written."""

import hashlib
import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from favae.data.walk import IMAGE_SUFFIXES, Unused, shown, walk_images

MADE_BY = "favae reconstruct"  # in the PNG's Software field
# Field with a hash of the paths of image and model: made from these again, the file may be overwritten.
_MADE_FROM = "Source"
# Images that cannot be read, or only with an additional package: included, so that their message tells what to do.
_FOREIGN_SUFFIXES = frozenset({".heic", ".heif", ".avif", ".jfif", ".jpe", ".jxl", ".jp2"})


@dataclass(frozen=True)
class Planned:
    """An image, the folders between the given folder and the image, and the file of its reconstruction."""

    source: Path
    below: Path
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


def plan(images: Iterable[Path], out: Path, model: Path, options: str = "") -> tuple[list[Planned], Unused]:
    """The images among files and folders, in order, each with a unique file in `out`, and the files in the folders that
    are not used.

    The file is `<name>.png` in the same subfolders as the image. If two images would share a file, both names get the
    suffix (`photo-bmp.png`), or else the name of the folder (`a/photo.png`).

    Raises:
        ValueError: two images would still share a file, or a target is one of the images, is a file that this command
            did not write from the same image with the same model and `options`, or cannot be created. Nothing is written
            in these cases.
    """
    unused = Unused()
    inputs = _inputs(images, out, unused)
    planned = [
        Planned(i.path, i.below, out / f"{name.as_posix()}.png")
        for i, name in zip(inputs, _distinct(inputs), strict=True)
    ]
    _refuse_to_overwrite(planned, model, options)
    return planned, unused


def _inputs(images: Iterable[Path], out: Path, unused: Unused) -> list[_Input]:
    found: dict[Path, _Input] = {}
    for path in images:
        if _is(path.is_dir):
            found_here = walk_images(path, unused, IMAGE_SUFFIXES | _FOREIGN_SUFFIXES, leave_out=out)
            files = _without_results(found_here, path, out, unused)
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


def _without_results(files: list[Path], folder: Path, out: Path, unused: Unused) -> list[Path]:
    """`files`, found below `folder`, without those that this command wrote there: where `out` is `folder` or contains it, each
    call would take the results of the one before as images."""
    if not Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(out)):
        return files
    kept = []
    for file in files:
        if file.suffix.lower() == ".png" and _made(file)[0] == MADE_BY:
            unused.add("result of this command", file.relative_to(folder).as_posix())
        else:
            kept.append(file)
    return kept


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


def _refuse_to_overwrite(planned: Sequence[Planned], model: Path, options: str) -> None:
    names = {_folded(Path(os.path.realpath(p.source))): p.source for p in planned}
    identities = {_identity(p.source): p.source for p in planned if _is(p.source.exists)}
    for item in planned:
        source = names.get(_folded(Path(os.path.realpath(item.target))))
        if source is None and _is(item.target.exists):
            source = identities.get(_identity(item.target))
        if source is not None:
            raise ValueError(
                f"{shown(item.target)}, where the reconstruction of {shown(item.source)} would be written, is the image "
                f"{shown(source)} itself; give another folder as --out (nothing was written)"
            )
        refuse_to_replace(item.target, item.source, model, options=options)
        _refuse_unwritable(item.target)


def _refuse_unwritable(target: Path) -> None:
    """Raise ValueError if a file cannot be created: otherwise every image would be computed before this is said."""
    for folder in target.parents:
        if _is(folder.exists):
            break
        if folder.is_symlink():
            raise ValueError(f"{shown(folder)} is a link that leads nowhere; give another --out (nothing was written)")
    if not folder.is_dir():
        raise ValueError(f"{shown(folder)} is a file, expected a folder for the reconstructions; give another --out")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"nothing can be written in {shown(folder)}; give another --out, or correct its permissions")


def _is(question: Callable[[], bool]) -> bool:
    """The result of the test; False for a name that is too long."""
    try:
        return question()
    except OSError:
        return False


def refuse_to_replace(path: Path, *origin: Path, options: str = "") -> None:
    """Raise ValueError if `path` exists, unless one of these commands wrote it from the same image and model (`origin`) with
    the same `options`."""
    if not (_is(path.exists) or _is(path.is_symlink)):
        return
    program, digest = _made(path)
    if program != MADE_BY or digest != _digest(origin, options):
        how = (
            "was not written by this command"
            if program != MADE_BY
            else "was made from another image or model, or with other options"
        )
        raise ValueError(
            f"{shown(path)} exists and {how}; move it, or give another folder as --out (nothing was written)"
        )


def made_from(*origin: Path, options: str = "") -> PngInfo:
    """What a PNG says of itself: that one of these commands wrote it, and a hash of the paths and options that it was made from."""
    said = PngInfo()
    said.add_text("Software", MADE_BY)
    said.add_text(_MADE_FROM, _digest(origin, options))
    return said


def _digest(origin: Iterable[Path], options: str) -> str:
    parts = [os.fsencode(os.path.realpath(path)) for path in origin]
    return hashlib.sha256(b"\0".join([*parts, options.encode()] if options else parts)).hexdigest()[:16]


def _made(path: Path) -> tuple[str | None, str | None]:
    """By what and from what a file was made, as far as it is a PNG that says so."""
    if not path.is_file():
        return None, None
    try:
        with Image.open(path, formats=["PNG"]) as image:
            return image.info.get("Software"), image.info.get(_MADE_FROM)
    except (OSError, SyntaxError, ValueError):
        return None, None


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _folded(path: Path) -> str:
    """A key that is equal for names that some file systems do not distinguish."""
    return unicodedata.normalize("NFC", path.as_posix()).casefold()
