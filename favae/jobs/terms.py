"""Terms of the data sets: under which licence they are, and whether their photographs may be shown to others."""

from favae.config.dataset import DatasetTerms
from favae.config.errors import ConfigError, closest
from favae.config.load import at, read_yaml, validate
from favae.jobs.grid import Grid
from favae.runtime import paths

_STAGE = "prepare_dataset"


def unstated(dataset: str) -> DatasetTerms:
    """The terms that are assumed where none are stated: nothing may be published."""
    return DatasetTerms(
        licence=f"not stated: add {dataset} to _terms in {paths.params_file('datasets')}", publish=False
    )


def terms_of(grid: Grid, dataset: str) -> DatasetTerms:
    """Terms of the data set that a cell of `prepare_dataset` prepares. Raises ConfigError where they are invalid."""
    cell = grid.cells_by_stage[_STAGE].get(dataset)
    known = stated(cell.recipe) if cell else {}
    return known.get(cell.row, unstated(cell.row)) if cell else unstated(dataset)


def stated(recipe: str) -> dict[str, DatasetTerms]:
    """`_terms` of a file of data sets, by row. Raises ConfigError naming a row that the file does not have."""
    path = paths.params_file(recipe)
    tree = read_yaml(path)
    listed = tree.get("_terms") or {}
    if strangers := [row for row in listed if row not in tree]:
        text = f"this file has no such row; {closest(strangers[0], (row for row in tree if row[0] != '_'))}"
        raise ConfigError(at(("_terms", strangers[0]), text, str(path), [(path, None)]))
    return {row: validate(DatasetTerms, entry, f"{path}: _terms.{row}") for row, entry in listed.items()}
