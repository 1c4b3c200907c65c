"""Pairs from their files to a network's input: stored as planes of one array, so that cuts and mirrors act on all alike."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import one_hot

from favae.config.dataset import DatasetConfig
from favae.config.errors import ConfigError
from favae.config.load import validate
from favae.config.pairs import ConditionConfig, LabelsConditionConfig, PairsLayoutConfig
from favae.data.batches import TrainingBatches
from favae.data.conditions import network_input, palette, shown
from favae.data.dataset import PreparedSplit
from favae.data.digest import raw_changes
from favae.data.label_maps import CELEBAMASK_FLIP_PAIRS
from favae.data.prepare import BadImagesError, prepare
from favae.models.label_maps import label_channels

LABELS = {"kind": "labels", "classes": 19, "flip_pairs": [list(pair) for pair in CELEBAMASK_FLIP_PAIRS]}


def config(condition: dict[str, Any], form: str = "folders", **changes: Any) -> DatasetConfig:
    layout = {"kind": "pairs", "form": form, "root": "raw", "condition": condition, **changes.pop("layout", {})}
    return validate(DatasetConfig, {"layout": layout, "image_size": 8, **changes}, "test")


def condition_of(chosen: DatasetConfig) -> ConditionConfig:
    assert isinstance(chosen.layout, PairsLayoutConfig)
    return chosen.layout.condition


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def run(chosen: DatasetConfig, root: Path, **options: Any) -> tuple[dict[str, Any], Path]:
    out = root / "shards"
    out.mkdir()
    return prepare(chosen, root, out, **options), out


@pytest.fixture
def coordinates(tmp_path: Path) -> Path:
    """Six pairs of 12x12: the label is the column, the image says row, column and pair."""
    rows, columns = np.mgrid[:12, :12].astype(np.uint8)
    for number in range(6):
        save(tmp_path / f"raw/B/{number}.png", np.stack([rows, columns, np.full_like(rows, number)], 2))
        save(tmp_path / f"raw/A/{number}.png", columns)
    return tmp_path


def test_a_cut_and_a_mirror_act_on_image_and_labels_alike(coordinates: Path) -> None:
    chosen = config({"kind": "labels", "classes": 19}, train_size=12)
    summary, out = run(chosen, coordinates)
    assert summary["counts"] == {"train": 6, "val": 0, "test": 0}
    split = PreparedSplit(out, "train")
    assert (split.image_shape, split.planes) == ((3, 12, 12), {"image": 3, "labels": 1})
    batches = TrainingBatches(split, 2, seed=0, augment="flip", crop=8, prefetch=0)
    corners, mirrored = set(), set()
    for step in range(60):
        batch = batches.batch(step)
        assert batch.condition is not None and batch.images.shape == (2, 3, 8, 8)
        assert torch.equal(batch.condition[:, 0], batch.images[:, 1])  # the label is the column
        for image in batch.images:
            corners.add((int(image[0].min()), int(image[1].min())))
            mirrored.add(bool(image[1, 0, 0] > image[1, 0, 7]))
            assert int(image[0].max() - image[0].min()) == int(image[1].max() - image[1].min()) == 7
    assert corners == {(top, left) for top in range(5) for left in range(5)} and mirrored == {True, False}


def test_pairs_that_were_copied_are_unchanged_and_one_other_byte_of_a_condition_is_named(coordinates: Path) -> None:
    chosen = config({"kind": "labels", "classes": 19})
    _, out = run(chosen, coordinates)
    for path in (coordinates / "raw").rglob("*.png"):
        path.write_bytes(path.read_bytes())  # newer than the prepared data, with the same content
    assert raw_changes(chosen, out, coordinates) == []
    label = coordinates / "raw/A/3.png"
    label.write_bytes(label.read_bytes()[:-1] + b"?")
    assert raw_changes(chosen, out, coordinates) == ["changed: B/3.png"]


def test_two_ranks_cut_and_mirror_like_one(coordinates: Path) -> None:
    _, out = run(config({"kind": "labels", "classes": 19}, train_size=12), coordinates)
    split, options = PreparedSplit(out, "train"), {"seed": 3, "augment": "flip", "crop": 8, "prefetch": 0}
    whole = TrainingBatches(split, 4, **options)  # type: ignore[arg-type]
    parts = [TrainingBatches(split, 2, rank=rank, world_size=2, **options) for rank in range(2)]  # type: ignore[arg-type]
    for step in range(5):
        both = [part.batch(step) for part in parts]
        assert torch.equal(torch.cat([b.images for b in both]), whole.batch(step).images)
        conditions = [b.condition for b in both if b.condition is not None]
        assert torch.equal(torch.cat(conditions), whole.batch(step).condition)  # type: ignore[arg-type]


def test_left_and_right_classes_are_exchanged_when_mirrored_only(coordinates: Path) -> None:
    chosen = config(LABELS)
    _, out = run(chosen, coordinates)
    layout = chosen.layout
    assert isinstance(layout, PairsLayoutConfig) and isinstance(layout.condition, LabelsConditionConfig)
    split = PreparedSplit(out, "train")
    aware = TrainingBatches(split, 2, 0, augment="flip", prefetch=0, flip_pairs=layout.condition.flip_pairs)
    unaware = TrainingBatches(split, 2, 0, augment="flip", prefetch=0)
    exchange = torch.arange(256)
    for left, right in CELEBAMASK_FLIP_PAIRS:
        exchange[left], exchange[right] = right, left
    seen = set()
    for step in range(12):
        ours, theirs, stored = aware.batch(step), unaware.batch(step), split.stored(aware.batch(step).rows)
        assert torch.equal(ours.images, theirs.images)
        for mine, plain, raw in zip(ours.condition, theirs.condition, stored[:, 3:], strict=True):  # type: ignore[arg-type]
            mirrored = not torch.equal(plain, raw)
            seen.add(mirrored)
            assert torch.equal(mine.long(), exchange[plain.long()] if mirrored else plain.long())
    assert seen == {True, False}


def test_a_crop_larger_than_the_images_is_refused(coordinates: Path) -> None:
    _, out = run(config({"kind": "labels", "classes": 19}), coordinates)
    with pytest.raises(ValueError, match=r"a crop of 9 does not fit into images of \(8, 8\): reduce image_size"):
        TrainingBatches(PreparedSplit(out, "train"), 2, 0, crop=9)


@pytest.mark.parametrize("interrupted", [False, True])
def test_the_stored_planes_are_the_files_and_hashed(coordinates: Path, interrupted: bool) -> None:
    chosen = config(LABELS, image_size=12, shard_rows=4, layout={"order": {"train": 3, "val": 2}})
    unfinished = coordinates / "unfinished" if interrupted else None
    summary, out = run(chosen, coordinates, unfinished=unfinished)
    assert summary["counts"] == {"train": 3, "val": 2, "test": 1} and summary["image_shape"] == [12, 12, 4]
    assert json.loads((out / "planes.json").read_text()) == {"image": 3, "labels": 1}
    stored = PreparedSplit(out, "val").stored(range(2)).permute(0, 2, 3, 1).numpy()
    for number, found in zip((3, 4), stored, strict=True):
        files = [coordinates / f"raw/{side}/{number}.png" for side in "BA"]
        assert np.array_equal(found, np.concatenate([np.atleast_3d(np.asarray(Image.open(f))) for f in files], 2))
    assert summary["pixel_sha256"]["val"] == hashlib.sha256(stored.tobytes()).hexdigest()
    assert (out / "raw.csv").read_text().count("A/") == 6


def test_every_bad_pair_is_named(coordinates: Path) -> None:
    raw = coordinates / "raw"
    save(raw / "A/0.png", np.zeros((12, 10), np.uint8))
    save(raw / "A/1.png", np.full((12, 12), 19, np.uint8))
    save(raw / "A/2.png", np.full((12, 12), 26001, np.uint16))
    save(raw / "A/3.png", np.zeros((12, 12, 3), np.uint8))
    with pytest.raises(BadImagesError) as error:
        run(config(LABELS), coordinates)
    said = str(error.value)
    for part in (
        "4 of 6 images cannot be used",
        "A/0.png: 10x12 pixels, but its image 0.png has 12x12; expected one size",
        "A/1.png: class 19 in 144 pixels; expected 0 to 18",
        "A/2.png: mode I;16, 16 bits; expected 8-bit class indices",
        "A/3.png: mode RGB; expected class indices",
    ):
        assert part in said, said
    (raw / "A/5.png").unlink()
    with pytest.raises(ValueError, match="1 of 6 pairs have no partner in A: 5"):
        prepare(config(LABELS), coordinates, coordinates / "shards")


@pytest.mark.parametrize(
    ("condition", "layout", "message"),
    [
        ({"kind": "labels", "classes": 4, "flip_pairs": [[3, 4]]}, {}, "flip_pairs has .*, but classes are 0 to 3"),
        ({"kind": "labels", "classes": 19, "edges": True}, {}, "only Cityscapes is published with instance maps"),
        ({"kind": "labels", "classes": 19}, {"form": "facades"}, "holds colours, not class indices"),
        ({"kind": "labels", "classes": 11, "colours": "facades"}, {"form": "facades"}, "has 12 classes"),
        ({"kind": "image"}, {"order": {"train": 1, "val": 1}, "val_from_train": 1}, "remove val_from_train"),
    ],
)
def test_contradictions_are_refused_before_anything_is_read(
    condition: dict[str, Any], layout: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        config(condition, layout=layout)


def test_the_filter_changes_the_stored_pixels(coordinates: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(6):
        save(coordinates / f"raw/B/{number}.png", rng.integers(0, 256, (12, 12, 3)).astype(np.uint8))
    stored = {}
    for name in ("bilinear", "bicubic", "lanczos", "box"):
        out = coordinates / name
        out.mkdir()
        prepare(config({"kind": "labels", "classes": 19}, filter=name), coordinates, out)
        stored[name] = PreparedSplit(out, "train").stored(range(6))
    assert len({pixels[:, :3].numpy().tobytes() for pixels in stored.values()}) == 4
    assert len({pixels[:, 3].numpy().tobytes() for pixels in stored.values()}) == 1  # labels are not mixed


@pytest.mark.parametrize("dont_care", ["refuse", "channel", "zeros"])
def test_labels_become_channels_and_instances_borders(dont_care: Any) -> None:
    condition = LabelsConditionConfig(kind="labels", classes=5, dont_care=dont_care, edges=True)
    labels = torch.tensor([[[0, 4], [2, 4]]])
    if dont_care != "refuse":
        labels[0, 0, 0] = 255
    ids = torch.tensor([[[7, 260], [7, 260]]])
    stored = torch.stack([labels, ids // 256, ids % 256], 1).to(torch.uint8)
    found = network_input(stored, condition)
    assert found.shape == (1, condition.channels, 2, 2)
    assert condition.channels == label_channels(5, dont_care, edges=True)
    expected = one_hot(labels.clamp(max=5), 6).permute(0, 3, 1, 2)[:, : condition.channels - 1].float()
    assert torch.equal(found[:, :-1], expected) and torch.equal(found[:, -1], torch.ones(1, 2, 2))


def test_a_condition_is_shown_in_distinct_colours() -> None:
    assert len({tuple(colour) for colour in palette().tolist()}) == 256 and palette()[:2].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
    ]
    image = torch.arange(12, dtype=torch.uint8).view(1, 3, 2, 2)
    assert torch.equal(shown(image, condition_of(config({"kind": "image"}))), image / 127.5 - 1)
    drawn = shown(image[:, :1], LabelsConditionConfig(kind="labels", classes=4))
    assert torch.equal(((drawn + 1) * 127.5).round().to(torch.uint8)[0, :, 0, 1], palette()[1])


def test_real_facades_are_stored_larger_for_training_and_as_published_for_val(test_data: Path, tmp_path: Path) -> None:
    chosen = config(
        {"kind": "image"},
        "facades",
        image_size=64,
        train_size=72,
        filter="bicubic",
        limit={"train": 4, "val": 2},
        layout={"root": "facades"},
    )
    out = tmp_path / "shards"
    out.mkdir()
    summary = prepare(chosen, test_data / "raw", out)
    assert summary["found"] == {"train": 4, "val": 2, "test": 0}
    train, val = PreparedSplit(out, "train"), PreparedSplit(out, "val")
    assert (train.image_shape, val.image_shape) == ((3, 72, 72), (3, 64, 64))
    published = Image.open(test_data / "raw/facades" / f"{val.ids[0]}.jpg").convert("RGB")
    halves = [
        published.crop(box).resize((64, 64), Image.Resampling.BICUBIC) for box in ((0, 0, 256, 256), (256, 0, 512, 256))
    ]
    found = val.stored([0])[0].permute(1, 2, 0).numpy()
    assert np.array_equal(found[..., :3], np.asarray(halves[0])) and np.array_equal(
        found[..., 3:], np.asarray(halves[1])
    )


def test_real_facades_as_twelve_classes_and_real_faces_as_nineteen(test_data: Path, tmp_path: Path) -> None:
    facades = config(
        {"kind": "labels", "classes": 12, "colours": "facades"},
        "facades",
        limit={"train": 3, "val": 1},
        layout={"root": "facades"},
        image_size=64,
    )
    faces = config(
        LABELS,
        limit={"train": 3, "val": 1, "test": 1},
        image_size=64,
        layout={
            "root": "celebamask",
            "condition_folder": "masks",
            "image_folder": "images",
            "order": {"train": 700, "val": 100},
        },
    )
    for name, chosen, classes in (("facades", facades, 12), ("faces", faces, 19)):
        out = tmp_path / name
        out.mkdir()
        prepare(chosen, test_data / "raw", out)
        labels = PreparedSplit(out, "train").stored(range(3))[:, 3]
        assert len(labels.unique()) > 5 and int(labels.max()) < classes
