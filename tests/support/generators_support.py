"""A project of pix2pix, SPADE and StyleGAN2 at the size of a thumbnail: its parameters, raw images, and a label network."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from gan_support import TREES
from PIL import Image

from favae.pretrained.label_networks import LabelNetwork

TRAINING = {
    "seed": 0,
    "selection": "last",
    "batch_size": 4,
    "length": "4 steps",
    "validate_every": "4 steps",
    "checkpoint_every": "4 steps",
    "threads": 1,
}
SMALL = {"feature_networks": ["inception", "randconv"], "n": 5}
TRANSLATION = {**SMALL, "metrics": ["psnr", "log_spectral_error", "frechet", "kid"]}
PARAMS: dict[str, Any] = {
    "grid": {
        "active": "tiny",
        "tiny": {
            "prepare_dataset": [{"recipe": "datasets", "rows": "all", "numbers": "images"}],
            "train_generator": [
                {
                    "recipe": "gan",
                    "rows": "pix2pix",
                    "numbers": ["s0", "s1"],
                    "dataset": "edges",
                    "name": "{row}-{numbers}",
                },
                {"recipe": "gan", "rows": "spade", "numbers": "s0", "dataset": "masks", "name": "{row}"},
                {"recipe": "gan", "rows": "copy", "numbers": "s0", "dataset": "edges", "name": "{row}"},
                {"recipe": "gan", "rows": "stylegan2", "numbers": "s0", "dataset": "photos", "name": "{row}"},
            ],
            "train_segmenter": [{"recipe": "evaluation", "rows": "segmenter", "numbers": "empty", "dataset": "masks"}],
            "evaluate_segmentation": [
                {
                    "recipe": "evaluation",
                    "rows": "segmentation",
                    "numbers": "empty",
                    "model": "spade",
                    "dataset": "own",
                    "segmenter": "masks",
                }
            ],
            "compute_reference_statistics": [
                {"recipe": "evaluation", "rows": "reference", "numbers": "empty", "dataset": "all"}
            ],
            "evaluate_generator": [
                {
                    "recipe": "evaluation",
                    "rows": "translation",
                    "numbers": "empty",
                    "model": "pix2pix-*",
                    "dataset": "own",
                },
                {
                    "recipe": "evaluation",
                    "rows": "translation-labels",
                    "numbers": "empty",
                    "model": "spade",
                    "dataset": "own",
                },
                {
                    "recipe": "evaluation",
                    "rows": "translation-eval",
                    "numbers": "empty",
                    "model": "copy",
                    "dataset": "own",
                },
                {"recipe": "evaluation", "rows": "drawing", "numbers": "empty", "model": "stylegan2", "dataset": "own"},
            ],
            "make_tables": [{"recipe": "tables", "rows": "tiny", "numbers": "empty"}],
            "make_figures": [{"recipe": "figures", "rows": "tiny", "numbers": "empty"}],
        },
    },
    "tiny": {
        "images": {"image_size": 32},
        "s0": {"training": {"seed": 0}},
        "s1": {"training": {"seed": 1}},
        "empty": {},
    },
    "datasets": {
        "edges": {
            "layout": {"kind": "pairs", "form": "side_by_side", "root": "edges", "condition": {"kind": "image"}},
            "train_size": 36,
        },
        "masks": {
            "layout": {
                "kind": "pairs",
                "form": "folders",
                "root": "masks",
                "condition": {"kind": "labels", "classes": 3},
                "order": {"train": 8, "val": 1},
            }
        },
        "photos": {
            "layout": {"kind": "folder", "root": "masks/B", "split": "hash", "test_share": 0.4, "val_share": 0.01}
        },
    },
    "gan": {kind: {**tree, "training": TRAINING} for kind, tree in TREES.items()}
    | {"copy": {"model": {"kind": "copy", "image_size": 32}, "training": TRAINING}},
    "evaluation": {
        "reference": {"images": ["test", "train"], **SMALL},
        "segmenter": {
            "model": {"classes": 3, "base_channels": 4, "levels": 2},
            "lr": 0.01,
            "training": {**TRAINING, "selection": "best"},
        },
        "segmentation": {"n": 5},
        "translation": {**TRANSLATION, "test_mode": "train"},
        "translation-eval": TRANSLATION,
        "translation-labels": {**TRANSLATION, "sets": ["moments", "real", "inception_score", "drn_d_105"]},
        "drawing": {**SMALL, "metrics": ["frechet", "kid"]},
    },
    "tables": {
        "tiny": {
            "tables": [
                {
                    "id": "pairs",
                    "title": "Pairs",
                    "comparable": False,
                    "note": "none",
                    "columns": [
                        "psnr_test",
                        "fd_randconv_test",
                        "fd_randconv_real_test",
                        "kid_randconv_test",
                        "fid_test",
                        "is_test",
                    ],
                    "published_columns": {"fid_test": "fid", "is_test": "is"},
                    "rows": [
                        {"each": "evaluate_generator/pix2pix-*", "published": "ffl-table4/facades-without"},
                        {"each": "evaluate_generator/spade-*"},
                    ],
                },
                {
                    "id": "drawn",
                    "title": "Drawn",
                    "comparable": False,
                    "note": "none",
                    "columns": ["variance_ratio_test", "mean_distance_test", "set_spectrum_error_high_test"],
                    "rows": [{"each": "evaluate_generator/stylegan2-*"}],
                },
            ]
        }
    },
    "figures": {
        "tiny": {
            "style": {"dpi": 40, "width": 6},
            "figures": [
                {
                    "id": "pairs",
                    "kind": "reconstructions",
                    "title": "p",
                    "series": [{"each": "evaluate_generator/pix2pix-*"}],
                },
                {"id": "drawn", "kind": "drawn", "title": "d", "series": [{"each": "evaluate_generator/stylegan2-*"}]},
                {"id": "spectra", "kind": "spectra", "title": "s", "series": [{"each": "evaluate_generator/*"}]},
            ],
        }
    },
}


COLOURS = np.array([[40, 40, 40], [220, 60, 60], [60, 60, 220]], np.uint8)


class NearestColour(LabelNetwork):
    """In place of DRN-D-105, whose weights are not here."""

    classes = 3

    def forward(self, image_B3HW: torch.Tensor) -> torch.Tensor:
        colours = torch.from_numpy(COLOURS)[..., None, None] / 255
        return (image_B3HW[:, None] - colours).square().sum(2).argmin(1)

    def truth(self, stored_BHW: torch.Tensor) -> torch.Tensor:
        return torch.where(stored_BHW == 2, 255, stored_BHW.long())  # class 2 is void


def write_raw(root: Path) -> None:
    """Edges beside photographs, and photographs with label maps: squares in three colours."""
    rng = np.random.default_rng(0)
    for number in range(16):
        labels = np.zeros((40, 40), np.uint8)
        for value in (1, 2):
            top, left = rng.integers(0, 24, 2)
            labels[top : top + 14, left : left + 14] = value
        edges = 255 * np.repeat((labels == 0)[:, :, None], 3, 2).astype(np.uint8)
        photo = np.clip(COLOURS[labels].astype(int) + rng.integers(-20, 20, (40, 40, 3)), 0, 255).astype(np.uint8)
        files = {
            f"edges/{'train' if number < 10 else 'test'}/{number}.png": np.concatenate([edges, photo], 1),
            f"masks/A/{number:02d}.png": labels,
            f"masks/B/{number:02d}.png": photo,
        }
        for name, pixels in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / name)
