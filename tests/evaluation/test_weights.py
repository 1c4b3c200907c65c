"""Weights are used only if their bytes are the declared ones, and nothing is ever unpickled or downloaded."""

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from favae.config.evaluation import WeightsConfig
from favae.config.load import read_yaml, validate
from favae.pretrained.weights import FoundWeights, MissingWeights, find_weights, load_weights

DECLARED = Path(__file__).parents[2] / "params" / "weights.yaml"


def _catalogue(*files: tuple[str, bytes], folder: Path | None = None) -> WeightsConfig:
    declared = [
        {"file": n, "sha256": hashlib.sha256(b).hexdigest(), "source": "https://example.org/x"} for n, b in files
    ]
    entry = {"purpose": "test", "files": declared}
    return WeightsConfig(folder=folder and str(folder), weights={"net": entry})


def test_declared_hashes_agree_with_the_digits_in_the_file_names_of_torch_hub() -> None:
    catalogue = validate(WeightsConfig, read_yaml(DECLARED), "weights.yaml")
    files = [file for entry in catalogue.weights.values() for file in entry.files]
    hub_names = [f for f in files if re.search(r"-[0-9a-f]{8}\.pth$", f.file)]
    assert len(hub_names) == 5
    for declared in hub_names:
        assert declared.sha256.startswith(declared.file.removesuffix(".pth").rsplit("-", 1)[1])


def test_searched_in_folder_then_environment_then_torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [tmp_path / "given", tmp_path / "environment", tmp_path / "torch" / "hub" / "checkpoints"]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "net.pth").write_bytes(b"weights")
    monkeypatch.setenv("FAVAE_WEIGHTS", str(folders[1]))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    catalogue = _catalogue(("net.pth", b"weights"), folder=folders[0])
    for folder in folders:
        found = find_weights("net", catalogue)
        assert isinstance(found, FoundWeights) and found.path == folder / "net.pth"
        found.path.unlink()
    assert isinstance(find_weights("net", catalogue), MissingWeights)


def test_first_alternative_is_preferred_and_a_wrong_file_falls_through_to_the_next(tmp_path: Path) -> None:
    catalogue = _catalogue(("full.pth", b"full"), ("half.pth", b"half"), folder=tmp_path)
    (tmp_path / "half.pth").write_bytes(b"half")
    (tmp_path / "full.pth").write_bytes(b"full")
    assert find_weights("net", catalogue).path.name == "full.pth"
    (tmp_path / "full.pth").write_bytes(b"torn download")
    assert find_weights("net", catalogue).path.name == "half.pth"


def test_bytes_changed_after_a_successful_check_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(b"weights")
    catalogue = _catalogue(("net.pth", b"weights"), folder=tmp_path)
    assert isinstance(find_weights("net", catalogue), FoundWeights)
    path.write_bytes(b"Weights")
    os.utime(path, ns=(1, 1))
    refused = find_weights("net", catalogue)
    assert isinstance(refused, MissingWeights)
    assert "sha256" in refused.reason and str(path) in refused.reason and "https://example.org/x" in refused.reason


def test_missing_file_is_named_with_its_source() -> None:
    missing = find_weights("net", _catalogue(("net.pth", b"weights")))
    assert isinstance(missing, MissingWeights)
    assert "net.pth missing" in missing.reason and "https://example.org/x" in missing.reason
    with pytest.raises(MissingWeights, match=r"net\.pth missing"):
        load_weights("net", _catalogue(("net.pth", b"weights")))


def test_unknown_name_lists_the_declared_ones() -> None:
    with pytest.raises(ValueError, match=r"'vgg'.*net"):
        find_weights("vgg", _catalogue(("net.pth", b"")))


def test_half_precision_is_loaded_as_float32(catalogue_of: Callable[..., WeightsConfig]) -> None:
    half = torch.tensor([1 / 3, 2.0]).half()
    state, declared = load_weights("net", catalogue_of("net", {"w": half, "steps": torch.tensor(3)}))
    assert state["w"].dtype == torch.float32 and torch.equal(state["w"], half.float())
    assert state["steps"].dtype == torch.int64 and declared.file == "net.pth"


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "executed",))

    torch.save({"w": Payload()}, tmp_path / "net.pth")
    catalogue = _catalogue(("net.pth", (tmp_path / "net.pth").read_bytes()), folder=tmp_path)
    with pytest.raises(ValueError, match=r"net\.pth holds no tensors"):
        load_weights("net", catalogue)
    assert not (tmp_path / "executed").exists()
