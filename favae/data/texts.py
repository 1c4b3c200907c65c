"""Text files of data sets: lists, captions, JSON. Every error names the file, the line, what was found and what was
expected."""

import hashlib
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sized
from pathlib import Path
from typing import Any, TypeVar

from favae.config.dataset import ListFilesConfig, Split
from favae.data.walk import shown

Entries = TypeVar("Entries", bound=Sized)
MOST_CAPTION_CHARACTERS = 131_072  # limit per field of Python's CSV reader, with which later stages read captions
_MOST_LIST_BYTES = 1 << 30  # unzipped; the JSON file of FFHQ has 255 MB
_STEP = 1 << 16  # bytes of a gzip file that are unzipped at a time
_GZIP_START = b"\x1f\x8b"
_ENCODINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_PARTITIONS: dict[str, Split] = {"0": "train", "1": "val", "2": "test"}
_JSON_START = re.compile(r'[\[{]\s*"')
_CATEGORIES: dict[str, Split] = {"training": "train", "validation": "test"}


class TextFiles:
    """Reads text files and remembers the size and SHA-256 of each, by path."""

    def __init__(self) -> None:
        self.read: dict[Path, tuple[int, str]] = {}

    def remember(self, path: Path, data: bytes) -> None:
        """Record that a file with this content was read."""
        self.read[path] = (len(data), hashlib.sha256(data).hexdigest())

    def text(self, path: Path) -> str:
        """A whole file as text: UTF-8, with or without byte order mark, unzipped if the content is gzip.

        Raises:
            ValueError: missing, unreadable, damaged gzip, or another encoding; the message has the line of the first
                wrong byte.
        """
        data = file_bytes(path, "it is part of the published data set")
        self.remember(path, data)
        data = unzipped(data, path, _MOST_LIST_BYTES)
        if encoding := _ENCODINGS.get(data[:2]):
            raise ValueError(f"{shown(path)} is {encoding} text, expected UTF-8; save it as UTF-8")
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise ValueError(
                f"{shown(path)}, line {line}: found the byte 0x{data[error.start]:02x}, expected UTF-8 text "
                "(is it Latin-1 or Windows-1252?); save it as UTF-8"
            ) from None

    def lines(self, path: Path) -> Iterator[tuple[int, str]]:
        """(number, line) of the non-empty lines, without surrounding blanks. Only a newline ends a line."""
        for number, line in enumerate(self.text(path).split("\n"), start=1):
            if line := line.replace("\ufeff", "").strip():  # files that were joined have byte order marks within
                if control := re.search(r"[\x00\r]", line):
                    advice = "save it with Unix line ends" if control[0] == "\r" else "is it UTF-16? save it as UTF-8"
                    raise ValueError(
                        f"{shown(path)}, line {number}: found {control[0]!r} within a line, expected plain lines; {advice}"
                    )
                yield number, line

    def captions(self, path: Path) -> tuple[str, ...]:
        """Captions, one per line; at least one."""
        captions = []
        for number, line in self.lines(path):
            if _JSON_START.match(line):
                raise ValueError(
                    f"{shown(path)}, line {number}: found {_short(line)}, which is JSON; expected one plain caption per line"
                )
            if len(line) > MOST_CAPTION_CHARACTERS:
                raise ValueError(
                    f"{shown(path)}, line {number}: found a caption of {len(line):,} characters, expected at most "
                    f"{MOST_CAPTION_CHARACTERS:,}; shorten it"
                )
            captions.append(line)
        if not captions:
            raise ValueError(f"{shown(path)} has no caption; expected one per line")
        return tuple(captions)

    def names(self, path: Path) -> list[str]:
        """File names of a list, one per line, at least one; folders before a name are removed."""
        return _filled([_plain_name(line, path, number) for number, line in self.lines(path)], path)

    def partition(self, path: Path) -> dict[str, Split]:
        """CelebA's list: file name to split, from `000001.jpg 0` or, with a header, `000001.jpg,0` (Kaggle; quotes are removed)."""
        partition: dict[str, Split] = {}
        for number, quoted in self.lines(path):
            line = quoted.replace('"', "")
            if number == 1 and re.fullmatch(r"image_id\s*,\s*partition", line):
                continue
            found = re.fullmatch(r"(.+?)(?:\s*,\s*|\s+)([012])", line)
            if found is None:
                raise ValueError(
                    f"{shown(path)}, line {number}: found {_short(line)}, expected a file name and 0, 1 or 2"
                )
            name, split = _plain_name(found[1], path, number), _PARTITIONS[found[2]]
            if partition.setdefault(name, split) != split:
                raise ValueError(f"{shown(path)}, line {number}: {name} is listed twice, in different parts; keep one")
        return _filled(partition, path)

    def mapping(self, path: Path) -> dict[int, str]:
        """CelebA-HQ number to CelebA file name, from lines such as `0  119613  119614.jpg`; a header line is skipped."""
        mapping: dict[int, str] = {}
        for number, line in self.lines(path):
            columns = line.replace(",", " ").split()
            if columns[:1] == ["idx"]:
                continue
            if len(columns) != 3 or not re.fullmatch(r"[0-9]{1,9}", columns[0]):
                raise ValueError(
                    f"{shown(path)}, line {number}: found {_short(line)}, expected number, original number and "
                    "original file name"
                )
            image, name = int(columns[0]), _plain_name(columns[2], path, number)
            if mapping.setdefault(image, name) != name:
                raise ValueError(
                    f"{shown(path)}, line {number}: image {image} is listed twice, for two files; keep one"
                )
        return _filled(mapping, path)

    def number_lists(self, lists: ListFilesConfig, folder: Path) -> dict[int, Split]:
        """Image number to split from two lists of file names; a number in both is an error."""
        splits: dict[int, Split] = {}
        parts: tuple[tuple[Split, str], ...] = (("train", lists.train), ("test", lists.test))
        for split, file in parts:
            for line, name in self.lines(folder / file):
                number = image_number(_plain_name(name, folder / file, line), f"{shown(folder / file)}, line {line}")
                if splits.setdefault(number, split) != split:
                    raise ValueError(
                        f"{shown(folder / file)}, line {line}: image {_short(name)} is in both lists, {lists.train} and "
                        f"{lists.test}; keep it in one"
                    )
            if split not in splits.values():
                _filled((), folder / file)
        return splits

    def ffhq_json(self, path: Path) -> dict[int, Split]:
        """Image number to split from `category` of each entry in `ffhq-dataset-v2.json`."""
        entries = self.json(path)
        expected = 'expected {"<number>": {"category": "training" or "validation", ...}, ...}'
        if not isinstance(entries, dict):
            raise ValueError(f"{shown(path)}: found a {type(entries).__name__} at the top level, {expected}")
        splits: dict[int, Split] = {}
        for key, entry in entries.items():
            category = entry.get("category") if isinstance(entry, dict) else entry
            if not re.fullmatch(r"[0-9]{1,9}", key):
                raise ValueError(f"{shown(path)}: found the key {_short(key)}, {expected}")
            if not isinstance(category, str) or category not in _CATEGORIES:
                raise ValueError(f"{shown(path)}: {key}: found the category {_short(category)}, {expected}")
            if splits.setdefault(int(key), _CATEGORIES[category]) != _CATEGORIES[category]:
                raise ValueError(f"{shown(path)}: image {int(key)} is listed twice, in different parts; keep one")
        return _filled(splits, path)

    def json(self, path: Path) -> Any:
        """Content of a JSON file."""
        try:
            return json.loads(self.text(path), object_pairs_hook=_each_key_once)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{shown(path)}, line {error.lineno}, column {error.colno}: not valid JSON ({error.msg}); it is cut or "
                "damaged: download it again"
            ) from None
        except (RecursionError, ValueError) as error:  # too deep, a number with thousands of digits, a key twice
            if str(error).startswith(shown(path)):
                raise
            raise ValueError(f"{shown(path)}: this JSON cannot be read ({error}); download it again") from None


