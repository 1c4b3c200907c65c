"""Captions from the label maps of faces: which classes of CelebAMask-HQ are present, so each caption is a fact about its image."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from favae.data.images import BadImage
from favae.data.label_maps import CELEBAMASK_PARTS, read_label_map
from favae.data.walk import shown

WORN = {
    "eye_g": "glasses",
    "hat": "a hat",
    "ear_r": "an earring",
    "neck_l": "a necklace",
}  # words of a class, in their order
# All that a caption can say, by the name of a class.
THINGS = {"eye_g": "glasses", "hat": "hat", "ear_r": "earring", "neck_l": "necklace", "hair": "hair"}
_PRESENT = 0.001  # share of the pixels from which a class counts: 16 of 128 x 128 pixels
_MUCH_HAIR, _SOME_HAIR = 0.3, 0.1  # shares of the pixels


@dataclass(frozen=True)
class Face:
    """What a label map, or a caption, says of a face: how much hair, and which of `WORN` is worn."""

    hair: str
    worn: frozenset[str]

    @classmethod
    def of(cls, shares: dict[str, float]) -> Self:
        """From the share of the pixels of each class."""
        hair = "much" if shares["hair"] >= _MUCH_HAIR else "some" if shares["hair"] >= _SOME_HAIR else "little"
        return cls(hair, frozenset(part for part in WORN if shares[part] >= _PRESENT))

    @classmethod
    def parse(cls, caption: str) -> Self:
        """From a caption. Raises ValueError if `caption` writes it in another way."""
        words = re.fullmatch(r"a face with (\w+) hair(?:, wearing (.+))?", caption)
        worn = re.split(", | and ", words[2] or "") if words else []
        face = cls(words[1], frozenset(part for part, word in WORN.items() if word in worn)) if words else None
        if face is None or face.caption != caption:
            raise ValueError(f"{caption!r} does not come from a label map; use a data set with captions: label_maps")
        return face

    @property
    def caption(self) -> str:
        """`a face with much hair, wearing glasses and a hat`."""
        worn = [word for part, word in WORN.items() if part in self.worn]
        listed = f"{', '.join(worn[:-1])} and {worn[-1]}" if len(worn) > 1 else "".join(worn)
        return f"a face with {self.hair} hair" + (f", wearing {listed}" if listed else "")


def class_shares(labels_HW: np.ndarray) -> dict[str, float]:
    """Share of the pixels of each class of CelebAMask-HQ, from class indices [H,W] in its order."""
    shares = np.bincount(labels_HW.ravel(), minlength=len(CELEBAMASK_PARTS) + 1)[1:] / labels_HW.size
    return dict(zip(CELEBAMASK_PARTS, shares.tolist(), strict=True))


def caption_of(path: Path) -> str:
    """The caption of a label map's file. Raises ValueError naming the file if it is missing or no label map of 19 classes."""
    try:
        return Face.of(class_shares(read_label_map(path, len(CELEBAMASK_PARTS) + 1))).caption
    except BadImage as error:
        raise ValueError(
            f"{shown(path)} is no label map of CelebAMask-HQ ({error}); captions: label_maps needs one for each image"
        ) from error
