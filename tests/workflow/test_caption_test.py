"""Whether a thing named in a caption changes the images: with images that obey, images that do not, and a whole tiny chain."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML
from torch import Tensor, nn
from traced import CAPTION_STAGE, unrecorded
from typer.testing import CliRunner

from favae.cli.main import app
from favae.data.label_maps import CELEBAMASK_PARTS
from favae.data.mask_captions import THINGS, Face
from favae.jobs.grid import load_grid
from favae.stages.evaluate_captions import effects_of, real_effects
from favae.stages.runner import run_job

ROOT = Path(__file__).parents[2]
SHARES = {"much": 0.4, "some": 0.2, "little": 0.05}  # of hair
CLASSES = 1 + len(CELEBAMASK_PARTS)
FACES = [Face(hair, frozenset(worn)) for hair in SHARES for worn in ([], ["hat"], ["eye_g", "neck_l"])]


def labels_of(face: Face, side: int = 20) -> np.ndarray:
    """A label map of what a face has: hair in the first rows, 2 % of the pixels for each thing, skin elsewhere."""
    labels = np.full(side * side, 1 + CELEBAMASK_PARTS.index("skin"), np.uint8)
    hair = round(SHARES[face.hair] * labels.size)
    labels[:hair] = 1 + CELEBAMASK_PARTS.index("hair")
    for i, part in enumerate(sorted(face.worn)):
        labels[labels.size - 8 * (i + 1) : labels.size - 8 * i] = 1 + CELEBAMASK_PARTS.index(part)
    return labels.reshape(side, side)


def image_of(face: Face) -> Tensor:
    """An image [3,H,W] in [-1, 1] whose levels are the classes."""
    return torch.from_numpy(labels_of(face)).float().div(10).sub(1).expand(3, -1, -1)


class Reads(nn.Module):
    """A segmenter that reads the classes of `image_of`."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return nn.functional.one_hot(((x_BCHW[:, 0] + 1) * 10).round().long(), CLASSES).permute(0, 3, 1, 2)


def obeying(captions: list[str]) -> Iterator[Tensor]:
    yield from torch.stack([image_of(Face.parse(caption)) for caption in captions]).split(4)


def disobeying(captions: list[str]) -> Iterator[Tensor]:
    yield torch.stack([image_of(FACES[1])] * len(captions))


def test_images_that_obey_have_the_whole_effect_and_images_that_do_not_none() -> None:
    effects, shown = effects_of(FACES, obeying, Reads())
    assert list(effects) == [f"caption_{name}" for name in THINGS.values()]
    assert (effects.drop(columns="caption_hair") == 1).all(axis=None)
    np.testing.assert_allclose(effects["caption_hair"], SHARES["much"] - SHARES["little"])
    assert shown.shape == (2 * len(THINGS) * 20, 8 * 20, 3)
    effects, _ = effects_of(FACES, disobeying, Reads())
    assert (effects == 0).all(axis=None)


