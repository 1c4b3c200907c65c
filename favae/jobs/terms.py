"""Terms of the data sets: under which licence they are, and which images may be shown to others."""

from favae.config.dataset import DatasetTerms
from favae.jobs.grid import Grid
from favae.jobs.groups import said_of_rows
from favae.runtime import paths

_STAGE = "prepare_dataset"
ORIGINALS = ("original", "real")  # arrays of `examples.npz` that hold photographs
_FROM_TEXT = "guidance_"  # arrays that no photograph shows through


def unstated(dataset: str) -> DatasetTerms:
    """The terms that are assumed where none are stated: nothing may be published."""
    return DatasetTerms(
        licence=f"not stated: add {dataset} to _terms in {paths.params_file('datasets')}", publish="nothing"
    )


def terms_of(grid: Grid, dataset: str) -> DatasetTerms:
    """Terms of the data set that a cell of `prepare_dataset` prepares. Raises ConfigError where they are invalid."""
    cell = grid.cells_by_stage[_STAGE].get(dataset)
    known = stated(cell.recipe) if cell else {}
    return known.get(cell.row, unstated(cell.row)) if cell else unstated(dataset)


def shows(terms: DatasetTerms, array: str) -> bool:
    """Whether the images of an array of `examples.npz` may be shown to others."""
    if terms.publish == "generated":
        return array not in ORIGINALS
    return terms.publish == "all" or array.startswith(_FROM_TEXT)


def stated(recipe: str) -> dict[str, DatasetTerms]:
    """`_terms` of a file of data sets, by row. Raises ConfigError naming a row that the file does not have."""
    return said_of_rows(recipe, "_terms", DatasetTerms)
