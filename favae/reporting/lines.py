"""Figures that show curves: error over frequency, losses and sigmas over steps."""

from collections.abc import Callable, Iterable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from favae.config.reporting import FigureConfig, FigureStyleConfig, SeriesConfig
from favae.reporting.results import Results
from favae.reporting.style import GREY, label_ends, new_figure
from favae.runtime import paths

# Feature pairs by index i: encoder feature A_i and the complement C_{3-i} that is compared with it (FA-VAE, Fig. 2).
PAIRS = ("first convolution ↔ FCM 4", "down-sampling ↔ FCM 3", "middle block ↔ FCM 2", "latent ↔ FCM 1")
_QUANTITIES = {
    "l1": "L1",
    "lpips": "LPIPS",
    "image_ffl": "Focal frequency loss",
    "cross_entropy": "CAT, cross-entropy (nats per code)",
}
_HEIGHT = 3.4
_DECADE = 10.0


def draw_spectrum_error(config: FigureConfig, style: FigureStyleConfig, results: Results) -> Figure:
    """Mean absolute log-power error over spatial frequency, one curve per model, frequency bands shaded."""
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
    config: FigureConfig,
    style: FigureStyleConfig,
    results: Results,
    height: Callable[[pd.DataFrame], pd.Series],
    *,
    zero: bool = False,
) -> tuple[Figure, list[tuple[Axes, list[Line2D]]]]:
    """One panel of curves per panel of the figure, with the lines in it; with `zero`, a line at 0 below them."""
    panels = list(dict.fromkeys(series.panel for series in config.series))
    figure = new_figure(style.width, _HEIGHT, config.title)
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    drawn = []
    for axes, panel in zip(grid, panels):
        chosen = [series for series in config.series if series.panel == panel]
        curves = [results.table(series.cell, paths.SPECTRUM) for series in chosen]
        axes.set_title(f"{panel} ({_images(results, chosen[0].cell)})".strip(), pad=18)
        axes.set_xlabel("spatial frequency (Nyquist = 1)")
        if zero:
            axes.axhline(0, color=GREY, lw=1)
        lines = [
            axes.plot(curve["radius"], height(curve), color=f"C{i}", lw=1.8, label=series.label)[0]
            for i, (series, curve) in enumerate(zip(chosen, curves))
        ]
        _shade_bands(axes, curves[0])
        drawn.append((axes, lines))
    return figure, drawn


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


def draw_learning_curves(config: FigureConfig, style: FigureStyleConfig, results: Results) -> Figure:
    """Training (faint) and validation (dots) losses, one panel per loss; a ring marks the step that is evaluated.

    Dotted lines mark where the GAN loss starts. A loss that falls by more than a decade has a logarithmic axis.

    A label that the next panel repeats is drawn there only.

    Raises:
        ValueError: no validation loss in any of the curves.
    """
    curves = {series.label: results.curves(series.cell) for series in config.series}
    quantities = [name for name in _QUANTITIES if any(_has(table, name) for table in curves.values())]
    if not quantities:
        raise ValueError(f"figure {config.id!r}: no curve has a validation loss of {', '.join(_QUANTITIES)}")
    figure = new_figure(style.width, _HEIGHT, config.title)
    grid = figure.subplots(1, len(quantities), squeeze=False)[0]
    drawn: list[tuple[Axes, dict[str, Line2D]]] = []
    for axes, quantity in zip(grid, quantities):
        shown = {label: table for label, table in curves.items() if _has(table, quantity)}
        colours = {label: f"C{list(curves).index(label)}" for label in shown}
        axes.set(title=_QUANTITIES[quantity], xlabel="step")
        axes.margins(x=0)
        steps = {series.label: results.shown_step(series.cell) for series in config.series}
        lines = {
            label: _loss(axes, table, quantity, label, colours[label], steps[label]) for label, table in shown.items()
        }
        if _spans_decades(shown.values(), quantity):
            axes.set_yscale("log")
            _few_ticks(axes)
        if quantity == "cross_entropy":
            lines |= _without_text(axes, shown, colours)
        _mark_gan(axes, shown, colours)
        drawn.append((axes, lines))
    for i, (axes, lines) in enumerate(drawn):
        if i + 1 == len(drawn) or drawn[i + 1][1].keys() != lines.keys():
            label_ends(figure, axes, list(lines.values()))
    return figure


def _has(table: pd.DataFrame, quantity: str) -> bool:
    """Whether a validation loss was measured; losses with weight 0 are logged as 0 and skipped."""
    return bool((table.get(f"val/{quantity}", pd.Series(dtype=float)).fillna(0) != 0).any())


