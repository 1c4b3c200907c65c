"""Figures that show curves: error over frequency, losses and sigmas over steps."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from favae.config.reporting import FigureSpec, FigureStyle, Series
from favae.reporting.results import Results
from favae.reporting.style import GREY, label_ends, new_figure

# Feature pairs by index i: encoder feature A_i and the complement C_{3-i} that is compared with it (FA-VAE, Fig. 2).
PAIRS = ("first convolution ↔ FCM 4", "down-sampling ↔ FCM 3", "middle block ↔ FCM 2", "latent ↔ FCM 1")
_QUANTITIES = {
    "l1": "L1",
    "lpips": "LPIPS",
    "image_ffl": "Focal frequency loss",
    "cross_entropy": "CAT, cross-entropy (nats a code)",
}
_WITHOUT_TEXT = "cross_entropy_without_text"
_HEIGHT = 3.4


def draw_spectrum_error(spec: FigureSpec, style: FigureStyle, results: Results) -> Figure:
    """Mean absolute log-power error over spatial frequency, one curve a model, frequency bands shaded."""
    panels = list(dict.fromkeys(series.panel for series in spec.series))
    figure = new_figure(style.width, _HEIGHT, spec.title)
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    drawn = []
    for axes, panel in zip(grid, panels):
        chosen = [series for series in spec.series if series.panel == panel]
        curves = [results.table(series.cell, "spectrum.csv") for series in chosen]
        axes.set_title(f"{panel} ({_images(results, chosen[0].cell)})".strip(), pad=18)
        axes.set_xlabel("spatial frequency (Nyquist = 1)")
        lines = [
            axes.plot(curve["radius"], curve["error_db"], color=f"C{i}", lw=1.8, label=series.label)[0]
            for i, (series, curve) in enumerate(zip(chosen, curves))
        ]
        _shade_bands(axes, curves[0])
        drawn.append((axes, lines))
    grid[0].set_ylim(bottom=0)
    grid[0].set_ylabel("mean |log-power error| (dB)")
    for axes, lines in drawn:
        label_ends(axes, lines)
    return figure


def _images(results: Results, cell: str) -> str:
    """Which images an evaluation measured, as in `test, n = 136`."""
    metric = next(m for name, m in results.metrics(cell).items() if name.startswith("log_spectral_error"))
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
        place = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "bottom"}
        axes.text((start + end) / 2, 1.02, str(band), color=GREY, **place)


def draw_learning_curves(spec: FigureSpec, style: FigureStyle, results: Results) -> Figure:
    """Training (faint) and validation (solid, dots) losses, one panel a loss; the start of the GAN loss dashed."""
    curves = {series.label: results.curves(series.cell) for series in spec.series}
    measured = {name for table in curves.values() for name in table}
    quantities = [name for name in _QUANTITIES if f"val/{name}" in measured]
    figure = new_figure(style.width, _HEIGHT, spec.title)
    grid = figure.subplots(1, len(quantities), squeeze=False)[0]
    for axes, quantity in zip(grid, quantities):
        axes.set_title(_QUANTITIES[quantity])
        axes.set_xlabel("step")
        lines = []
        for i, (label, table) in enumerate(curves.items()):
            if f"val/{quantity}" in table:
                lines += _loss(axes, table, quantity, label, f"C{i}")
        _mark_discriminator(axes, list(curves.values()), quantity)
        axes.margins(x=0)
        label_ends(axes, lines)
    return figure


def _loss(axes: Axes, table: pd.DataFrame, quantity: str, label: str, colour: str) -> list:
    """Curves of one loss of one model; returns the lines that want a label."""
    if f"train/{quantity}" in table:
        train = table[["step", f"train/{quantity}"]].dropna()
        axes.plot(*train.to_numpy().T, color=colour, lw=1, alpha=0.35)
    val = table[["step", f"val/{quantity}"]].dropna()
    lines = axes.plot(*val.to_numpy().T, color=colour, lw=1.8, marker="o", ms=3.5, clip_on=False, label=label)
    if quantity == "cross_entropy" and f"val/{_WITHOUT_TEXT}" in table:
        without = table[["step", f"val/{_WITHOUT_TEXT}"]].dropna()
        lines += axes.plot(*without.to_numpy().T, color=colour, lw=1.4, ls=(0, (4, 2)), label="without text")
    return lines


def _mark_discriminator(axes: Axes, tables: Sequence[pd.DataFrame], quantity: str) -> None:
    """A vertical line where the discriminator's loss is first logged."""
    if quantity == "cross_entropy":
        return
    starts = {int(t.loc[t["train/discriminator"].notna(), "step"].min()) for t in tables if "train/discriminator" in t}
    for start in sorted(starts):
        axes.axvline(start, color=GREY, lw=0.9, ls=":")
        place = {"xycoords": axes.get_xaxis_transform(), "textcoords": "offset points"}
        axes.annotate("GAN loss on", (start, 1), (4, 0), va="top", color=GREY, **place)


def draw_sigma(spec: FigureSpec, style: FigureStyle, results: Results) -> Figure:
    """Learned standard deviations of the DSL filters over steps, one panel a model.

    Solid: sigma of the encoder feature (pair-wise DSL: of both); dashed: of the complement where it has its own.

    Raises:
        ValueError: a model that was trained without learnable sigmas.
    """
    figure = new_figure(style.width, _HEIGHT, spec.title)
    grid = figure.subplots(1, len(spec.series), squeeze=False, sharey=True)[0]
    drawn = [(axes, _sigmas(axes, series, results.curves(series.cell))) for axes, series in zip(grid, spec.series)]
    grid[0].set_ylabel("sigma (positions of the feature map)")
    for axes, lines in drawn:
        label_ends(axes, lines)
    return figure


def _sigmas(axes: Axes, series: Series, table: pd.DataFrame) -> list:
    if "train/sigma_taps_0" not in table:
        raise ValueError(f"{series.cell} was trained without learnable sigmas: take it out of the figure")
    axes.set_title(series.label)
    axes.set_xlabel("step")
    axes.margins(x=0)
    lines = []
    for i, pair in enumerate(PAIRS):
        lines += axes.plot(table["step"], table[f"train/sigma_taps_{i}"], color=f"C{i}", lw=1.8, label=pair)
        own = f"train/sigma_complements_{len(PAIRS) - 1 - i}"  # entry j belongs to C_j
        if own in table:
            axes.plot(table["step"], table[own], color=f"C{i}", lw=1.4, ls=(0, (4, 2)))
    return lines
