"""From groups of `params/grid.yaml` to jobs, and from `each` to rows of tables and series of figures."""

import re
from pathlib import Path

import pytest
from tests_support import write_params

from favae.config.errors import ConfigError
from favae.config.reporting import FiguresConfig, TablesConfig
from favae.jobs.grid import Grid, load_grid

NAMED = {
    *(Path(__file__).parent / "cells.txt").read_text(encoding="utf-8").split(),
    *("/".join(card.parts[1:2] + card.parts[3:5]) for card in Path("reports").glob("*/results/*/*/card.json")),
}


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the parameters, read instead of those of the project."""
    folder = tmp_path / "params"
    folder.mkdir()
    for file in Path("params").glob("*.yaml"):
        (folder / file.name).write_bytes(file.read_bytes())
    for name in ("PARAMS", "GRID", "PUBLISHED"):
        file = {"PARAMS": folder}.get(name, folder / f"{name.lower()}.yaml")
        monkeypatch.setattr(f"favae.runtime.paths.{name}", file)
    return folder


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize("scale", sorted({name.partition("/")[0] for name in NAMED}))
def test_no_cell_that_was_ever_published_is_lost_or_renamed(scale: str) -> None:
    there = {f"{scale}/{job.name}" for job in Grid(scale)}
    assert {name for name in NAMED if name.startswith(f"{scale}/")} <= there


def test_more_seeds_of_the_faces_are_trainings_as_those_of_the_faces() -> None:
    faces, seeds = Grid("faces").jobs, Grid("faces-seeds").jobs
    common = {key for key in faces.keys() & seeds.keys() if key[1] != "all"}
    assert {stage for stage, _ in common} == {stage for stage, _ in seeds} - {"make_tables", "make_figures"}
    for key in common:
        assert seeds[key].parameters == faces[key].parameters, key


def test_the_grid_has_groups_not_cells() -> None:
    lines = Path("params/grid.yaml").read_text(encoding="utf-8").splitlines()
    jobs = sum(len(Grid(scale).jobs) for scale in Grid().scales)
    assert len(lines) < jobs / 3


@pytest.mark.parametrize("scale", ["demo", "paper"])
def test_a_row_of_a_recipe_is_trained_evaluated_and_shown_with_nothing_else_edited(params: Path, scale: str) -> None:
    before = {job.name for job in Grid(scale)}
    row = """
r12-conv-added:
  model: {kind: favae, fcm: conv, quantizer: *quantizer}
  objective: {<<: *terms, spectrum: {<<: *pairwise, kernel_size: 7}}
  optimizer: *optimizer
