"""Which files a bundle has room for."""

import os
import zlib
from pathlib import Path

import pytest
from tests_support import ROOT

from favae.jobs.grid import Grid
from favae.results.bundle import Bundle
from favae.runtime import paths
from favae.sync.shipment import LIMIT, add_offered, size_in_git

SCALE = "stft-authors"
SIZES = {  # incompressible bytes; the last three are the trainings of one row
    ("mnist-authors-ssim-on-mnist", paths.EXAMPLES): 2_000,
    ("mnist-authors-ssim-on-mnist", paths.IMAGES): 50_000,
    ("mnist-l2-kl-0-001-s0-on-mnist", paths.IMAGES): 30_000,
    ("mnist-l2-kl-0-001-s1-on-mnist", paths.IMAGES): 30_000,
    ("mnist-l2-kl-0-001-s2-on-mnist", paths.IMAGES): 30_000,
}


def result(cell: str, name: str) -> Path:
    return paths.result_dir(SCALE, "evaluate_reconstruction", cell) / name


@pytest.mark.parametrize(
    ("room", "added"),
    [
        (52_100, {("authors-ssim", paths.IMAGES), ("authors-ssim", paths.EXAMPLES)}),
        (141_000, {("authors-ssim", paths.IMAGES), *((f"l2-kl-0-001-s{seed}", paths.IMAGES) for seed in range(3))}),
        (160_000, "all"),
        (1_000, set()),
    ],
)
def test_values_per_image_come_first_whole_rows_at_a_time_those_of_one_training_before_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, added: set[tuple[str, str]] | str
) -> None:
    (tmp_path / "params").symlink_to(ROOT / "params")
    monkeypatch.chdir(tmp_path)
    for (cell, name), size in SIZES.items():
        path = result(cell, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
    draft = Bundle(SCALE, tmp_path / "draft")
    draft.root.mkdir()
    pages = 150_000  # kept free for what is written last
    found = add_offered(Grid(SCALE), draft, pages + room, lambda path: path if path.exists() else None)
    expected = SIZES if added == "all" else {(f"mnist-{cell}-on-mnist", name) for cell, name in added}
    assert found == {result(*file) for file in expected}
    assert all(draft.locate(path).read_bytes() == path.read_bytes() for path in found)


def test_of_rows_with_several_trainings_those_of_the_first_claims_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "params").symlink_to(ROOT / "params")
    monkeypatch.chdir(tmp_path)
    rows = {name: {f"mnist-{name}-s{seed}-on-mnist" for seed in range(3)} for name in ("l2", "l1", "ssim", "stft-ssim")}
    for cell in set().union(*rows.values()):
        path = paths.result_dir("stft", "evaluate_reconstruction", cell) / paths.IMAGES
        path.parent.mkdir(parents=True)
        path.write_bytes(os.urandom(1_000))
    draft = Bundle("stft", tmp_path / "draft")
    draft.root.mkdir()
    found = add_offered(Grid("stft"), draft, 157_500, lambda path: path if path.exists() else None)
    # The first claim of the paper compares these two. There is room for a third of another row, which would be of no use.
    assert {path.parent.name for path in found} == rows["ssim"] | rows["stft-ssim"]


def test_text_counts_as_git_stores_it(tmp_path: Path) -> None:
    text = tmp_path / "values.csv"
    text.write_text("0.5,0.25\n" * 10_000)
    assert size_in_git([text]) == len(zlib.compress(text.read_bytes())) < 1_000


@pytest.mark.parametrize(
    "root", sorted(path.parent for path in ROOT.glob("reports/*/manifest.json")), ids=lambda p: p.name
)
def test_every_published_scale_is_within_the_limit(root: Path) -> None:
    assert size_in_git(path for path in root.rglob("*") if path.is_file()) <= LIMIT
