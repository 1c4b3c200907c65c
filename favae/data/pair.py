"""A pair: an image, and the input from which it is generated, as files."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from favae.config.dataset import Split

Half = Literal["whole", "left", "right"]


@dataclass(frozen=True, slots=True)
class Part:
    """One side of a pair: a file, or half of it. `half` "left" means columns 0 to width / 2 - 1."""

    path: Path
    half: Half = "whole"


@dataclass(frozen=True, slots=True)
class Pair:
    """A real image, and the input from which it is generated.

    Attributes:
        id: unique name within the data set.
        split: train, val or test.
        condition: the network's input: a label map, edges, or another image.
        image: the real image.
        instances: file of instance ids, of the size of the condition, or None.
        parts: files of one class each, which together are the condition (CelebAMask-HQ); empty for others.
    """

    id: str
    split: Split
    condition: Part
    image: Part
    instances: Path | None = None
    parts: tuple[Path, ...] = ()

    def files(self) -> list[Path]:
        """All files of the pair, the image first, each once."""
        others = self.parts or (self.condition.path,)
        return list(dict.fromkeys([self.image.path, *others, *([self.instances] if self.instances else [])]))


def joined_hash(hashes: Sequence[str]) -> str:
    """SHA-256 of a record's files, given that of each: the only one, or the hash of all, one per line."""
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()
