"""The named protocols of FID: which images are generated, and with which real images they are compared."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from favae.config.cat import GenerateConfig
from favae.config.errors import ConfigError
from favae.config.evaluation import ReferenceConfig
from favae.data.dataset import PreparedSplit
from favae.evaluation.frechet import FeatureStatistics, load_reference
from favae.jobs.grid import Grid, Job, load_grid
from favae.pretrained.features import load_feature_network
from favae.pretrained.weights import load_catalogue
from favae.stages.compute_reference_statistics import run
from favae.stages.context import Context
from favae.stages.generate_images import prompts_of

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("own_parameters")


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> Grid:
    monkeypatch.chdir(ROOT)
    return load_grid("paper")


@pytest.mark.parametrize(
    ("cell", "drawn", "compared", "captions", "n"),
    [
        ("celebahq-f16-cat", 2_824, {"test": 2_824, "all": 30_000}, "first", "all"),
        ("celebahq-f16-cat-6k", 6_000, {"test": 6_000}, "random", 6_000),
    ],
)
def test_text_to_image_at_paper_scale(
    paper: Grid, cell: str, drawn: int, compared: dict[str, int], captions: str, n: Any
) -> None:
    """(i) and (ii): one caption of each test image, against them and against all 30,000; (iii): MM-CelebA-HQ's own 6,000."""
    job = paper.job("generate_images", cell)
    config, reference = job.config, paper.job("compute_reference_statistics", job.roles["reference"])
    assert isinstance(config, GenerateConfig) and isinstance(reference.config, ReferenceConfig)
    counts = paper.job("prepare_dataset", job.roles["dataset"]).config.expected_counts  # type: ignore[attr-defined]
    assert (config.protocol.split, config.protocol.n, config.captions, config.captions_per_image) == (
        "test",
        n,
        captions,
        1,
    )
    assert counts["test"] == drawn
    real = {"test": counts["test"], "all": sum(counts.values())}
    assert {images: real[images] for images in reference.config.images} == compared
    assert (config.against == "split_and_all") == ("all" in compared)
    assert "inception" in reference.config.feature_networks


class Captioned:
    """A split of images with ten captions each, and nothing else."""

    folder, split = Path("shards"), "test"

    def __init__(self, count: int) -> None:
        self.ids = [str(i) for i in range(count)]

    def __len__(self) -> int:
        return len(self.ids)

    def captions(self, row: int) -> list[str]:
        return [f"{row}/{number}" for number in range(10)]


def prompts(count: int = 400, **changes: Any) -> list[tuple[int, str]]:
    protocol = {"split": "test", "metrics": ["frechet"], "n": changes.pop("n", "all")}
    options = {"seed": 0, "guidance": [1.0], "top_k": None, "top_p": None, "batch_size": 8, "protocol": protocol}
    return prompts_of(Captioned(count), GenerateConfig.model_validate(options | changes))  # type: ignore[arg-type]


def test_first_captions_and_random_ones() -> None:
    assert prompts(3) == [(0, "0/0"), (1, "1/0"), (2, "2/0")]
    assert prompts(2, captions_per_image=2) == [(0, "0/0"), (0, "0/1"), (1, "1/0"), (1, "1/1")]
    drawn = prompts(captions="random")
    assert [row for row, _ in drawn] == list(range(400))
    assert all(caption.partition("/")[0] == str(row) for row, caption in drawn)
    numbers = np.bincount([int(caption.partition("/")[2]) for _, caption in drawn], minlength=10)
    assert len(numbers) == 10 and numbers.min() > 20  # 40 expected of each, standard deviation 6
    assert drawn == prompts(captions="random") != prompts(captions="random", seed=1)


def test_n_is_the_number_of_generated_images_and_at_least_that_requested() -> None:
    assert len(prompts(20, n=7)) == 7
    assert prompts(20, n=7, captions_per_image=2)[-1] == (3, "3/0")
    with pytest.raises(ValueError, match=r"has 20 captions to sample from, but the protocol has n = 6000"):
        prompts(20, n=6000)


def reference_job(**changes: Any) -> Job:
    """The tiny reference cell with other parameters."""
    job = dataclasses.replace(Grid("tiny").job("compute_reference_statistics", "natural"))
    vars(job)["config"] = ReferenceConfig(**{"images": ("test",), "feature_networks": ("randconv",), **changes})
    return job


