"""Reading parameters: YAML 1.2, merging, and errors that name file, key and what was expected."""

from pathlib import Path

import pytest

from favae.config.base import Duration
from favae.config.errors import ConfigError
from favae.config.favae import FavaeConfig
from favae.config.load import deep_merge, read_yaml, validate
from favae.jobs.grid import Grid

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("own_parameters")


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_yaml_is_version_1_2(tmp_path: Path) -> None:
    tree = read_yaml(write(tmp_path / "a.yaml", "lr: 2e-6\nswitch: on\nanchor: &a {x: 1}\nmerged: {<<: *a, y: 2}\n"))
    assert tree["lr"] == 2e-6
    assert tree["switch"] == "on"
    assert tree["merged"] == {"x": 1, "y": 2}


@pytest.mark.parametrize("text", ["a: [1, 2", "- 1\n- 2\n"])
def test_unreadable_files_are_named(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "bad.yaml", text)
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        read_yaml(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: file not found"):
        read_yaml(tmp_path / "nowhere.yaml")


def test_later_trees_win_key_by_key_and_lists_are_replaced() -> None:
    merged = deep_merge([{"a": {"x": 1, "y": [1, 2]}, "b": 1}, {"a": {"y": [3]}, "c": 2}])
    assert merged == {"a": {"x": 1, "y": [3]}, "b": 1, "c": 2}


def test_merge_leaves_its_inputs_alone() -> None:
    first = {"a": {"x": 1}}
    deep_merge([first, {"a": {"x": 2}}])
    assert first == {"a": {"x": 1}}


@pytest.mark.parametrize(
    ("text", "steps"), [("3 steps", 3), ("2 epochs", 24), ("0.5 epochs", 6), ("80 images", 10), ("1_000 steps", 1000)]
)
def test_durations_in_steps(text: str, steps: int) -> None:
    assert Duration.model_validate(text).in_steps(dataset_size=100, batch_size=8) == steps


@pytest.mark.parametrize("text", ["3", "3 hours", "steps", "-1 steps", 3])
def test_bad_durations_are_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"duration|greater than|number"):
        Duration.model_validate(text)


def favae_parameters() -> dict:
    return Grid("tiny").job("train_autoencoder", "natural-f4-favae").parameters


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": {"imge_size": 64}}, r"model\.imge_size: unknown key; known here: .*image_size"),
        ({"model": {"base_channels": "many"}}, r"model\.base_channels: .*integer.*\(found 'many'\)"),
        ({"model": {"image_size": 26}}, r"image_size 26 is not divisible by the factor 4"),
        ({"model": {"norm_groups": 3}}, r"norm_groups 3 does not divide 8 channels"),
        ({"model": {"fcm": "none"}}, r"compares FCM features, but model\.fcm is 'none'"),
        ({"objective": {"spectrum": {"kernel_size": 4}}}, r"kernel_size: must be odd \(found 4\)"),
        ({"objective": {"spectrum": {"kernel_size": 13}}}, r"kernel_size 13 is too large for the 6x6 latent"),
        ({"objective": {"spectrum": {"kind": "fft"}}}, r"objective\.spectrum.*dsl"),
        ({"training": {"length": "3 hours"}}, r"training\.length: expected a duration as in '20 epochs'"),
        ({"optimizer": {"base_lr": -1}}, r"optimizer\.base_lr: .*greater than 0"),
        ({"objective": {"adversarial": {"codebook_update": "official"}}}, r"needs reconstruction: recompute"),
    ],
)
def test_bad_training_parameters_name_file_key_and_expectation(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        validate(FavaeConfig, deep_merge([favae_parameters(), change]), "params/x.yaml: row")
    assert str(caught.value).startswith("params/x.yaml: row: ")


def test_all_shipped_parameters_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for scale in Grid().scales:
        Grid(scale).check()


def edited_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> Grid:
    text = Path("params/grid.yaml").read_text()
    assert old in text
    path = write(tmp_path / "grid.yaml", text.replace(old, new, 1))
    monkeypatch.setattr("favae.runtime.paths.GRID", path)
    return Grid("tiny")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "dataset: natural}",
            "dataset: naturl}",
            r"dataset: no cell 'naturl' in prepare_dataset; there are: natural, scientific",
        ),
        ("natural-f4-favae: {recipe: table2", "Natural@f8: {recipe: table2", r"a cell's name is made of"),
        ("  train_cat:\n", "  train_dog:\n", r"unknown stage 'train_dog'"),
        ("numbers: f4, dataset", "dataset", r"expected the keys"),
        ("row: r12-conv", "row: r99", r"params/table2\.yaml: no key 'r99'; there are: baseline, r4"),
        ("numbers: f2", "numbers: f5", r"params/tiny\.yaml: no key 'f5'"),
    ],
)
def test_bad_grids_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        edited_grid(tmp_path, monkeypatch, old, new).check()


def test_a_model_must_fit_its_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = tmp_path / "params"
    params.mkdir()
    for file in Path("params").glob("*.yaml"):
        write(params / file.name, file.read_text().replace("tiles: {image_size: 24,", "tiles: {image_size: 32,"))
    monkeypatch.setattr("favae.runtime.paths.PARAMS", params)
    with pytest.raises(ConfigError, match=r"image_size is 24, but data set 'natural' is prepared at 32 pixels"):
        Grid("tiny").check()