def _spans_decades(tables: Iterable[pd.DataFrame], quantity: str) -> bool:
    """Whether all values of a loss are positive and its largest is more than ten times its smallest."""
    values = [
        table[name].dropna() for table in tables for name in (f"train/{quantity}", f"val/{quantity}") if name in table
    ]
    found = pd.concat(values)
    return bool(len(found) and found.min() > 0 and found.max() > _DECADE * found.min())


def _few_ticks(axes: Axes) -> None:
    """Label 1, 2 and 5 of each decade, as plain numbers."""
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _loss(axes: Axes, table: pd.DataFrame, quantity: str, label: str, colour: str, shown: int | None) -> Line2D:
    """Draw the curves of one loss of one model, a ring at the `shown` step; returns the validation curve."""
    if f"train/{quantity}" in table:
        train = table[["step", f"train/{quantity}"]].dropna()
        axes.plot(*train.to_numpy().T, color=colour, lw=1, alpha=0.35)
    val = table[["step", f"val/{quantity}"]].dropna()
    ring = val[val["step"] == shown]
    axes.plot(
        *ring.to_numpy().T, color=colour, marker="o", ms=9, mfc="none", mew=1.4, ls="none", clip_on=False, zorder=4
    )
    return axes.plot(*val.to_numpy().T, color=colour, lw=1.8, marker="o", ms=3.5, clip_on=False, label=label)[0]


def _without_text(axes: Axes, tables: dict[str, pd.DataFrame], colours: dict[str, str]) -> dict[str, Line2D]:
    """Draw, dashed, the validation loss with all text hidden, the null branch of classifier-free guidance."""
    lines = {}
    for label, table in tables.items():
        val = table[["step", "val/cross_entropy_without_text"]].dropna()
        name = f"{label}, text hidden"
        lines[name] = axes.plot(*val.to_numpy().T, color=colours[label], lw=1.4, ls=(0, (4, 2)), label=name)[0]
    return lines


def _mark_gan(axes: Axes, tables: dict[str, pd.DataFrame], colours: dict[str, str]) -> None:
    """Draw a dotted line at each first step with a logged discriminator loss, grey where several models share it."""
    starts = {
        label: int(table.loc[table["train/discriminator"].notna(), "step"].min())
        for label, table in tables.items()
        if "train/discriminator" in table
    }
    for start in sorted(set(starts.values())):
        sharing = [colours[label] for label, own in starts.items() if own == start]
        colour = sharing[0] if len(sharing) == 1 else GREY
        axes.axvline(start, color=colour, lw=0.9, ls=":")
        at = axes.get_xaxis_transform()
        late = start > sum(axes.get_xlim()) / 2  # then the words are on the left, within the axes
        offset, side = ((-4, 0), "right") if late else ((4, 0), "left")
        axes.annotate("GAN loss on", (start, 1), offset, at, "offset points", va="top", ha=side, color=colour)


def draw_sigma(config: FigureConfig, style: FigureStyleConfig, results: Results) -> Figure:
    """Learned standard deviations of the DSL filters over steps, one panel per model.

    Solid: sigma of the encoder feature (pair-wise DSL: of both); dashed: sigma of the complement, if it has its own.

    Raises:
        ValueError: a model that was trained without learnable sigmas.
    """
    figure = new_figure(style.width, _HEIGHT, config.title)
    grid = figure.subplots(1, len(config.series), squeeze=False, sharey=True)[0]
    drawn = [(axes, _sigmas(axes, series, results.curves(series.cell))) for axes, series in zip(grid, config.series)]
    grid[0].set_ylabel("sigma (positions of the feature map)")
    return _with_labels(figure, drawn)


def _sigmas(axes: Axes, series: SeriesConfig, table: pd.DataFrame) -> list[Line2D]:
    if "train/sigma_taps_0" not in table:
        raise ValueError(f"{series.cell} was trained without learnable sigmas: take it out of the figure")
    dashed = any(str(name).startswith("train/sigma_complements") for name in table)
    axes.set(title=f"{series.label} (dashed: complements)" if dashed else series.label, xlabel="step")
    axes.margins(x=0)
    lines = []
    for i, pair in enumerate(PAIRS):
        lines += axes.plot(table["step"], table[f"train/sigma_taps_{i}"], color=f"C{i}", lw=1.8, label=pair)
        own = f"train/sigma_complements_{len(PAIRS) - 1 - i}"  # entry j belongs to C_j
        if own in table:
            axes.plot(table["step"], table[own], color=f"C{i}", lw=1.4, ls=(0, (4, 2)))
    return lines