def test_real_images_are_measured_by_their_own_captions() -> None:
    images = torch.stack([image_of(face) for face in FACES])
    real = real_effects(FACES, images.split(4), Reads())
    assert real["caption_earring"] is None  # no caption names one
    assert [real[f"caption_{name}"] for name in ("hat", "glasses", "necklace")] == [1, 1, 1]
    assert real["caption_hair"] == pytest.approx(SHARES["much"] - SHARES["little"])  # some hair is neither
    other = real_effects(FACES, images.roll(1, 0).split(4), Reads())  # images of others
    assert other["caption_hat"] == pytest.approx(0 - 3 / 6)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test scale with faces, their label maps and captions, a CAT and a segmenter; nothing has run."""
    shutil.copytree(ROOT / "tests/support/project/params", tmp_path / "params")
    for name in ("published.yaml", "weights.yaml"):
        shutil.copy(ROOT / "params" / name, tmp_path / "params")
    for number in range(24):
        labels = labels_of(FACES[number % len(FACES)], side=24)
        for folder, pixels in (("masks", labels), ("images", np.repeat(labels[:, :, None] * 10, 3, 2))):
            path = tmp_path / "raw/faces" / folder / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    yaml = YAML()
    changes = {
        "datasets": {
            "faces": {
                "layout": {
                    "kind": "folder",
                    "root": "faces/images",
                    "split": "hash",
                    "test_share": 0.4,
                    "captions": "label_maps",
                    "label_maps": "faces/masks",
                }
            },
            "masks": {
                "layout": {
                    "kind": "pairs",
                    "form": "folders",
                    "root": "faces",
                    "condition_folder": "masks",
                    "image_folder": "images",
                    "condition": {"kind": "labels", "classes": CLASSES},
                    "order": {"train": 16, "val": 4},
                }
            },
        },
        "text_to_image": {
            "captions": {"seed": 0, "guidance": 3.0, "top_k": 500, "top_p": 0.95, "n": 5},
            "segmenter": {
                "model": {"classes": CLASSES, "base_channels": 4, "levels": 2},
                "lr": 0.01,
                "training": {
                    "seed": 0,
                    "batch_size": 4,
                    "length": "2 steps",
                    "validate_every": "2 steps",
                    "checkpoint_every": "2 steps",
                    "threads": 1,
                },
            },
        },
        "tiny": {"faces": {"image_size": 24}, "captions": {"batch_size": 8}, "none": {}},
    }
    for name, tree in changes.items():
        file = tmp_path / "params" / f"{name}.yaml"
        whole = yaml.load(file)
        whole.update(tree)
        yaml.dump(whole, file)
    recipe = {"recipe": "text_to_image"}
    grid = {
        "prepare_dataset": [{"recipe": "datasets", "rows": ["faces", "masks"], "numbers": "faces"}],
        "train_autoencoder": [{"recipe": "table2", "rows": "r4", "numbers": "f4", "dataset": "faces", "name": "model"}],
        "tokenize_images": [{**recipe, "rows": "tokens", "numbers": "tokens", "model": "model", "dataset": "faces"}],
        "train_cat": [{**recipe, "rows": "cat", "numbers": "cat", "tokens": "model", "name": "cat"}],
        "train_segmenter": [{**recipe, "rows": "segmenter", "numbers": "none", "dataset": "masks"}],
        "evaluate_captions": [
            {
                **recipe,
                "rows": "captions",
                "numbers": "captions",
                "cat": "cat",
                "model": "model",
                "dataset": "faces",
                "segmenter": "masks",
            }
        ],
    }
    yaml.dump({"active": "tiny", "tiny": grid}, tmp_path / "params/grid.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAVAE_RAW", str(tmp_path / "raw"))
    load_grid.cache_clear()
    return tmp_path


def test_the_stage_measures_each_thing_for_each_caption(project: Path) -> None:
    grid = load_grid("tiny")
    grid.check()
    for job in grid:
        run_job(job)
    folder = project / "data/tiny/evaluate_captions/cat"
    found, table = json.loads((folder / "metrics.json").read_text()), pd.read_csv(folder / "images.csv")
    assert set(found) == {f"caption_{name}{real}_test" for name in THINGS.values() for real in ("", "_real")}
    for name in THINGS.values():
        assert found[f"caption_{name}_test"]["value"] == pytest.approx(table[f"caption_{name}"].mean())
        assert found[f"caption_{name}_test"]["n"] == 5
    assert Image.open(folder / "samples.png").size == (5 * 24, 2 * len(THINGS) * 24)
    assert found["caption_earring_real_test"]["note"] == "not measured: captions name it in no image, or in all"
    assert not unrecorded(grid.job(CAPTION_STAGE, "cat"), project / "traced")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "datasets",
            "captions: label_maps\n    label_maps: faces/masks",
            "captions: none",
            "no captions from label maps",
        ),
        ("text_to_image", f"classes: {CLASSES}", "classes: 3", "finds 3 classes, expected the 19 of CelebAMask-HQ"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_runs(
    project: Path, file: str, old: str, new: str, message: str
) -> None:
    path = project / "params" / f"{file}.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    load_grid.cache_clear()
    done = CliRunner().invoke(app, ["check", "--scale", "tiny"])
    assert done.exit_code == 1 and message in str(done.exception or done.output)
