"""pix2pix, SPADE and StyleGAN2 from raw files to tables, figures and a user's own images, at the size of a thumbnail."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from generators_support import COLOURS, PARAMS, NearestColour, write_raw
from PIL import Image
from ruamel.yaml import YAML
from traced import GENERATOR_STAGES, unrecorded
from typer.testing import CliRunner

from favae.cli.main import app
from favae.config.errors import ConfigError
from favae.config.evaluation import LABELLED_CLASSES
from favae.config.pairs import LabelsConditionConfig
from favae.data.conditions import palette
from favae.inference.generate import TrainedGenerator, load_generator
from favae.inference.translate import translate_files
from favae.jobs.grid import Grid, load_grid
from favae.stages.runner import run_job

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    """All jobs of the scale `tiny`, finished."""
    folder, yaml = tmp_path_factory.mktemp("generators"), YAML(typ="safe")
    (folder / "params").mkdir()
    for name, tree in PARAMS.items():
        with (folder / "params" / f"{name}.yaml").open("w") as file:
            yaml.dump(json.loads(json.dumps(tree)), file)
    for name in ("published.yaml", "weights.yaml"):
        (folder / "params" / name).write_text((ROOT / "params" / name).read_text())
    write_raw(folder / "raw")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("FAVAE_RAW", str(folder / "raw"))
        patch.setitem(LABELLED_CLASSES, "drn_d_105", 3)
        patch.setattr("favae.evaluation.labels.load_label_network", lambda name, catalogue: NearestColour())
        load_grid.cache_clear()
        grid = load_grid("tiny")
        grid.check()
        for job in grid:
            run_job(job)
        yield grid
    load_grid.cache_clear()


def metrics(cell: str) -> dict[str, Any]:
    return json.loads(Path(f"data/tiny/evaluate_generator/{cell}/metrics.json").read_text())


def test_seeds_are_one_row_and_metrics_without_weights_say_so(project: Grid) -> None:
    table = pd.read_csv("data/tiny/reports/tables/pairs.csv").set_index(["row", "metric"])
    psnr = [metrics(f"pix2pix-s{seed}-on-edges")["psnr_test"]["value"] for seed in (0, 1)]
    assert table.loc[("pix2pix", "psnr_test"), "reproduced"] == pytest.approx(np.mean(psnr))
    assert table.loc[("pix2pix", "psnr_test"), ["runs", "n"]].tolist() == [2, 5]
    assert table.loc[("pix2pix", "fid_test"), "reported"] == 128.492
    for metric in ("fid_test", "is_test"):
        assert "not measured" in table.loc[("pix2pix", metric), "note"]
    assert table.loc[("spade", "fd_randconv_real_test"), "reproduced"] > 0


def test_a_copy_measures_images_that_others_generated(project: Grid) -> None:
    """Its score is that of the conditions themselves, computed here from the files."""
    found = metrics("copy-on-edges")
    values = []
    for number in range(10, 15):
        both = Image.open(f"raw/edges/test/{number}.png")
        left, right = (
            np.asarray(both.crop((x, 0, x + 40, 40)).resize((32, 32), Image.Resampling.BILINEAR)).astype(float)
            for x in (0, 40)
        )
        values.append(10 * np.log10(255**2 / np.square(left - right).mean()))
    assert found["psnr_test"]["value"] == pytest.approx(np.mean(values), rel=1e-4)
    assert load_generator(Path("data/tiny/train_generator/copy")).size == (32, 32)


def test_a_segmenter_scores_generated_images_beside_its_controls(project: Grid) -> None:
    path = Path("data/tiny/evaluate_segmentation/spade/metrics.json")
    found = json.loads(path.read_text())
    scores = {name: result["value"] for name, result in found.items()}
    assert all(0 <= score <= 1 for score in scores.values()) and len(scores) == 3 + 2 * 5
    assert scores["segmenter_accuracy_including_test"] == scores["segmenter_accuracy_test"]  # no pixel without a class
    assert found["segmenter_miou_test"]["n"] == 5


def test_a_label_network_scores_generated_images_by_their_label_maps(project: Grid) -> None:
    """Computed here from the images and conditions that were stored."""
    found = metrics("spade-on-masks")
    with np.load("data/tiny/evaluate_generator/spade-on-masks/examples.npz") as examples:
        images, conditions = examples["reconstruction"].astype(float), examples["condition"]
    predicted = np.square(images[:, :, :, None] - COLOURS).sum(-1).argmin(-1)
    labels = (conditions[:, :, :, None] == palette()[:3].numpy()).all(-1).argmax(-1)
    known = labels < 2
    right = (predicted == labels) & known
    assert len(images) == 5 and 0.2 < known.mean() < 1
    assert found["accuracy_test"]["value"] == pytest.approx(100 * right.sum() / known.sum())
    assert found["accuracy_including_test"]["value"] == pytest.approx(100 * right.mean())
    assert found["miou_test"]["n"] == 5 and found["miou_test"]["protocol"]["network"] == "drn_d_105"
    assert "miou_test" not in metrics("copy-on-edges")


def test_drawn_images_are_measured_as_a_set(project: Grid) -> None:
    found = metrics("stylegan2-on-photos")
    assert {
        "variance_ratio_test",
        "mean_distance_test",
        "kid_randconv_test",
        "set_spectrum_error_high_test",
    } <= found.keys()
    assert "psnr_test" not in found and found["variance_ratio_test"]["protocol"]["truncation"] == 1
    spectrum = pd.read_csv("data/tiny/evaluate_generator/stylegan2-on-photos/spectrum.csv")
    assert np.allclose(spectrum["error_db"], (spectrum["reconstruction_db"] - spectrum["original_db"]).abs())
    with np.load("data/tiny/evaluate_generator/stylegan2-on-photos/examples.npz") as examples:
        assert examples["drawn"].shape == (5, 32, 32, 3)


def test_figures_show_the_condition_between_real_and_generated(project: Grid) -> None:
    assert {path.name for path in Path("data/tiny/reports/figures").iterdir()} == {
        "pairs.png",
        "drawn.png",
        "spectra.png",
    }
    with np.load("data/tiny/evaluate_generator/spade-on-masks/examples.npz") as examples:
        assert set(examples) == {"original", "reconstruction", "condition", "id"}
        assert {tuple(c) for c in examples["condition"].reshape(-1, 3)} <= {(0, 0, 0), (128, 0, 0), (0, 128, 0)}


def test_a_saved_generator_knows_its_condition(project: Grid) -> None:
    spade = load_generator(Path("data/tiny/train_generator/spade"))
    assert spade.condition is not None and spade.condition.channels == 3 and spade.size == (32, 32)
    style = load_generator(Path("data/tiny/train_generator/stylegan2"))
    images = [np.concatenate([x.numpy() for x in style.draw(5, size, noise="none")]) for size in (2, 5)]
    assert np.allclose(*images, atol=1e-5)
    with pytest.raises(ValueError, match="from latents, not from conditions"):
        style.translate(np.zeros(1))  # type: ignore[arg-type]


def test_a_user_translates_own_inputs_and_samples(project: Grid, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    labels = Image.open("raw/masks/A/03.png")
    labels.save(own / "face.png")
    labels.resize((50, 70), Image.Resampling.NEAREST).save(own / "other.png")
    Image.fromarray(np.full((8, 8), 7, np.uint8)).save(own / "wrong.png")
    model = "data/tiny/train_generator/spade"
    found = CliRunner().invoke(app, ["translate", str(own), "--model", model, "--out", str(tmp_path / "out")])
    assert found.exit_code == 1 and "class 7 in 64 pixels; expected 0 to 2" in found.output
    generated = np.asarray(Image.open(tmp_path / "out" / "face.png"))
    trained = load_generator(Path(model))
    stored = np.asarray(labels.resize((32, 32), Image.Resampling.NEAREST))[None, None]
    expected = ((trained.translate(torch.from_numpy(stored.copy()))[0].clamp(-1, 1) + 1) * 127.5).round()
    assert np.abs(generated.transpose(2, 0, 1) - expected.numpy()).max() <= 1
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"face.png", "other.png"}
    pix2pix = ["translate", "raw/edges/test/12.png", "--model", "data/tiny/train_generator/pix2pix-s0"]
    for folder in ("a", "b"):
        assert CliRunner().invoke(app, [*pix2pix, "--out", str(tmp_path / folder)]).exit_code == 0
    again = [(tmp_path / folder / "12.png").read_bytes() for folder in ("a", "b")]
    assert again[0] == again[1]  # dropout is drawn with a seed
    style = ["--model", "data/tiny/train_generator/stylegan2", "-n", "5", "--out", str(tmp_path / "drawn")]
    assert CliRunner().invoke(app, ["sample", *style, "--single"]).exit_code == 0
    assert np.asarray(Image.open(tmp_path / "drawn" / "seed-0.png")).shape == (64, 96, 3)
    assert len(list((tmp_path / "drawn").iterdir())) == 6
    CliRunner().invoke(app, ["sample", *style, "--truncation", "0", "--single", "--seed", "1"])
    alike = [np.asarray(Image.open(tmp_path / "drawn" / f"seed-1-000{n}.png")).astype(int) for n in (0, 1)]
    assert np.abs(alike[0] - alike[1]).max() <= 1
    (tmp_path / "drawn" / "seed-7-0002.png").write_bytes(mine := (own / "face.png").read_bytes())
    refused = CliRunner().invoke(app, ["sample", *style, "--single", "--seed", "7"])
    assert refused.exit_code and "seed-7-0002.png exists and was not written by this command" in str(refused.exception)
    assert (tmp_path / "drawn" / "seed-7-0002.png").read_bytes() == mine
    assert not (tmp_path / "drawn" / "seed-7.png").exists()
    for command, wrong in (("sample", model), ("translate", style[1])):
        arguments = [command, "--model", wrong, "--out", str(tmp_path / "no")]
        failed = CliRunner().invoke(app, arguments + ([str(own)] if command == "translate" else []))
        assert failed.exit_code and "use favae" in f"{failed.output}{failed.exception}"


@pytest.mark.parametrize("stage", GENERATOR_STAGES)
def test_every_function_that_runs_in_a_job_is_in_its_code(project: Grid, tmp_path: Path, stage: str) -> None:
    """One job of each kind of model; `tests/fingerprint/test_executed.py` has the other stages."""
    for cell in project.cells(stage):
        assert unrecorded(project.job(stage, cell), tmp_path / cell) == "", cell


def test_an_instance_map_is_that_in_the_subfolder_of_its_label_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []

    class Network(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x)
            return torch.zeros(len(x), 3, *x.shape[2:])

    condition = LabelsConditionConfig(kind="labels", classes=2, edges=True)
    model = TrainedGenerator(Network(), {"kind": "spade", "image_size": 8}, condition)
    monkeypatch.setattr(TrainedGenerator, "device", torch.device("cpu"))
    monkeypatch.setattr("favae.inference.translate._trained", lambda folder: model)
    for part in ("one", "two"):  # objects: one, and two side by side
        for kind in ("labels", "instances"):
            ids = np.zeros((8, 8), np.uint8)
            ids[:, 4:] = kind == "instances" and part == "two"
            (tmp_path / kind / part).mkdir(parents=True)
            Image.fromarray(ids).save(tmp_path / kind / part / "x.png")
    found = translate_files([tmp_path / "labels"], Path(), tmp_path / "out", tmp_path / "instances")
    assert [one.problem for one in found] == ["", ""]
    assert [bool(x[0, -1].any()) for x in seen] == [False, True]


def test_a_model_and_a_data_set_that_do_not_fit_are_refused(project: Grid, tmp_path: Path) -> None:
    yaml = YAML(typ="safe")
    for name, change, message in (
        (
            "gan",
            ("spade", "model", "map_channels", 4),
            "map_channels: is 4, but data set 'masks' has conditions of 3 channels",
        ),
        (
            "gan",
            ("stylegan2", "model", "image_size", 64),
            "image_size: is 64, but data set 'photos' is prepared at 32 pixels",
        ),
        ("evaluation", ("segmenter", "model", "classes", 4), "classes: is 4, but data set 'masks' has 3 classes"),
        ("gan", ("stylegan2", "discriminator", "group", 3), "group: 3 does not divide the 4 images of a rank"),
    ):
        path = Path("params") / f"{name}.yaml"
        before = path.read_text()
        tree = yaml.load(before)
        row, block, key, value = change
        tree[row][block][key] = value
        try:
            with path.open("w") as file:
                yaml.dump(tree, file)
            with pytest.raises(ConfigError, match=message):
                Grid("tiny").check()
        finally:
            path.write_text(before)