def file_bytes(path: Path, why: str) -> bytes:
    """All bytes of a regular file. Raises ValueError with its name and, if it is missing, `why` it is needed."""
    try:
        if not path.is_file():
            found = "is not a regular file" if path.exists() else "is missing"
            raise ValueError(f"{shown(path)} {found}; {why}")
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{shown(path)} cannot be read: {error.strerror}") from error


def unzipped(data: bytes, path: Path, most: int) -> bytes:
    """`data`, unzipped if it is gzip, independent of the file name; at most `most` bytes.

    Raises:
        ValueError: the archive is cut short, damaged or unzips to more bytes.
    """
    if not data.startswith(_GZIP_START):
        if path.suffix == ".gz" and not data:
            raise ValueError(f"{shown(path)} is an empty file, expected gzip; download it again")
        return data
    end = len(data.rstrip(b"\0"))  # zeros may follow the last member; its own last bytes may be zeros too
    found, start = bytearray(), 0
    while start < end:  # a file may have several members: thousands, if it was compressed in blocks
        try:
            start = _unzip_member(data, start, found, most)
        except zlib.error as error:
            raise ValueError(f"{shown(path)} is not a complete gzip file ({error}); download it again") from error
        if len(found) > most:
            raise ValueError(f"{shown(path)} unzips to more than {most:,} bytes, expected fewer; is it another file?")
    return bytes(found)


def _unzip_member(data: bytes, start: int, found: bytearray, most: int) -> int:
    """Append the content of the gzip member at `start` to `found`, until it has more than `most` bytes; returns the end of the member.

    Raises zlib.error where it is damaged or cut short.
    """
    engine = zlib.decompressobj(wbits=31)
    while not engine.eof and len(found) <= most:
        if start >= len(data):
            raise zlib.error("it ends too early")
        # In steps, because the engine copies what follows the member.
        step = data[start : start + _STEP]
        found += engine.decompress(step, most + 1 - len(found))
        start += len(step) - len(engine.unused_data) - len(engine.unconsumed_tail)
    return start


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. Raises ValueError for a key that is there twice: Python would take the last value without a word."""
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise ValueError(f"the key {_short(counts.most_common(1)[0][0])} is there twice")
    return found


def _filled(entries: Entries, path: Path) -> Entries:
    """`entries` themselves. Raises ValueError naming the list if there are none: its data set would be empty."""
    if not entries:
        raise ValueError(f"{shown(path)} has no entry, expected one per image; download it again")
    return entries


def image_number(name: str, where: str) -> int:
    """The last number in a file name: 37 of `00037.png`, `imgHQ00037.npy` or `512_00037.png`."""
    found = re.search(r"([0-9]+)\.\w+$", name)
    if found is None or len(found[1]) > 9:
        raise ValueError(f"{where}: found the file name {_short(name)}, expected one that ends in a number")
    return int(found[1])


def _plain_name(name: str, path: Path, line: int) -> str:
    """The file name without folders. Lists are not trusted: a name that points outside the data set is an error."""
    parts = re.split(r"[/\\]", name)
    if ".." in parts or not parts[0] or re.fullmatch(r"[A-Za-z]:", parts[0]) or not parts[-1]:
        raise ValueError(
            f"{shown(path)}, line {line}: found {_short(name)}, which points outside the data set; expected a file name"
        )
    return parts[-1]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