def measure(job: Job, folder: Path) -> tuple[Path, dict[str, Any]]:
    folder.mkdir(exist_ok=True)
    outcome = run(job, Context(folder, folder, threads=1))
    return folder / "statistics", outcome.summary


def independent(shards: Path, splits: tuple[str, ...], n: int | None = None) -> FeatureStatistics:
    """NumPy's mean and covariance of the features of all images at once."""
    network = load_feature_network("randconv")
    parts = [PreparedSplit(shards, split) for split in splits]  # type: ignore[arg-type]
    images = np.concatenate([part.images(range(len(part) if n is None else n)).numpy() for part in parts])
    found = FeatureStatistics("randconv", 64)
    features = network(torch.from_numpy(images).float() / 255).double().numpy()
    found.n, found.mean_D = len(features), features.mean(0)
    found.scatter_DD = np.cov(features, rowvar=False) * (len(features) - 1)
    return found


def assert_same(one: FeatureStatistics, other: FeatureStatistics) -> None:
    assert (one.n, one.source) == (other.n, other.source)
    np.testing.assert_allclose(one.mean_D, other.mean_D, rtol=1e-5)
    np.testing.assert_allclose(one.covariance_DD, other.covariance_DD, rtol=1e-3, atol=1e-4 * one.covariance_DD.max())


def test_the_stage_computes_the_features_of_the_images_it_names(here: Path, tmp_path: Path) -> None:
    shards = here / "data/tiny/prepare_dataset/natural/shards"
    published = here / "data/tiny/compute_reference_statistics/natural/statistics"
    assert sorted(path.name for path in published.glob("*.npz")) == ["all-randconv.npz", "test-randconv.npz"]
    assert_same(load_reference(published, "test")["randconv"], independent(shards, ("test",)))
    everything = independent(shards, ("train", "val", "test"))
    assert_same(load_reference(published, "all")["randconv"], everything)
    few, _ = measure(reference_job(images=("val", "test"), n=6, batch_size=4), tmp_path)
    for split in ("val", "test"):
        assert_same(load_reference(few, split)["randconv"], independent(shards, (split,), 6))


def test_evaluations_compare_with_the_reference(here: Path) -> None:
    data = here / "data/tiny"
    statistics = data / "compute_reference_statistics/natural/statistics"
    metrics = json.loads((data / "generate_images/natural-f4-cat/metrics.json").read_text())
    for images, name in (("test", "fd_randconv_test_guidance1"), ("all", "fd_randconv_vs_all_test_guidance1")):
        assert metrics[name]["protocol"]["n_real"] == load_reference(statistics, images)["randconv"].n
        assert metrics[name]["value"] > 0 and metrics[name]["protocol"]["crop"] == "squash"
    evaluation = json.loads((data / "evaluate_reconstruction/natural-f4-favae-on-natural/metrics.json").read_text())[
        "rfd_randconv_test"
    ]
    assert evaluation["protocol"]["n_real"] == evaluation["n"] == load_reference(statistics, "test")["randconv"].n


def test_missing_weights_are_reported_and_other_statistics_are_computed(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("FAVAE_WEIGHTS", raising=False)
    folder, summary = measure(reference_job(feature_networks=("inception", "randconv")), tmp_path)
    assert [path.name for path in folder.iterdir()] == ["test-randconv.npz"]
    assert summary["missing"] == ["inception"]
    assert load_catalogue().weights["inception"].files[0].file in caplog.text
    lacking, _ = measure(reference_job(feature_networks=("inception",)), tmp_path / "none")
    assert list(lacking.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("grid.yaml", "cat: natural-f4-cat,", "cat: natural-f4-cat, reference: scientific,", "not 'natural'"),
        ("evaluation.yaml", "images: [test, all]", "images: [test]", "images: .*natural lacks 'all'; add it"),
        ("evaluation.yaml", "images: [test, all]", "images: [all]", "images: .*natural lacks 'test'; add it"),
        ("evaluation.yaml", "  n: all", "  n: 8", "n: is 8, but the reference 'natural' has n = all"),
        ("tiny.yaml", "reference: {batch_size: 32, feature_networks: [randconv]}",
         "reference: {feature_networks: [inception]}", "feature_networks: .*natural lacks 'randconv'; add it"),
    ],
)  # fmt: skip
def test_a_reference_of_other_images_is_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch, file: str, old: str, new: str, message: str
) -> None:
    path = project / "params" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    monkeypatch.chdir(project)
    with pytest.raises(ConfigError, match=message):
        Grid("tiny").check()
