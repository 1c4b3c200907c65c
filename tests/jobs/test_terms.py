"""Which images of a data set may be published is stated once; nothing is published where nothing is stated."""

from pathlib import Path

import pytest
from tests_support import write_params

from favae.config.errors import ConfigError
from favae.config.load import read_yaml
from favae.jobs.grid import Grid
from favae.jobs.groups import rows_of
from favae.jobs.terms import stated, terms_of
from favae.runtime import paths


def test_every_data_set_of_the_project_states_its_terms() -> None:
    assert set(stated("datasets")) == set(rows_of("datasets"))
    for row, terms in stated("datasets").items():
        assert terms.licence, row
        assert terms.source.startswith("http") or (terms.publish == "nothing" and not terms.source), row


def test_a_cell_has_the_terms_of_its_row() -> None:
    assert terms_of(Grid("stft"), "mnist").publish == "all"  # the row is called mnist-binarized
    assert terms_of(Grid("ffl-small"), "celeba").publish == "nothing"


def test_photographs_without_stated_terms_are_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    path = paths.params_file("datasets")
    path.write_text(path.read_text().replace("  natural: {licence", "  ffhq: {licence"))
    terms = terms_of(Grid("tiny"), "natural")
    assert terms.publish == "nothing"
    assert "add natural to _terms" in terms.licence
    assert terms_of(Grid("tiny"), "no-such-data-set").publish == "nothing"


def test_terms_of_an_unknown_row_are_an_error_of_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    path = paths.params_file("datasets")
    path.write_text(path.read_text().replace("  natural: {licence", "  natura: {licence"))
    assert "natura" not in read_yaml(path)
    with pytest.raises(
        ConfigError, match=r"datasets\.yaml:\d+: _terms\.natura: this file has no such row; did you mean 'natural'"
    ):
        Grid("tiny").check()
