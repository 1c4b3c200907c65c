"""Reading parameters: YAML 1.2, merging, and errors that name file, key and what was expected."""

import os
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
from tests_support import write_params

from favae.config.base import Duration
from favae.config.errors import ConfigError
from favae.config.load import deep_merge, read_yaml, validate
from favae.config.training_kinds import training_config
from favae.jobs.grid import Grid
from favae.runtime.hashes import canonical_json

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


def test_an_integer_is_one_value_in_every_spelling(tmp_path: Path) -> None:
    tree = read_yaml(write(tmp_path / "a.yaml", "a: 3.0\nb: [1.0, 2.5, {c: -0.0}]\nd: 1e3\n"))
    assert canonical_json(tree) == '{"a":3,"b":[1,2.5,{"c":0}],"d":1000}'


@pytest.mark.parametrize("text", ["a: [1, 2", "- 1\n- 2\n"])
def test_unreadable_files_are_named(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "bad.yaml", text)
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        read_yaml(path)


def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes("a: é".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"bad\.yaml: byte 3: not UTF-8 text"):
        read_yaml(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: file not found"):
        read_yaml(tmp_path / "nowhere.yaml")


def test_later_trees_win_key_by_key_and_lists_are_replaced() -> None:
    merged = deep_merge([{"a": {"x": 1, "y": [1, 2]}, "b": 1}, {"a": {"y": [3]}, "c": 2}])
    assert merged == {"a": {"x": 1, "y": [3]}, "b": 1, "c": 2}


def test_merge_does_not_change_its_inputs() -> None:
    first = {"a": {"x": 1}}
    deep_merge([first, {"a": {"x": 2}}])
    assert first == {"a": {"x": 1}}


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("3 steps", 3),
        ("1 step", 1),
        ("1 epoch", 12),
        ("2 epochs", 24),
        ("0.5 epochs", 6),
        ("80 images", 10),
        ("1_000 steps", 1000),
    ],
)
def test_durations_in_steps(text: str, steps: int) -> None:
    assert Duration.model_validate(text).in_steps(dataset_size=100, batch_size=8) == steps


@pytest.mark.parametrize("text", ["3", "3 hours", "steps", "-1 steps", 3])
def test_bad_durations_are_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"duration|greater than|number"):
        Duration.model_validate(text)


def favae_parameters() -> dict:
    return Grid("tiny").job("train_autoencoder", "natural-f4-favae").parameters


