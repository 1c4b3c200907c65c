"""A killed preparation resumes, but only with the same data and parameters; changed raw data are detected."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from favae.config.dataset import DatasetConfig
from favae.data import prepare as preparation
from favae.data.digest import raw_changes, stamp
from favae.data.prepare import BadImagesError, prepare

TILES = {"kind": "tiles", "images": ["coffee", "moon"], "windows": [0.3]}
FOLDER = {"kind": "folder", "root": "images", "captions": "sidecar"}

KILLED = """
import os, signal, sys
from pathlib import Path
from favae.config.dataset import DatasetConfig
from favae.data import prepare as preparation

def die(done, total):
    if done >= float(sys.argv[4]) * total:
        os.kill(os.getpid(), signal.SIGKILL)

preparation._SAVE_EVERY = 5
config = DatasetConfig.model_validate_json(sys.argv[1])
preparation.prepare(config, Path(sys.argv[2]), Path(sys.argv[3]) / "out", 2, die, Path(sys.argv[3]) / "unfinished")
"""


def _config(layout: dict, **changes: object) -> DatasetConfig:
    return DatasetConfig.model_validate({"layout": layout, "image_size": 8, "shard_rows": 7, **changes})


def _killed(config: DatasetConfig, raw: Path, state: Path, share: float) -> None:
    shutil.rmtree(state / "out", ignore_errors=True)
    (state / "out").mkdir(parents=True)
    command = [sys.executable, "-c", KILLED, config.model_dump_json(), str(raw), str(state), str(share)]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def _again(config: DatasetConfig, raw: Path, state: Path) -> tuple[dict, list[int]]:
    shutil.rmtree(state / "out", ignore_errors=True)
    (state / "out").mkdir(parents=True)
    seen: list[int] = []
    progress = lambda done, total: seen.append(done)  # noqa: E731
    return prepare(config, raw, state / "out", 2, progress, state / "unfinished"), seen


def _whole(config: DatasetConfig, raw: Path, out: Path) -> dict:
    out.mkdir()
    return prepare(config, raw, out)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("layout", [TILES, FOLDER])
@pytest.mark.parametrize("share", [0.99, 0.5])
def test_finished_images_of_a_killed_preparation_are_reused(image_folder, tmp_path, layout, share):
    config, raw, state = _config(layout), tmp_path / "raw", tmp_path / "state"
    expected = _whole(config, raw, tmp_path / "whole")
    _killed(config, raw, state, share)
    summary, seen = _again(config, raw, state)
    total = sum(summary["found"].values())
    assert seen[0] > 1 and seen[0] > share * total - 6 and seen[-1] == total
    assert summary == expected and _bytes(state / "out") == _bytes(tmp_path / "whole")
    assert not (state / "unfinished").exists()


def test_a_preparation_may_be_killed_repeatedly(image_folder, tmp_path):
    config, state = _config(TILES), tmp_path / "state"
    for share in (0.2, 0.4, 0.4, 0.6, 0.8, 0.95):
        _killed(config, tmp_path, state, share)
    assert _again(config, tmp_path, state)[0] == _whole(config, tmp_path, tmp_path / "whole")
    assert _bytes(state / "out") == _bytes(tmp_path / "whole")


def test_bad_images_and_copies_before_the_kill_are_remembered(image_folder, tmp_path):
    (image_folder / "train" / "00.png").write_bytes(b"no image")
    shutil.copy(image_folder / "train" / "03.png", image_folder / "test" / "00.png")
    config, raw, state = _config(FOLDER, on_bad_image="skip"), tmp_path / "raw", tmp_path / "state"
    expected = _whole(config, raw, tmp_path / "whole")
    assert expected["bad_images"] == 1 and expected["in_several_splits"] == 1
    _killed(config, raw, state, 0.7)
    assert _again(config, raw, state)[0] == expected
    assert _bytes(state / "out") == _bytes(tmp_path / "whole")


@pytest.mark.parametrize("change", ["replaced", "added", "parameters", "shard", "progress", "index"])
def test_damaged_files_and_those_of_other_data_are_not_reused(image_folder, tmp_path, change):
    config, raw, state = _config(FOLDER), tmp_path / "raw", tmp_path / "state"
    _killed(config, raw, state, 0.7)
    unfinished = state / "unfinished"
    if change == "replaced":
        Image.new("RGB", (12, 10), (1, 2, 3)).save(image_folder / "train" / "00.png")
    elif change == "added":
        shutil.copy(image_folder / "train" / "00.png", image_folder / "val" / "x.png")
        shutil.copy(image_folder / "train" / "00.txt", image_folder / "val" / "x.txt")
    elif change == "parameters":
        config = _config(FOLDER, resize="center_crop")
    elif change == "shard":
        data = bytearray((unfinished / "train-00000.npy").read_bytes())
        data[200] ^= 1
        (unfinished / "train-00000.npy").write_bytes(data)
    elif change == "progress":
        (unfinished / "progress.json").write_bytes(b'{"done": 5, "belongs_to')
    else:
        (unfinished / "index.csv").write_bytes(b"split")
    summary, seen = _again(config, raw, state)
    assert seen[0] == 1
    assert summary == _whole(config, raw, tmp_path / "whole") and _bytes(state / "out") == _bytes(tmp_path / "whole")


def test_a_bad_image_found_after_an_interruption_still_fails(image_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "_SAVE_EVERY", 5)
    (image_folder / "test" / "03.png").write_bytes(b"no image")
    config, raw, state = _config(FOLDER), tmp_path / "raw", tmp_path / "state"
    _killed(config, raw, state, 0.7)
    for _ in range(2):
        with pytest.raises(BadImagesError, match=r"1 of 17 .*\n.*test/03\.png: not an image"):
            _again(config, raw, state)


def test_raw_data_are_described_without_decoding_and_equal_at_another_place(image_folder, tmp_path):
    (image_folder / "train" / "00.png").write_bytes(b"not even an image")
    config, raw = _config(FOLDER, on_bad_image="skip"), tmp_path / "raw"
    summary = _whole(config, raw, tmp_path / "out")
    assert summary["raw"]["files"] == 34  # 17 images and their captions
    assert summary["raw"]["bytes"] == sum(p.stat().st_size for p in image_folder.rglob("*") if p.is_file())
    assert raw_changes(config, tmp_path / "out", raw) == []
    shutil.copytree(raw, tmp_path / "elsewhere")
    assert raw_changes(config, tmp_path / "out", tmp_path / "elsewhere") == []
    assert raw_changes(config, tmp_path / "out", tmp_path / "nowhere") == []


def test_raw_files_that_changed_are_named(image_folder, tmp_path):
    config, raw = _config({**FOLDER, "captions": "none"}), tmp_path / "raw"
    _whole(config, raw, tmp_path / "out")
    before = stamp(config, raw)
    assert stamp(config, raw) == before
    shutil.copy(image_folder / "train" / "00.png", image_folder / "val" / "x.png")
    (image_folder / "train" / "01.png").unlink()
    Image.new("RGB", (120, 100)).save(image_folder / "test" / "00.png")
    same_size = (image_folder / "test" / "01.png").read_bytes()[:-1] + b"?"
    (image_folder / "test" / "01.png").write_bytes(same_size)
    assert stamp(config, raw) != before
    assert raw_changes(config, tmp_path / "out", raw) == [
        "added: val/x.png",
        "removed: train/01.png",
        "changed: test/00.png",
        "changed: test/01.png",
    ]


def test_a_change_in_the_folder_of_more_training_images_is_named(image_folder, tmp_path):
    raw = tmp_path / "raw"
    shutil.copytree(image_folder / "train", raw / "more")
    config = _config({**FOLDER, "captions": "none"}, more_training="more")
    _whole(config, raw, tmp_path / "out")
    before = stamp(config, raw)
    (raw / "more" / "01.png").unlink()
    assert stamp(config, raw) != before
    assert raw_changes(config, tmp_path / "out", raw) == ["removed: more/01.png"]
    shutil.rmtree(raw / "more")
    assert raw_changes(config, tmp_path / "out", raw) == []  # not on this machine


def test_a_list_of_the_same_size_with_other_content_is_detected(image_folder, tmp_path):
    config, raw = _config(FOLDER), tmp_path / "raw"
    _whole(config, raw, tmp_path / "out")
    before = stamp(config, raw)
    path = image_folder / "train" / "00.txt"
    path.write_text(path.read_text(encoding="utf-8").replace("first", "third"), encoding="utf-8")
    assert stamp(config, raw) != before
    assert raw_changes(config, tmp_path / "out", raw) == ["changed: train/00.txt"]


def test_shipped_photographs_are_described_too(tmp_path):
    assert _whole(_config(TILES), tmp_path / "nowhere", tmp_path / "out")["raw"]["files"] == 2
