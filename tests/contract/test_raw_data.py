"""A prepared data set tells when the raw files that it was made from have changed."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests_support import call, planned

GRID = """
active: own
own:
  prepare_dataset:
    - {recipe: datasets, rows: mine, numbers: images}
"""
MINE = """
mine:
  layout: {kind: folder, root: mine, split: hash, val_share: 0.2, test_share: 0.2}
"""


def write_image(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.mark.slow
def test_added_and_removed_raw_files_are_named_and_absent_raw_data_are_no_change(project: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    (raw / "mine").mkdir(parents=True)
    for number in range(20):
        write_image(raw / "mine" / f"{number:02}.png", number)
    with (project / "params/datasets.yaml").open("a") as file:
        file.write(MINE)
    (project / "params/grid.yaml").write_text(GRID)
    (project / "params/own.yaml").write_text("images: {image_size: 8}\n")
    there = {"FAVAE_RAW": str(raw)}
    call(project, "favae", "run", "prepare_dataset", "mine", **there)
    assert "raw data changed" not in call(project, "favae", "status", check=False, **there).stdout
    write_image(raw / "mine" / "new.png", 99)
    (raw / "mine" / "03.png").unlink()
    status = call(project, "favae", "status", check=False, **there)
    assert status.returncode == 1
    assert "raw data changed prepare_dataset/mine  added: new.png and 1 more" in status.stdout
    why = call(project, "favae", "why", "prepare_dataset/mine", **there).stdout.splitlines()
    assert why[1:] == ["  added: new.png", "  removed: 03.png"]
    for asked in ("elsewhere", "", "again"):  # Snakemake remembers what it found, and goes by the files all the same
        there["FAVAE_RAW"] = str(raw.with_name("gone" if asked == "elsewhere" else "raw"))
        assert planned(project, **there) == (set() if asked == "elsewhere" else {"prepare_dataset/mine"})
    done = call(project, "snakemake", "--cores", "1", **there)
    assert "prepare_dataset/mine: raw data changed (added: new.png and 1 more); it is prepared again" in done.stderr
    assert planned(project, **there) == set()
    write_image(raw / "mine" / "newer.png", 100)  # as the page says, with DVC
    assert "up to date" in call(project, "dvc", "repro", **there).stdout
    assert "added: newer.png" in call(project, "favae", "status", check=False, **there).stdout
    call(project, "dvc", "repro", "--force", "--single-item", "prepare_dataset@mine", **there)
    assert "raw data changed" not in call(project, "favae", "status", check=False, **there).stdout
    elsewhere = call(project, "favae", "status", check=False, FAVAE_RAW=str(tmp_path / "nowhere"))
    assert "raw data changed" not in elsewhere.stdout
