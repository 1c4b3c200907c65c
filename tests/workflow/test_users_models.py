"""Files of a model that a user got from somewhere: named where they are missing, damaged or do not fit each other."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from favae.inference.reconstruct import reconstruct_files


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_and_missing_weights_are_named(
    model: Path, tmp_path: Path, image: Callable[[str], Path], value: float
) -> None:
    photo, weights = image("own/photo.png"), model / "model.safetensors"
    tensors = load_file(weights)
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
    tensors[name].view(-1)[0] = value
    save_file(tensors, weights)
    with pytest.raises(ValueError, match=f"model.safetensors: 1 tensors are not finite, such as {name}"):
        list(reconstruct_files([photo], model, tmp_path / "o"))
    weights.unlink()
    with pytest.raises(FileNotFoundError, match=r"no trained model here \(.*model\.safetensors is missing"):
        list(reconstruct_files([photo], model, tmp_path / "o"))


def _integers(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file({name: t.to(torch.int8) for name, t in tensors.items()}, folder / "model.safetensors")


def _without_one(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors.pop(min(tensors))
    save_file(tensors, folder / "model.safetensors")


def _configured(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        config["model"] |= changes
        (folder / "config.json").write_text(json.dumps(config))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_integers, r"model\.safetensors: \S+ is integer \[.*, by config.json it must be floating-point \["),
        (_without_one, r"model\.safetensors: \S+ is absent, by config.json it must be floating-point"),
        (_configured(base_channels=65_536), r"model\.safetensors: \S+ is floating-point \[.*must be .*131072"),
        (_configured(res_blocks=2), r"model\.safetensors: \S+ is absent"),
        (_configured(colour="blue"), r"config\.json does not describe a model"),
    ],
)
def test_files_of_a_model_that_do_not_fit_each_other_are_named_before_memory_is_taken(
    model, image, tmp_path, change, message
):
    change(model)
    with pytest.raises(ValueError, match=message) as caught:
        list(reconstruct_files([image("a.png")], model, tmp_path / "out"))
    assert str(model) in str(caught.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_pipe_in_place_of_a_file_of_a_model_is_named_and_not_waited_for(model, image, tmp_path, name):
    (model / name).unlink()
    os.mkfifo(model / name)
    with pytest.raises(ValueError, match=f"{name} is not a regular file"):
        list(reconstruct_files([image("a.png")], model, tmp_path / "out"))


def test_the_weights_given_in_place_of_their_folder_are_named(model, image, tmp_path):
    with pytest.raises(ValueError, match=r"model\.safetensors is a file, expected the folder of a model"):
        list(reconstruct_files([image("a.png")], model / "model.safetensors", tmp_path / "out"))
