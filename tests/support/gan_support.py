"""Tiny pix2pix, SPADE and StyleGAN2 trainings, and a paired data set of squares, for tests of their tasks."""

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from favae.config.gan import GeneratorTrainingConfig
from favae.config.load import deep_merge, validate
from favae.config.pairs import ImageConditionConfig, LabelsConditionConfig
from favae.config.training_kinds import generator_config
from favae.data.dataset import PreparedSplit
from favae.data.shards import ShardWriter
from favae.training.distributed import Ranks
from favae.training.gan import GanTask, TrainingData

SIDE, CLASSES = 32, 3
_TRAINING = {
    "seed": 5,
    "batch_size": 4,
    "length": "6 steps",
    "validate_every": "3 steps",
    "checkpoint_every": "1 step",
    "selection": "last",
    "threads": 1,
    "augment": "flip",
    "validation_images": 4,
}
_PAIR = {"betas": [0.5, 0.999], "schedule": {"constant": 1, "decay": 1, "lr_step": "after"}}
TREES: dict[str, dict[str, Any]] = {
    "pix2pix": {
        "model": {"kind": "pix2pix", "image_size": SIDE, "base_channels": 4},
        "discriminator": {"base_channels": 4, "layers": 2},
        "objective": {"terms": {"l1": {"kind": "l1", "weight": 100}, "ffl": {"kind": "ffl", "weight": 10}}},
        "optimizer": {"generator_lr": 2e-3, "discriminator_lr": 2e-3, **_PAIR},
    },
    "spade": {
        "model": {
            "kind": "spade",
            "image_size": SIDE,
            "map_channels": CLASSES,
            "base_channels": 1,
            "hidden": 4,
            "norm": "sync_batch",
        },
        "discriminator": {"base_channels": 4, "layers": 3},
        "objective": {"terms": {"ffl": {"kind": "ffl", "weight": 10}}},
        "optimizer": {"generator_lr": 1e-3, "discriminator_lr": 4e-3, **_PAIR, "betas": [0, 0.9]},
    },
    "stylegan2": {
        "model": {
            "kind": "stylegan2",
            "image_size": SIDE,
            "z": 8,
            "w": 8,
            "mapping_layers": 2,
            "base_channels": 64,
            "max_channels": 8,
        },
        "discriminator": {"base_channels": 64, "max_channels": 8, "group": 1},
        "objective": {
            "r1": {"gamma": 1, "interval": 2},
            "path_length": {"interval": 2},
            "terms": {"ffl": {"kind": "batch_ffl", "weight": 1, "across_ranks": "global"}},
        },
        "optimizer": {"lr": 2e-3, "average_half_life": 0.01},
    },
}


def config_of(kind: str, *changes: dict[str, Any]) -> GeneratorTrainingConfig:
    """The tiny training of a kind, with changes."""
    tree = deep_merge([TREES[kind], {"training": _TRAINING}, *changes])
    return validate(generator_config, tree, kind)  # type: ignore[return-value]


def write_pairs(folder: Path, kind: str) -> Path:
    """Eight training and four val pairs: coloured squares, and for pix2pix their edges as an image, else their classes."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    index = ["split,shard,row,id,source,sha256,label,box"]
    colours = np.array([[40, 40, 40], [220, 60, 60], [60, 60, 220]], np.uint8)
    depth = 3 if kind == "pix2pix" else 1
    for split, count in (("train", 8), ("val", 4)):
        with ShardWriter(folder, split, 100, (SIDE, SIDE, 3 + depth)) as writer:  # type: ignore[arg-type]
            for number in range(count):
                labels = np.zeros((SIDE, SIDE), np.uint8)
                for value in (1, 2):
                    top, left = rng.integers(0, SIDE - 10, 2)
                    labels[top : top + 10, left : left + 10] = value
                condition = (100 * labels if kind == "pix2pix" else labels)[:, :, None].repeat(depth, 2)
                pixels = np.concatenate([colours[labels], condition], 2)
                shard, row = writer.append(pixels)
                index.append(f"{split},{shard},{row},{split}{number},s,0,,")
    (folder / "index.csv").write_text("\n".join(index) + "\n")
    (folder / "captions.csv").write_text("id,caption\n")
    (folder / "planes.json").write_text(json.dumps({"image": 3, ("condition" if depth == 3 else "labels"): depth}))
    return folder


def data_of(folder: Path, kind: str) -> TrainingData:
    """The splits as a task gets them."""
    train, val = PreparedSplit(folder, "train"), PreparedSplit(folder, "val")
    if kind == "pix2pix":
        return TrainingData(train, val, ImageConditionConfig(kind="image"))
    return TrainingData(train, val, LabelsConditionConfig(kind="labels", classes=CLASSES))


def task_of(config: GeneratorTrainingConfig, data: TrainingData, ranks: Ranks) -> GanTask:
    """The task of a training."""
    module, name = config.task.split(":")
    return getattr(importlib.import_module(module), name)(config, data, ranks)
