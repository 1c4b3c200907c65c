"""Figures of what a variational autoencoder makes of latents that no image was encoded to."""

import numpy as np
from matplotlib.figure import Figure

from favae.config.reporting import FigureConfig, FigureStyleConfig
from favae.reporting.results import Results
from favae.reporting.style import bare, new_figure


def draw_drawn(config: FigureConfig, style: FigureStyleConfig, results: Results) -> Figure:
    """Pictures of `examples` latents drawn from N(0, 1), the same for every row, one row a model."""
    rows = [(series.label, _from_prior(results, series.cell, "drawn")[: config.examples]) for series in config.series]
    columns = max(len(pictures) for _, pictures in rows)
    side = style.width / (columns + 2)
    figure = new_figure(style.width, len(rows) * side + 0.5, config.title)
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes_row, (label, pictures) in zip(grid, rows):
        for axes in axes_row:
            bare(axes)
        for axes, picture in zip(axes_row, pictures):
            axes.imshow(picture, interpolation="nearest")
        axes_row[0].set_ylabel(label, rotation=0, ha="right", va="center")
    return figure


def draw_latent_grids(config: FigureConfig, style: FigureStyleConfig, results: Results) -> Figure:
    """One sheet a model: pictures over the plane of its two latents, three sheets a row."""
    columns = min(3, len(config.series))
    lines = -(-len(config.series) // columns)
    figure = new_figure(style.width, lines * (style.width / columns + 0.2) + 0.4, config.title)
    for axes, series in zip(figure.subplots(lines, columns, squeeze=False).flat, config.series):
        axes.imshow(_sheet(_from_prior(results, series.cell, "grid")), interpolation="nearest")
        axes.set_title(series.label)
    for axes in figure.axes:
        bare(axes)
    return figure


def _from_prior(results: Results, cell: str, name: str) -> np.ndarray:
    """Pictures [k,H,W,3] of a result. Raises ValueError where its model has none."""
    pictures = results.pictures(cell)
    if name not in pictures:
        raise ValueError(f"{cell} has no pictures {name!r}: its model has no latents to draw from, or not two of them")
    return pictures[name]


def _sheet(pictures: np.ndarray) -> np.ndarray:
    """Square number of pictures [s*s,H,W,3], row by row, as one [s*H,s*W,3]."""
    side = round(len(pictures) ** 0.5)
    height, width = pictures.shape[1:3]
    return pictures.reshape(side, side, height, width, 3).swapaxes(1, 2).reshape(side * height, side * width, 3)