@pytest.mark.parametrize("block", [("model",), ("objective", "spectrum")])
def test_a_missing_kind_is_named_with_kinds_that_fit(block: tuple[str, ...]) -> None:
    parameters = deepcopy(favae_parameters())
    inner = parameters
    for key in block:
        inner = inner[key]
    del inner["kind"]
    where = re.escape(".".join((*block, "kind")))
    known = r"'\w+', '\w+', '\w+'$"
    with pytest.raises(ConfigError, match=f"{where}: missing: give it a value; available, for instance: {known}"):
        validate(training_config, parameters, "params/x.yaml: row")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": {"imge_size": 64}}, r"model\.imge_size: unknown key; did you mean 'image_size' or [^,]*$"),
        ({"model": {"quantizer": {"decai": 0.8}}}, r"model\.quantizer\.decai: unknown key; did you mean 'decay'"),
        ({"model": {"base_channels": "many"}}, r'model\.base_channels: .*integer.*\(found "many"\)'),
        ({"model": {"base_channels": "24"}}, r'model\.base_channels: .*integer.*\(found "24"\)'),
        ({"model": {"base_channels": None}}, r"model\.base_channels: .*integer.*\(found null\)"),
        ({"model": {"fcm": "convolution"}}, r"model\.fcm: found 'convolution'; did you mean 'conv'"),
        ({"model": {"kind": "fa-vae"}}, r"model\.kind: found 'fa-vae'; did you mean 'favae'"),
        ({"objective": {"spectrum": {"kind": "fft"}}}, r"objective\.spectrum\.kind: found 'fft'; did you mean 'ffl'"),
        ({"optimizer": {"base_lr": True}}, r"optimizer\.base_lr: .*number.*\(found true\)"),
        ({"optimizer": {"sigma_lr": "mean"}}, r"optimizer\.sigma_lr: .*number.* or .*'main'"),
        ({"training": {"seed": -1}}, r"training\.seed: .*greater than or equal to 0 \(found -1\)"),
        ({"training": {"batch_size": 10**12}}, r"training\.batch_size: .*less than or equal to 1000000000"),
        ({"training": {"length": "3 hours"}}, r"training\.length: expected a duration as in '20 epochs'"),
        ({"optimizer": {"base_lr": -1}}, r"optimizer\.base_lr: .*greater than 0"),
        ({"objective": {"adversarial": {"codebook_update": "official"}}}, r"needs reconstruction: recompute"),
    ],
)
def test_bad_training_parameters_name_file_key_and_expectation(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        validate(training_config, deep_merge([favae_parameters(), change]), "params/x.yaml: row")
    assert str(caught.value).startswith("params/x.yaml: row: ")


def test_all_shipped_parameters_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for scale in Grid().scales:
        Grid(scale).check()


ALIASES = b"a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"a%d: &a%d [%s]\n" % (i, i, b", ".join([b"*a%d" % (i - 1)] * 10)) for i in range(1, 12)
)
UNREADABLE = {
    "a key twice": (b"a:\n  b: 1\n  b: 2\n", r":3: not valid YAML: found duplicate key \"b\""),
    "a tab": (b"a:\n\tb: 1\n", r":2: not valid YAML: found character '\\t'"),
    "a control character": (b"# \x00\na: 1\n", r": not valid YAML: special characters are not allowed$"),
    "two documents": (b"a: 1\n---\na: 2\n", r":2: not valid YAML"),
    "code": (b"a: !!python/object/apply:os.system ['true']\n", r":1: not valid YAML: could not determine"),
    "Latin-1": (b"# caf\xe9\n", r"byte 5: not UTF-8"),
    "UTF-16": ("a: 1".encode("utf-16"), r"byte 0: not UTF-8"),
    "a merge conflict": (b"a: 1\n<<<<<<< HEAD\nb: 2\n=======\nb: 3\n>>>>>>> other\n", r":[23]: not valid YAML"),
    "nothing": (b"", r"expected a mapping at the top level"),
    "aliases of aliases": (ALIASES, r"more than 200,000 values"),
    "an alias within itself": (b"a: &a [1, *a]\n", r"more than 200,000 values"),
    "brackets without end": (b"a: " + b"[" * 5000, r"nested too deeply"),
    "a date that does not exist": (b"a: 2020-13-45\n", r"a value cannot be read: month must be in 1..12$"),
    "a number of 5000 digits": (b"a: " + b"1" * 5000, r"a value cannot be read: Exceeds the limit"),
    "a key that is a list": (b"a: {[1, 2]: 3}\n", r"the key \(1, 2\) is not text|the key .* is not text"),
    "a key that is a number": (b"1: {a: 2}\n", r"the key 1 is not text; write it in quotes"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_file_that_cannot_be_read_is_named_in_one_line(tmp_path: Path, case: str) -> None:
    data, expected = UNREADABLE[case]
    file = tmp_path / "own.yaml"
    file.write_bytes(data)
    for _ in range(2):
        with pytest.raises(ConfigError) as caught:
            read_yaml(file)
        (line,) = str(caught.value).splitlines()
        assert line.startswith(str(file)) and re.search(expected, line), line


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: {b: 2e-6,\r\n  c: on}\r\n")
    assert read_yaml(file) == {"a": {"b": 2e-6, "c": "on"}}


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to(path.name)])
def test_a_folder_or_a_link_to_itself_in_place_of_a_file_is_named(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "own.yaml")
    with pytest.raises(ConfigError, match=r"own\.yaml: cannot be read: "):
        read_yaml(tmp_path / "own.yaml")


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ("tiny: 3", r"grid\.yaml: tiny: expected a mapping of stages to lists of groups, found 3"),
        ("tiny: {prepare_dataset: 3}", r"tiny\.prepare_dataset: expected a list of groups, found 3"),
        ("tiny: {prepare_dataset: [x]}", r"grid\.yaml:2: tiny\.prepare_dataset\.0: expected a mapping"),
        ("tiny: {1: [], null: []}", r"grid\.yaml:2: tiny\.(1|None): unknown stage; "),
        (
            "tiny: {prepare_dataset: [{recipe: datasets, rows: all, numbers: tiles, name: '{row'}]}",
            r"name: '{row' cannot",
        ),
        (
            "tiny: {prepare_dataset: [{recipe: datasets, rows: all, numbers: tiles, name: '{x}'}]}",
            r"name: '{x}' cannot",
        ),
        ("tiny: {prepare_dataset: [{recipe: datasets, rows: all, numbers: tiles, rename: 3}]}", r"rename: expected"),
    ],
)
def test_a_grid_of_another_shape_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grid: str, message: str
) -> None:
    write_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params/grid.yaml").write_text(f"active: tiny\n{grid}\n")
    with pytest.raises(ConfigError, match=message):
        Grid()


def test_a_pipe_in_place_of_a_file_is_named_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "own.yaml")
    with pytest.raises(ConfigError, match=r"own\.yaml: not a regular file"):
        read_yaml(tmp_path / "own.yaml")
