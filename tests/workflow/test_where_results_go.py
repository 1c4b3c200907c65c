"""Folders for reconstructions that contain the images, lead nowhere or cannot be written: decided before anything is computed."""

import os
from pathlib import Path

import pytest

from favae.inference.reconstruct import reconstruct_files
from favae.inference.targets import plan


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
