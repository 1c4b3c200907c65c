"""The page of what is reproduced follows from parameters and published results, and says no more than they do."""

import re
from pathlib import Path

import pytest

from favae.config.load import read_yaml, validate
from favae.config.reporting import Published
from favae.jobs.grid import load_grid
from favae.reporting.coverage import PAGE, Place, cost_to_run, current, render, state_of
from favae.results.bundle import Bundle
from favae.runtime import paths

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    load_grid.cache_clear()


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Place:
    """A row of the scale `paper` whose results are published in a folder of the test."""
    monkeypatch.setattr(Bundle, "of", classmethod(lambda cls, scale: cls(scale, tmp_path / scale)))
    cell = "evaluate_reconstruction/celebahq-f16-r12-on-celebahq"
    file = tmp_path / "paper" / "results" / cell / paths.METRICS
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    return Place(load_grid("paper"), "table2", "paper", (cell,))


def test_the_page_is_up_to_date() -> None:
    assert current(), f"{PAGE} is out of date: run favae coverage"


def test_every_published_row_is_on_the_page_once_a_table() -> None:
    published = validate(Published, read_yaml(paths.PUBLISHED), "published")
    sections = re.split(r"^### ", render(), flags=re.M)[1:]
    found: dict[str, list[str]] = {}
    for section in sections:
        title, rest = section.split("\n", 1)
        found.setdefault(title, []).extend(re.findall(r"^\| (?!row \||---)(.*?) \|", rest.split("\n## ")[0], re.M))
    expected: dict[str, list[str]] = {}
    for table in published.tables.values():
        expected.setdefault(table.title, []).extend(row.label for row in table.rows.values())
    assert found == expected


def test_states_follow_from_what_is_published(measured: Place) -> None:
    grid = load_grid("paper")
    planned = Place(grid, "table2", "paper", ("evaluate_reconstruction/celebahq-f16-r9-on-celebahq",))
    small = Place(grid, "table2", "small", measured.cells)
    half = Place(grid, "table2", "paper", (*measured.cells, *planned.cells))
    assert state_of([]) == state_of([Place(grid, "table2", "paper", ())]) == "no training here"
    assert state_of([planned]) == state_of([half]) == "planned only"
    assert state_of([planned, small]) == "small"
    assert state_of([Place(grid, "table2", "small", half.cells)]) == "small"  # a seed that was added is not run yet
    assert state_of([small, measured]) == "at the paper's size"


def test_a_training_that_two_rows_need_is_paid_once(measured: Place) -> None:
    grid = load_grid("paper")
    rows = [f"evaluate_reconstruction/imagenet-f16-favae-on-{data}" for data in ("celebahq", "ffhq")]
    one, two = (Place(grid, "zero_shot", "paper", tuple(cells)) for cells in (rows[:1], rows))
    alone, both = float(cost_to_run([one])), float(cost_to_run([two]))
    assert alone <= both < 1.1 * alone
    assert cost_to_run([measured]) == "–"
