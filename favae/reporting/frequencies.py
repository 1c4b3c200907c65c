"""Figures of errors and powers over spatial frequency."""

from collections.abc import Callable, Iterable, Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from favae.config.reporting import FigureConfig, FigureStyleConfig, SeriesConfig
from favae.reporting.averages import about_bands, draw_band, mean_of
from favae.reporting.results import Results
from favae.reporting.steps import about_steps, write_below
from favae.reporting.style import GREY, label_ends, new_figure
from favae.runtime import paths

Height = Callable[[pd.DataFrame], pd.Series]
_HEIGHT = 3.5
_WIDEST, _NARROWEST = 2.8, 1.4  # points; the first curve is the widest, so that one below another is seen


def draw_spectrum_error(config: FigureConfig, style: FigureStyleConfig, results: Results) -> Figure:
    """Mean absolute log-power error over spatial frequency, one curve per model, frequency bands shaded.

    Several trainings of one recipe are their mean, with a band of noise.
    """
    figure, drawn = _over_frequency(config, style, results, lambda curve: curve["error_db"])
    drawn[0][0].set_ylim(bottom=0)
    drawn[0][0].set_ylabel("mean |log-power error| (dB)")
    return _with_labels(figure, drawn)


def draw_spectra(config: FigureConfig, style: FigureStyleConfig, results: Results) -> Figure:
    """Average power of the models' images minus that of the real ones, over spatial frequency; 0 is the real spectrum."""

    def power(curve: pd.DataFrame) -> pd.Series:
        return curve["reconstruction_db"] - curve["original_db"]

    figure, drawn = _over_frequency(config, style, results, power, zero=True)
    drawn[0][0].set_ylabel("power minus that of real images (dB)")
    return _with_labels(figure, drawn)


def _over_frequency(
    config: FigureConfig, style: FigureStyleConfig, results: Results, height: Height, *, zero: bool = False
) -> tuple[Figure, list[tuple[Axes, list[Line2D]]]]:
    """One panel of curves per panel of the figure, with the lines in it; with `zero`, a line at 0 below them."""
    panels = list(dict.fromkeys(series.panel for series in config.series))
    labels = dict.fromkeys(series.label for series in config.series)
    colours = {label: f"C{i}" for i, label in enumerate(labels)}  # the same in each panel
    figure = new_figure(style.width, _HEIGHT, config.title)
    note = f"{about_steps(config, results)} {about_bands(config)}".strip()
    write_below(figure, note, style.width, style.font_size)
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    drawn = []
    for axes, panel in zip(grid, panels):
        chosen = [series for series in config.series if series.panel == panel]
        images = _images(results, chosen[0].run)
        axes.set_title(f"{panel} ({images})" if panel else images.capitalize(), pad=18)
        axes.set_xlabel("spatial frequency (Nyquist = 1)")
        if zero:
            axes.axhline(0, color=GREY, lw=1)
        lines = _curves(axes, chosen, results, height, colours)
        _shade_bands(axes, results.table(chosen[0].run, paths.SPECTRUM))
        drawn.append((axes, lines))
    return figure, drawn


def _curves(
    axes: Axes, chosen: list[SeriesConfig], results: Results, height: Height, colours: Mapping[str, str]
) -> list[Line2D]:
    lines = []
    for i, series in enumerate(chosen):
        tables = [results.table(cell, paths.SPECTRUM) for cell in series.runs]
        tables = [table.assign(height=height(table)) for table in tables]
        curve = mean_of([table[["radius", "height"]] for table in tables], "radius")
        width = _WIDEST - (_WIDEST - _NARROWEST) * i / max(1, len(chosen) - 1)
        colour = colours[series.label]
        lines += axes.plot(curve["radius"], curve["height"], color=colour, lw=width, label=series.label)
        draw_band(axes, tables, "radius", "height", colour)
    return lines


def _with_labels(figure: Figure, drawn: Iterable[tuple[Axes, list[Line2D]]]) -> Figure:
    for axes, lines in drawn:
        label_ends(figure, axes, lines)
    return figure


def _images(results: Results, cell: str) -> str:
    """The images of an evaluation, such as `test images, n = 136`."""
    measured = results.metrics(cell).items()
    metric = next(m for name, m in measured if name.startswith(("log_spectral_error", "set_spectrum_error")))
    return f"{metric['protocol']['split']} images, n = {metric['n']}"


def _shade_bands(axes: Axes, curve: pd.DataFrame) -> None:
    """Name the bands above the axes and shade the middle one."""
    edges = curve.groupby("band", sort=False)["radius"].agg(["min", "max"])
    half_ring = (curve["radius"].iloc[1] - curve["radius"].iloc[0]) / 2 if len(curve) > 1 else 0.0
    axes.set_xlim(0, curve["radius"].max() + half_ring)
    for i, (band, (first, last)) in enumerate(edges.iterrows()):
        start, end = (first - half_ring if i else 0.0), last + half_ring
        if i % 2:
            axes.axvspan(start, end, color="0.94", lw=0, zorder=0)
        above = axes.get_xaxis_transform()
        axes.text((start + end) / 2, 1.02, str(band), transform=above, ha="center", va="bottom", color=GREY)