"""
    recipe = params / "table2.yaml"
    recipe.write_text(recipe.read_text(encoding="utf-8") + row, encoding="utf-8")
    grid = Grid(scale)
    grid.check()
    model = {"demo": "natural-f4-r12-conv-added", "paper": "celebahq-f16-r12-conv-added"}[scale]
    added = {job.name for job in grid} - before
    assert f"train_autoencoder/{model}" in added
    evaluations = {
        f"evaluate_reconstruction/{model}-on-{d}"
        for d in {"demo": ["natural", "scientific"], "paper": ["celebahq"]}[scale]
    }
    assert added == {f"train_autoencoder/{model}"} | evaluations
    tables, figures = grid.job("make_tables", "all").config, grid.job("make_figures", "all").config
    assert isinstance(tables, TablesConfig) and isinstance(figures, FiguresConfig)
    assert evaluations <= {row.cell for table in tables.tables for row in table.rows}
    assert evaluations <= {series.cell for figure in figures.figures for series in figure.series}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "rows: reference, numbers: reference, dataset: scientific",
            "rows: reference, numbers: reference, dataset: scintific",
            r"grid\.yaml:\d+: demo\.compute_reference_statistics\.1\.dataset: .*nothing matches 'scintific'; did you mean 'scien",
        ),
        (
            'name: "natural-f2-{row}"',
            'name: "Natural@{row}"',
            r"grid\.yaml:\d+: demo\.train_autoencoder\.1\.name: 'Natural@favae' is not a valid name of a cell",
        ),
        (
            'name: "natural-f2-{row}"',
            'name: "natural-f4-{row}"',
            r"grid\.yaml:\d+: demo\.train_autoencoder\.1: a second cell 'natural-f4-favae'",
        ),
        ("  train_cat:", "  train_dog:", r"grid\.yaml:\d+: demo\.train_dog: unknown stage; did you mean 'train_cat'"),
        (
            "rows: r12-conv, numbers: f2",
            "rows: r12-conv",
            r"grid\.yaml:\d+: demo\.train_autoencoder\.1: the key 'numbers' is missing",
        ),
        (
            "rows: r12-conv, numbers: f2",
            "row: r12-conv, numbers: f2",
            r"grid\.yaml:\d+: demo\.train_autoencoder\.1\.row: unknown key; did you mean 'rows'",
        ),
        (
            "rows: r12-conv, numbers",
            "rows: r99, numbers",
            r"grid\.yaml:\d+: demo\.train_autoencoder\.1\.rows: .*table2\.yaml: nothing matches 'r99'; did you mean",
        ),
        (
            "recipe: table2, rows: r12",
            "recipe: tabel2, rows: r12",
            r"train_autoencoder\.1\.recipe: there is no file .*tabel2\.yaml; did you mean 'table2'",
        ),
        (
            "numbers: f2",
            "numbers: f5",
            r"grid\.yaml:\d+: demo\.train_autoencoder\.1\.numbers: .*demo\.yaml: no block 'f5'; did you mean",
        ),
        ("active: demo", "active: dmo", r"active: no scale 'dmo'; did you mean 'demo'"),
    ],
)
def test_bad_groups_are_refused_with_file_place_and_the_nearest_name(
    params: Path, old: str, new: str, message: str
) -> None:
    edit(params / "grid.yaml", old, new)
    with pytest.raises(ConfigError, match=message) as caught:
        Grid(None if old.startswith("active") else "demo").check()
    assert len(str(caught.value)) < 1_000
    if found := re.search(r"grid\.yaml:(\d+): ", str(caught.value)):
        assert new in (params / "grid.yaml").read_text(encoding="utf-8").splitlines()[int(found[1]) - 1]


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "tables.yaml",
            "cell: generate_images/natural-f4-cat, guidance: 1.0",
            "cell: generate_images/natural-f4-dog, guidance: 1.0",
            "no cell 'generate_images/natural-f4-dog'; did you mean 'generate_images/natural-f4-cat'",
        ),
        (
            "tables.yaml",
            "{each: evaluate_reconstruction/*-on-natural",
            "{each: evaluate_reconstruction/*-on-naturel",
            "tables.0.rows.3.each: evaluate_reconstruction: nothing matches '*-on-naturel'; did you mean",
        ),
        (
            "tables.yaml",
            "each: evaluate_reconstruction/*-on-natural, label",
            "each: evaluate_reconstruction/*-on-natural, labl",
            "tables.0.rows.3.labl: unknown key; did you mean 'label'",
        ),
        (
            "tables.yaml",
            "        - ssim_test",
            "        - sim_test",
            "table 'reconstruction': no metric 'sim_test'; did you mean 'ssim_test'",
        ),
        (
            "datasets.yaml",
            "chelsea, coffee, china",
            "chelsae, coffee, china",
            "layout.images: no photograph 'chelsae'; did you mean 'chelsea'",
        ),
        (
            "tables.yaml",
            "published: favae-t2i/cat, cell",
            "published: favae-t2i/dog, cell",
            "no row 'dog' in the published table 'favae-t2i'; did you mean",
        ),
        (
            "evaluation.yaml",
            "images: [test, all]",
            "images: [test]",
            "images: compute_reference_statistics/natural lacks 'all'; add it",
        ),
    ],
)
def test_a_reference_to_what_does_not_exist_is_named_with_its_line(
    params: Path, file: str, old: str, new: str, message: str
) -> None:
    edit(params / file, old, new)
    with pytest.raises(ConfigError) as caught:
        Grid("demo").check()
    (line,) = [line for line in str(caught.value).splitlines() if message in line]
    found = re.search(rf"{re.escape(file)}:(\d+): ", line)
    assert found is not None, line
    assert new in (params / file).read_text(encoding="utf-8").splitlines()[int(found[1]) - 1]


def test_a_row_at_a_guidance_that_is_not_sampled_is_refused(params: Path) -> None:
    edit(params / "tables.yaml", "natural-f4-cat, guidance: 3.0}", "natural-f4-cat, guidance: 4.0}")
    text = r"tables\.yaml.*: row 'CAT, guidance 3': generate_images/natural-f4-cat is sampled at guidance .*3, not 4"
    with pytest.raises(ConfigError, match=text):
        Grid("demo").check()


def test_a_label_network_must_know_the_classes_of_the_data_set(params: Path) -> None:
    edit(params / "evaluation.yaml", "inception_score, drn_d_105]", "inception_score, upernet_101]")
    text = r"evaluation\.yaml:\d+: sets: upernet_101 judges label maps of 151 classes, but data set 'cityscapes' has 35; leave it out"
    with pytest.raises(ConfigError, match=text):
        Grid("ffl-gan").check()


def test_a_model_must_fit_its_data_set(params: Path) -> None:
    edit(params / "demo.yaml", "tiles: {image_size: 48}", "tiles: {image_size: 32}")
    with pytest.raises(
        ConfigError, match=r"demo\.yaml:\d+: model\.image_size: is 48, but data set 'natural' is prepared at 32 pixels"
    ):
        Grid("demo").check()


def test_seeds_of_one_recipe_are_one_row_with_all_their_cells() -> None:
    tables = Grid("stft").job("make_tables", "all").config
    assert isinstance(tables, TablesConfig)
    rows = {row.label: row for row in tables.tables[0].rows}
    assert rows["L2"].published == "stft-table1/l2"
    assert [name[-11:] for name in rows["L2"].measured_by] == ["s0-on-mnist", "s1-on-mnist", "s2-on-mnist"]


def test_no_table_shows_a_cell_twice(params: Path) -> None:
    for scale in ("demo", "paper", "ffl", "ffl-small"):
        tables = Grid(scale).job("make_tables", "all").config
        assert isinstance(tables, TablesConfig)
        for table in tables.tables:
            shown = [(cell, row.guidance) for row in table.rows for cell in row.measured_by]
            assert len(shown) == len(set(shown)), f"{scale}: {table.id}"


def test_the_grid_is_that_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = load_grid()
    write_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert load_grid().scale == "tiny"
    assert here.scale == "demo" and load_grid() is load_grid()


def test_names_of_missing_rows_are_refused(params: Path) -> None:
    edit(params / "table2.yaml", "  r4: {label:", "  r44: {label:")
    with pytest.raises(ConfigError, match=r"table2\.yaml:\d+: _rows\.r44: this file has no such row; did you mean"):
        Grid("demo").check()
