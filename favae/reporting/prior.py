"""Figures of images decoded from latents that are not encodings of an image."""

import numpy as np
from matplotlib.figure import Figure

from favae.config.reporting import FigureConfig, FigureStyleConfig
from favae.reporting.results import Results
from favae.reporting.steps import figure_of_images
from favae.reporting.style import bare


def draw_drawn(config: FigureConfig, style: FigureStyleConfig, results: Results) -> Figure:
    """Images of `examples` latents drawn from N(0, 1), the same for every row, one row per model."""
    rows = [(series.label, _from_prior(results, series.run, "drawn")[: config.examples]) for series in config.series]
    columns = max(len(images) for _, images in rows)
    side = style.width / (columns + 2)
    figure = figure_of_images(config, style, results, len(rows) * side + 0.5)
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes_row, (label, images) in zip(grid, rows):
        for axes in axes_row:
            bare(axes)
        for axes, image in zip(axes_row, images):
            axes.imshow(image, interpolation="nearest")
        axes_row[0].set_ylabel(label, rotation=0, ha="right", va="center")
    return figure


def draw_latent_grids(config: FigureConfig, style: FigureStyleConfig, results: Results) -> Figure:
    """One sheet per model: images over the plane of its two latents, three sheets per row."""
    columns = min(3, len(config.series))
    lines = -(-len(config.series) // columns)
    figure = figure_of_images(config, style, results, lines * (style.width / columns + 0.2) + 0.4)
    for axes, series in zip(figure.subplots(lines, columns, squeeze=False).flat, config.series):
        axes.imshow(_sheet(_from_prior(results, series.run, "grid")), interpolation="nearest")
        axes.set_title(series.label)
    for axes in figure.axes:
        bare(axes)
    return figure


def _from_prior(results: Results, cell: str, name: str) -> np.ndarray:
    """Images [k,H,W,3] of a result. Raises ValueError if its model has none."""
    images = results.images(cell)
    if name not in images:
        raise ValueError(f"{cell} has no images {name!r}: its model has no latents to draw from, or not two of them")
    return images[name]


def _sheet(images: np.ndarray) -> np.ndarray:
    """One image [s*H,s*W,3] with s*s images [s*s,H,W,3] row by row."""
    side = round(len(images) ** 0.5)
    height, width = images.shape[1:3]
    return images.reshape(side, side, height, width, 3).swapaxes(1, 2).reshape(side * height, side * width, 3)
