"""Which files a bundle has room for."""

from pathlib import Path

import pytest
from tests_support import ROOT

from favae.jobs.grid import Grid
from favae.runtime import paths
from favae.sync.publish import _in_order


def test_values_per_image_come_first_those_of_one_training_before_all_then_small_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "params").symlink_to(ROOT / "params")
    monkeypatch.chdir(tmp_path)
    sizes = {
        ("mnist-l2-kl-0-001-s0-on-mnist", paths.IMAGES): 30,  # one of three trainings
        ("mnist-authors-ssim-on-mnist", paths.IMAGES): 50,
        ("mnist-authors-l1-on-mnist", paths.IMAGES): 40,
        ("mnist-authors-ssim-on-mnist", paths.EXAMPLES): 20,
    }
    files = {}
    for (cell, name), size in sizes.items():
        path = paths.result_dir("stft-authors", "evaluate_reconstruction", cell) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
        files[path] = size
    assert [files[path] for path in _in_order(Grid("stft-authors"), files)] == [40, 50, 30, 20]
