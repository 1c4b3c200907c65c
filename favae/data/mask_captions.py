"""Captions from the label maps of faces: which classes of CelebAMask-HQ are present, so each caption is a fact about its image."""

from pathlib import Path

import numpy as np

from favae.data.images import BadImage
from favae.data.label_maps import CELEBAMASK_PARTS, read_label_map
from favae.data.walk import shown

_WORN = {"eye_g": "glasses", "hat": "a hat", "ear_r": "an earring", "neck_l": "a necklace"}
_PRESENT = 0.001  # share of the pixels from which a class counts: 16 of 128 x 128 pixels
_MUCH_HAIR, _SOME_HAIR = 0.3, 0.1  # shares of the pixels


def face_caption(labels_HW: np.ndarray) -> str:
    """`a face with much hair, wearing glasses and a hat`, from class indices [H,W] in the order of CelebAMask-HQ."""
    shares = np.bincount(labels_HW.ravel(), minlength=len(CELEBAMASK_PARTS) + 1)[1:] / labels_HW.size
    share = dict(zip(CELEBAMASK_PARTS, shares.tolist(), strict=True))
    hair = "much" if share["hair"] >= _MUCH_HAIR else "some" if share["hair"] >= _SOME_HAIR else "little"
    worn = [word for part, word in _WORN.items() if share[part] >= _PRESENT]
    listed = f"{', '.join(worn[:-1])} and {worn[-1]}" if len(worn) > 1 else "".join(worn)
    return f"a face with {hair} hair" + (f", wearing {listed}" if listed else "")


def caption_of(path: Path) -> str:
    """The caption of a label map's file. Raises ValueError naming the file if it is missing or no label map of 19 classes."""
    try:
        return face_caption(read_label_map(path, len(CELEBAMASK_PARTS) + 1))
    except BadImage as error:
        raise ValueError(
            f"{shown(path)} is no label map of CelebAMask-HQ ({error}); captions: label_maps needs one for each image"
        ) from error
