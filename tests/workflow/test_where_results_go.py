"""Folders for reconstructions that contain the images, lead nowhere or cannot be written: decided before anything is computed."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from favae.inference.reconstruct import reconstruct_files
from favae.inference.targets import plan
from favae.inference.translate import sample_file, translate_files


@pytest.mark.parametrize("out", ["in", "", "link"])
def test_results_beside_the_images_are_not_taken_for_images_the_next_time(model, image, tmp_path, out):
    (tmp_path / "link").symlink_to(tmp_path / "in")
    image("in/a.jpg"), image("in/sub/b.bmp")
    made = [[r.target for r in reconstruct_files([tmp_path / "in"], model, tmp_path / out)] for _ in range(3)]
    assert made[0] == made[1] == made[2] == [tmp_path / out / "a.png", tmp_path / out / "sub/b.png"]
    _, unused = plan([tmp_path / "in"], tmp_path / out, model)
    assert out == "" or unused.summary()["result of this command"]["first"] == ["a.png", "sub/b.png"]


@pytest.mark.parametrize("links", [{"out": "nowhere"}, {"out": "to", "to": "out"}])
def test_a_link_that_leads_nowhere_is_refused_as_a_folder_for_results(image, tmp_path, links):
    for name, target in links.items():
        (tmp_path / name).symlink_to(tmp_path / target)
    with pytest.raises(ValueError, match=r"out is a link that leads nowhere; give another --out"):
        plan([image("a.png")], tmp_path / "out" / "deeper", tmp_path)


def test_a_folder_that_cannot_be_written_is_refused_before_an_image_is_computed(image, tmp_path, monkeypatch):
    locked = tmp_path / "locked"
    locked.mkdir()
    allowed = os.access  # root may write everywhere
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != locked and allowed(path, mode))
    with pytest.raises(ValueError, match=r"nothing can be written in .*locked; give another --out"):
        plan([image("a.png")], locked / "new", tmp_path)


def test_what_was_drawn_with_other_options_is_not_replaced(tmp_path, monkeypatch):
    def draw(count, batch, seed, truncation, noise):
        yield torch.full((count, 3, 8, 8), truncation)

    model = SimpleNamespace(condition=None, model={"kind": "stylegan2"}, draw=draw)
    monkeypatch.setattr("favae.inference.translate._trained", lambda folder: model)
    for _ in range(2):
        (grid,) = sample_file(tmp_path / "model", tmp_path / "out", 4)
    before = grid.read_bytes()
    for options in ({"truncation": 0.5}, {"count": 9}):
        with pytest.raises(ValueError, match=r"seed-0\.png exists and was made from .* or with other options"):
            sample_file(tmp_path / "model", tmp_path / "out", **{"count": 4, **options})
    with pytest.raises(ValueError, match="the truncation is nan; expected a number"):
        sample_file(tmp_path / "model", tmp_path / "out", 4, truncation=float("nan"))
    assert grid.read_bytes() == before


def test_what_was_translated_with_other_options_is_not_replaced(image, tmp_path, monkeypatch):
    source = image("a.png")
    drawn = SimpleNamespace(condition=object(), model={"kind": "spade"}, size=(8, 8))
    drawn.translate = lambda stored, mode: torch.zeros(1, 3, 8, 8)
    monkeypatch.setattr("favae.inference.translate._trained", lambda folder: drawn)
    monkeypatch.setattr("favae.inference.translate._stored", lambda *_: np.zeros((3, 8, 8), np.uint8))
    for _ in range(2):
        (done,) = translate_files([source], tmp_path / "model", tmp_path / "out")
        assert done.target == tmp_path / "out" / "a.png"
    for options in ({"seed": 1}, {"mode": "train"}):
        with pytest.raises(ValueError, match=r"a\.png exists and was made from .* or with other options"):
            list(translate_files([source], tmp_path / "model", tmp_path / "out", **options))


def test_an_interrupt_while_modules_are_imported_ends_a_command_without_a_traceback():
    code = (
        "import sys\nclass Interrupt:\n    def find_spec(self, name, *_):\n"
        "        if name == 'favae.cli.main': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupt())\nfrom favae.cli import entry\nentry()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")
