"""Prepared data sets have Croissant metadata, which the reference library accepts and reads records with."""

import json
import shutil
from pathlib import Path

import mlcroissant
import pytest
from published_support import COMMIT

from favae.jobs.grid import load_grid
from favae.jobs.terms import terms_of
from favae.results.cards import describe
from favae.runtime import paths
from favae.sync.audit import audit_bundle
from favae.sync.croissant import CROISSANT
from favae.sync.publish import publish

CELL = Path("prepare_dataset/natural")


def test_the_reference_library_accepts_it_and_reads_the_index(project: Path) -> None:
    publish("tiny")
    beside = project / "data/tiny" / CELL / CROISSANT  # where the files that it describes are
    beside.write_bytes((Path("reports/tiny/results") / CELL / CROISSANT).read_bytes())
    dataset = mlcroissant.Dataset(jsonld=beside)
    assert not dataset.metadata.ctx.issues.errors
    records = list(dataset.records("images"))
    assert [record["images/id"] for record in records] == [b"cat-0", b"cat-1", b"cat-2"]
    assert [record["images/row"] for record in records] == [0, 1, 2]


def test_a_user_who_prepares_the_same_bytes_can_describe_published_data(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = {"commit": COMMIT, "dirty": [], "contents": {}}
    monkeypatch.setattr("favae.sync.publish.working_tree", lambda: clean)
    publish("tiny")
    metadata = Path("reports/tiny/results") / CELL / CROISSANT
    expected = metadata.read_bytes()
    for folder in Path("data/tiny").iterdir():
        if folder.name != "prepare_dataset":
            shutil.rmtree(folder)
    metadata.unlink()
    publish("tiny")
    assert metadata.read_bytes() == expected
    metadata.unlink()
    (Path("data/tiny") / CELL / paths.SHARDS / "some.png").write_bytes(b"other bytes")
    publish("tiny")
    assert not metadata.exists()
    assert audit_bundle("tiny").problems == []


def test_it_says_the_terms_of_the_data_set_and_the_hash_of_each_file(project: Path) -> None:
    publish("tiny")
    tree = json.loads((Path("reports/tiny/results") / CELL / CROISSANT).read_text(encoding="utf-8"))
    assert tree["license"] == terms_of(load_grid("tiny"), "natural").licence
    (index,) = [part for part in tree["distribution"] if part["@id"] == paths.INDEX]
    assert index["sha256"] == describe(Path("data/tiny") / CELL / paths.SHARDS / paths.INDEX).sha256
