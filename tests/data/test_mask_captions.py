"""Captions from label maps say what the maps have, and nothing else."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from favae.config.dataset import DatasetConfig
from favae.data.label_maps import CELEBAMASK_PARTS
from favae.data.layouts import RawFiles, list_records
from favae.data.mask_captions import WORN, Face, class_shares


def with_classes(**shares: float) -> np.ndarray:
    """A map of 100 x 100 pixels in which each class has its share, skin the rest."""
    labels = np.full(10_000, 1 + CELEBAMASK_PARTS.index("skin"), dtype=np.uint8)
    start = 0
    for part, share in shares.items():
        end = start + round(share * len(labels))
        labels[start:end] = 1 + CELEBAMASK_PARTS.index(part)
        start = end
    return labels.reshape(100, 100)


@pytest.mark.parametrize(
    ("shares", "caption"),
    [
        ({}, "a face with little hair"),
        ({"hair": 0.1}, "a face with some hair"),
        ({"hair": 0.4, "hat": 0.1}, "a face with much hair, wearing a hat"),
        ({"hat": 0.001, "eye_g": 0.02}, "a face with little hair, wearing glasses and a hat"),
        ({"hat": 0.1, "eye_g": 0.1, "ear_r": 0.1}, "a face with little hair, wearing glasses, a hat and an earring"),
        ({"neck_l": 0.0005}, "a face with little hair"),
    ],
)
def test_a_caption_names_the_classes_that_are_present(shares: dict[str, float], caption: str) -> None:
    face = Face.of(class_shares(with_classes(**shares)))
    assert face.caption == caption and Face.parse(caption) == face


def test_every_caption_is_read_as_it_was_written_and_no_other_is() -> None:
    for hair in ("much", "some", "little"):
        for number in range(2 ** len(WORN)):
            face = Face(hair, frozenset(part for i, part in enumerate(WORN) if number >> i & 1))
            assert Face.parse(face.caption) == face
    for other in (
        "",
        "a face",
        "a face with much hair, wearing a crown",
        "a face with much hair, wearing a hat and glasses",
    ):
        with pytest.raises(ValueError, match="does not come from a label map"):
            Face.parse(other)


def test_images_get_the_captions_of_their_maps_and_keep_their_splits(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for i in range(12):
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / f"{i}.png")
        Image.fromarray(with_classes(hat=0.5 * (i % 2))).save(tmp_path / "masks" / f"{i}.png")
    layout = {"kind": "folder", "root": "images", "split": "hash"}
    plain = DatasetConfig.model_validate({"layout": layout, "image_size": 8})
    captioned = DatasetConfig.model_validate(
        {"layout": layout | {"captions": "label_maps", "label_maps": "masks"}, "image_size": 8}
    )
    raw = RawFiles()
    records = list_records(captioned, tmp_path, raw)
    assert [(r.id, r.split) for r in records] == [(r.id, r.split) for r in list_records(plain, tmp_path)]
    for record in records:
        hat = int(record.path.stem) % 2
        assert record.captions == ("a face with little hair" + (", wearing a hat" if hat else ""),)
    assert {path.name for path in raw.texts.read} == {f"{i}.png" for i in range(12)}


def test_a_missing_map_is_named(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "a.png")
    layout = {"kind": "folder", "root": "images", "split": "hash", "captions": "label_maps", "label_maps": "masks"}
    config = DatasetConfig.model_validate({"layout": layout, "image_size": 8})
    with pytest.raises(ValueError, match=r"masks/a\.png is no label map of CelebAMask-HQ .*needs one for each image"):
        list_records(config, tmp_path)


def test_the_folder_of_maps_is_given_exactly_for_captions_from_maps() -> None:
    layout = {"kind": "folder", "root": "images", "split": "hash", "label_maps": "masks"}
    with pytest.raises(ValueError, match="captions is 'none' but label_maps is 'masks'"):
        DatasetConfig.model_validate({"layout": layout, "image_size": 8})
