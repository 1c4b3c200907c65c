"""Splits share no source pixel, captions are correct, and the photographs are the described ones."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from favae.config.dataset import DatasetConfig, TilesLayoutConfig
from favae.data.layouts import list_records
from favae.data.records import SPLITS, ImageRecord
from favae.data.shipped import SHIPPED_IMAGES, shipped_path
from favae.data.tiles import regions, tile_caption, tile_records

WINDOWS = [0.16, 0.22, 0.3]


def _layout(images: list[str] | None = None, **changes: object) -> TilesLayoutConfig:
    return TilesLayoutConfig(kind="tiles", images=images or sorted(SHIPPED_IMAGES), **{"windows": WINDOWS, **changes})


@pytest.fixture(scope="module")
def records() -> list[ImageRecord]:
    return tile_records(_layout())


def test_no_source_pixel_is_in_two_splits(records):
    for name, photo in SHIPPED_IMAGES.items():
        width, height = photo.size
        painted = {split: np.zeros((height, width), bool) for split in SPLITS}
        for record in records:
            if record.id.startswith(f"{name}-"):
                left, top, right, bottom = record.box
                assert 0 <= left < right <= width and 0 <= top < bottom <= height
                painted[record.split][top:bottom, left:right] = True
        assert all(area.any() for area in painted.values()), name
        assert not (painted["train"] & painted["val"]).any()
        assert not (painted["train"] & painted["test"]).any()
        assert not (painted["val"] & painted["test"]).any()


def test_regions_are_the_gap_apart_and_use_the_rest():
    layout = _layout(gap=10, held_out=0.4, val_share=0.5)
    for photo in SHIPPED_IMAGES.values():
        used = np.zeros(photo.size[::-1], int)
        for left, top, right, bottom in regions(photo, layout).values():
            used[top:bottom, left:right] += 1
        assert used.max() == 1
        width, height = photo.size
        horizontal = photo.band in ("left", "right")
        across, along = (height, width) if horizontal else (width, height)
        band = round(0.4 * along)
        unused = 10 * across + 10 * (band - 5)
        assert abs((used == 0).sum() - unused) <= across + along  # rounding of the cuts


def test_sizes_and_hashes_of_the_shipped_images_are_as_recorded():
    for name, photo in SHIPPED_IMAGES.items():
        with Image.open(shipped_path(photo)) as image:
            assert image.size == photo.size, name
        for what, (left, top, right, bottom) in photo.parts:
            assert 0 <= left < right <= photo.size[0] and 0 <= top < bottom <= photo.size[1], (name, what)


def test_another_file_is_detected(monkeypatch):
    monkeypatch.setattr("favae.data.tiles.shipped_path", lambda photo: shipped_path(SHIPPED_IMAGES["coffee"]))
    with pytest.raises(ValueError, match="SHA-256"):
        tile_records(_layout(["moon"]))


def test_an_unknown_image_lists_similar_names():
    with pytest.raises(
        ValueError, match=r"layout\.images: unknown name 'dog'; available, for instance: \w+, \w+, \w+$"
    ):
        tile_records(_layout(["coffee", "dog"]))


def test_a_window_that_fits_nowhere_is_an_error():
    with pytest.raises(ValueError, match=r"does not fit the \w+ region .*coffee"):
        tile_records(_layout(["coffee"], windows=[0.9]))


def test_records_are_unique_and_deterministic(records):
    assert records == tile_records(_layout())
    assert len({r.id for r in records}) == len(records)


def test_smaller_stride_gives_more_tiles_only_in_its_split(records):
    dense = tile_records(_layout(train_stride=0.2))
    for split in SPLITS:
        before, after = (sum(r.split == split for r in rs) for rs in (records, dense))
        assert after > before if split == "train" else after == before


def test_caption_names_the_part_that_fills_the_tile(records):
    wheel = [r for r in records if r.id.startswith("motorcycle") and "a front wheel" in r.captions[0]]
    assert wheel and all(r.split == "test" for r in wheel)  # the front wheel is in the test region
    eyes = [r.box for r in records if "a green eye" in r.captions[0]]
    assert all(box[1] < 165 and box[3] > 85 for box in eyes)


@pytest.mark.parametrize(
    ("colour", "words"),
    [
        ((250, 250, 250), "bright, smooth, mostly white"),
        ((5, 5, 5), "dark, smooth, mostly black"),
        ((128, 128, 128), "of medium brightness, smooth, mostly grey"),
        ((220, 30, 20), "mostly red"),
        ((240, 140, 40), "mostly orange"),
        ((120, 70, 30), "mostly brown"),
        ((30, 160, 40), "mostly green"),
        ((20, 40, 200), "mostly blue"),
    ],
)
def test_caption_has_the_measured_brightness_and_colour(colour, words):
    pixels = np.full((16, 16, 3), colour, np.uint8)
    pixels[:5] = 128  # a minority of other pixels does not change the word
    record = ImageRecord("a", shipped_path(SHIPPED_IMAGES["moon"]), "s", "train", ("a view of a thing",))
    caption = tile_caption(record, pixels)
    assert caption.startswith("a view of a thing; ") and caption.endswith(words.split(", ")[-1])
    assert tile_caption(record, np.full((16, 16, 3), colour, np.uint8)).endswith(words)


def test_caption_tells_noise_from_a_plain_surface(noise):
    record = ImageRecord("a", shipped_path(SHIPPED_IMAGES["moon"]), "s", "train", ("a view",))
    assert "finely detailed" in tile_caption(record, noise(16, 16, 3))
    assert "smooth" in tile_caption(record, noise(1, 1, 3).repeat(16, 0).repeat(16, 1))


def test_layout_needs_no_raw_data_and_rejects_unknown_keys():
    config = DatasetConfig(layout=_layout(["coffee"]), image_size=64)
    assert {r.source for r in list_records(config, Path())} == {"skimage/data/coffee.png"}
    with pytest.raises(ValidationError, match="strde"):
        _layout(strde=1)
