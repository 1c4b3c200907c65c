"""A project with small results of every cell of `ffl-small`, and other versions of the package."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from code_support import SCALE, Edit
from published_support import work_in_copy, write_result
from tests_support import ROOT, write_params

import favae
from favae.fingerprint import job as fingerprint
from favae.fingerprint.modules import Package
from favae.jobs.grid import Grid, load_grid


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with its results; not to be changed."""
    root = tmp_path_factory.mktemp("ffl")
    write_params(root, product=True)
    shutil.copy(ROOT / "Snakefile", root)  # a published crate names it
    with contextlib.chdir(root):
        load_grid.cache_clear()
        for job in Grid(SCALE):
            write_result(job)
    load_grid.cache_clear()
    return root


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    yield from work_in_copy(made, tmp_path / "project", monkeypatch)


@pytest.fixture
def edit(monkeypatch: pytest.MonkeyPatch) -> Edit:
    """Replace text in a file of the package, as far as fingerprints are concerned."""
    root, texts = Path(favae.__file__).parent, dict[str, str]()

    def read(path: str) -> str | None:
        file = root / path
        return texts.get(path, file.read_text(encoding="utf-8") if file.is_file() else None)

    def change(path: str, old: str, new: str) -> None:
        text = read(path)
        assert text is not None and old in text
        texts[path] = text.replace(old, new)
        package = Package(read)
        monkeypatch.setattr(fingerprint, "present", lambda: package)

    return change
