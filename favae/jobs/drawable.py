"""Whether the cells of figures and tables have what these show, so that a plan fails, and not the last job of a long run."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from favae.config.cat import GenerateConfig
from favae.config.companions import CompanionConfig
from favae.config.evaluation import EvaluationConfig
from favae.config.favae import DynamicSpectrumConfig, FavaeConfig
from favae.config.reporting import CURVES, FigureConfig, FiguresConfig, TablesConfig
from favae.jobs.buildable import model_facts

if TYPE_CHECKING:
    from favae.jobs.grid import Grid, Job


def lacking(grid: "Grid", job: "Job") -> Iterator[str]:
    """One sentence per figure or row that cannot be made from its cells; cells that do not exist are left out."""
    if isinstance(job.config, FiguresConfig):
        for figure in job.config.figures:
            yield from (f"figure {figure.id!r}: {text}" for text in _undrawable(grid, figure))
    elif isinstance(job.config, TablesConfig):
        for row in (row for table in job.config.tables for row in table.rows if row.guidance is not None):
            for cell in _existing(grid, row.measured_by):
                assert isinstance(cell.config, GenerateConfig)
                if row.guidance not in cell.config.guidance:
                    sampled = ", ".join(f"{guidance:g}" for guidance in cell.config.guidance)
                    yield f"row {row.label!r}: {cell.name} is sampled at guidance {sampled}, not {row.guidance:g}"


def _existing(grid: "Grid", names: tuple[str, ...]) -> list["Job"]:
    known = {job.name: job for job in grid}
    return [known[name] for name in names if name in known]


def _undrawable(grid: "Grid", figure: FigureConfig) -> Iterator[str]:
    cells = _existing(grid, tuple(name for series in figure.series for name in series.runs))
    if figure.kind == "learning_curves" and cells and not any(_curves(cell) for cell in cells):
        yield f"no curve has a validation loss of {', '.join(CURVES)}"
    for cell in cells:
        if figure.kind == "sigma" and not _learns_sigmas(cell):
            yield f"{cell.name} has no learnable sigmas (objective.spectrum.kind dsl); leave it out"
        if figure.kind in ("drawn", "latent_grid") and not _draws(grid, cell, two=figure.kind == "latent_grid"):
            what = "two latents" if figure.kind == "latent_grid" else "latents"
            yield f"the model of {cell.name} has no {what} to draw from; leave it out"
        if figure.kind == "reconstructions" and not _compares(grid, cell):
            yield f"{cell.name} draws images that have no original; leave it out"
        if figure.kind in ("reconstructions", "samples") and _shows(cell) != _shows(cells[0]):
            yield f"{cell.name} shows other images than {cells[0].name}"


def _curves(cell: "Job") -> bool:
    """Whether a training logs one of `CURVES`; FA-VAE and CAT always do."""
    return not isinstance(cell.config, CompanionConfig) or bool(set(CURVES) & set(cell.config.objective.terms))


def _learns_sigmas(cell: "Job") -> bool:
    return isinstance(cell.config, FavaeConfig) and isinstance(cell.config.objective.spectrum, DynamicSpectrumConfig)


def _draws(grid: "Grid", cell: "Job", two: bool) -> bool:
    """Whether an evaluation stores images that are drawn from (two) latents."""
    if cell.stage.name == "evaluate_generator":
        return not two and not _compares(grid, cell)
    latents = model_facts(grid, cell).sizes.get("latent", 0)
    return latents == 2 if two else latents > 0


def _compares(grid: "Grid", cell: "Job") -> bool:
    """Whether an evaluation compares each image with an original."""
    return cell.stage.name != "evaluate_generator" or model_facts(grid, cell).sizes["condition_channels"] > 0


def _shows(cell: "Job") -> tuple[Any, ...]:
    """What decides which images, or which captions, an evaluation shows."""
    config, dataset = cell.config, cell.roles.get("dataset")
    if isinstance(config, GenerateConfig):
        protocol = config.protocol
        return dataset, protocol.split, protocol.n, config.captions, config.captions_per_image, config.examples
    assert isinstance(config, EvaluationConfig)
    return dataset, config.split, config.n
