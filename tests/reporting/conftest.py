"""A project folder with the parameters of the tests and small results, written as the stages write them."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tables_support import REPOSITORY, table
from tests_support import write_params

from favae.config.evaluation import EvaluationConfig
from favae.config.load import read_yaml, validate
from favae.config.reporting import Published
from favae.evaluation.evaluators import GenerationEvaluator, ReconstructionEvaluator
from favae.jobs.grid import Grid, Job
from favae.reporting.results import Results
from favae.reporting.tables import Entry, table_entries
from favae.results.cards import write_card
from favae.runtime import paths
from favae.runtime.hashes import sha256_file

SIZE = 32
IMAGES = 6


def _images(seed: int) -> torch.Tensor:
    """Smooth uint8 images with some texture: [n,3,SIZE,SIZE]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(IMAGES, 3, 5, 5, generator=generator) * 200
    smooth = torch.nn.functional.interpolate(coarse, size=(SIZE, SIZE), mode="bicubic")
    return (smooth + 30 * torch.rand(smooth.shape, generator=generator)).clamp(0, 255).to(torch.uint8)


def _to_uint8(image: torch.Tensor) -> np.ndarray:
    return ((image.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def _finish(job: Job, files: dict[str, object]) -> None:
    folder = job.card.parent
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if isinstance(content, pd.DataFrame):
            content.to_csv(folder / name, index=False)
        elif name.endswith(".npz"):
            np.savez_compressed(folder / name, **content)
        else:
            (folder / name).write_text(json.dumps(content))
    inputs = {path.as_posix(): sha256_file(path) for path in job.inputs.values() if path.exists()}
    roles = {role: job.roles[role] for role in ("model", "dataset") if role in job.roles}
    write_card(job, f"{len(job.cell):064x}", inputs, [folder / name for name in files], roles)


def write_reconstruction(job: Job, noise: float) -> None:
    """Files of `evaluate_reconstruction` for originals of 32 pixels and noisy copies."""
    original = _images(len(job.roles["dataset"]))
    generator = torch.Generator().manual_seed(1)
    copy = original.float() / 127.5 - 1 + noise * torch.randn(original.shape, generator=generator)
    protocol = EvaluationConfig(feature_networks=("inception", "randconv"), lpips_nets=("vgg",))
    evaluator = ReconstructionEvaluator(protocol, codebook_size=16)
    ids = [f"image-{i}" for i in range(IMAGES)]
    evaluator.update(original, copy, torch.randint(0, 16, (IMAGES, 4, 4), generator=generator), ids)
    examples = {
        "original": original.permute(0, 2, 3, 1).numpy(),
        "reconstruction": _to_uint8(copy),
        "id": np.array(ids),
    }
    tables = {"images.csv": evaluator.per_image(), "spectrum.csv": evaluator.spectrum()}
    _finish(job, {"metrics.json": evaluator.result(), "examples.npz": examples, **tables})


def write_generation(job: Job) -> None:
    """Files of `generate_images` at guidance 1 and 3."""
    protocol = EvaluationConfig(metrics=("frechet",), feature_networks=("inception", "randconv"))
    real, metrics = _images(0), {}
    examples = {
        "caption": np.array([f"caption {i}, which goes on for some length" for i in range(IMAGES)]),
        "real": real.permute(0, 2, 3, 1).numpy(),
    }
    for scale in (1.0, 3.0):
        evaluator = GenerationEvaluator(protocol)
        evaluator.update_real(real)
        evaluator.update_generated(_images(int(scale)).float() / 127.5 - 1)
        examples[f"guidance_{scale:g}"] = _images(int(scale)).permute(0, 2, 3, 1).numpy()
        metrics |= {f"{name}_guidance{scale:g}": metric for name, metric in evaluator.result().items()}
    _finish(job, {"metrics.json": metrics, "examples.npz": examples})


def write_curves(job: Job) -> None:
    """Learning curves with the columns of a training stage: means of losses each 10 steps, validation each 50."""
    step = np.arange(10, 201, 10)
    falling = np.exp(-step / 80)
    if job.stage.name == "train_cat":
        columns = {"train/cross_entropy": 6 * falling + 1, "val/cross_entropy": 6 * falling + 1.5}
        columns["val/cross_entropy_without_text"] = columns["val/cross_entropy"] + 0.3
    else:
        columns = {"train/l1": falling, "train/image_ffl": falling**2, "val/l1": falling + 0.1}
        columns |= {"val/image_ffl": falling**2 + 0.1}
        columns["train/discriminator"] = np.where(step > 100, 1.0, np.nan)
        if "favae" in job.cell:
            columns |= {f"train/sigma_taps_{i}": 3 + i * 1e-3 * step for i in range(4)}
    table = pd.DataFrame({"step": step, **columns})
    table.loc[step % 50 != 0, [name for name in columns if name.startswith("val/")]] = np.nan
    path = paths.curves(job.scale, job.stage.name, job.cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)
    _finish(job, {})


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the results of every cell of the scale `tiny` before the reports."""
    root = tmp_path_factory.mktemp("project")
    write_params(root)
    torch.set_num_threads(1)
    noise = {"natural-f4-vqgan": 0.3, "natural-f4-favae": 0.2, "natural-f2-favae": 0.1}
    with contextlib.chdir(root), pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(root / "no-torch-home"))
        patch.delenv("FAVAE_WEIGHTS", raising=False)
        for job in Grid("tiny"):
            match job.stage.name:
                case "prepare_dataset":
                    _finish(job, {})
                case "train_autoencoder" | "train_cat":
                    write_curves(job)
                case "evaluate_reconstruction":
                    write_reconstruction(job, noise[job.roles["model"]])
                case "generate_images":
                    write_generation(job)
    return root


@pytest.fixture
def project(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that project, as the working directory."""
    root = tmp_path / "project"
    shutil.copytree(built, root)
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def job(project: Path) -> Callable[[str], Job]:
    """The reporting job of a stage, from the current parameter files."""
    return lambda stage: Grid("tiny").job(stage, "all")


@pytest.fixture
def edit(project: Path) -> Callable[..., None]:
    """Replace text in a parameter file; fails if the text is missing."""

    def replace(name: str, old: str, new: str) -> None:
        path = paths.params_file(name)
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))  # files are read again if their time changes

    return replace


@pytest.fixture
def published() -> Published:
    """The published numbers of the repository."""
    return validate(Published, read_yaml(REPOSITORY / "params" / "published.yaml"), "published")


@pytest.fixture
def entries(job: Callable[[str], Job], published: Published) -> Callable[..., list[Entry]]:
    """What a table of the tests holds, with some of its keys changed."""
    return lambda **changes: table_entries(table(**changes), published, Results.of(job("make_tables")))
