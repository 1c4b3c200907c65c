"""Figures of losses and sigmas over the steps of trainings."""

from collections.abc import Iterable, Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from favae.config.reporting import FigureConfig, FigureStyleConfig, SeriesConfig
from favae.reporting.averages import about_bands, draw_band, mean_of
from favae.reporting.results import Results
from favae.reporting.steps import write_below
from favae.reporting.style import GREY, label_ends, new_figure

# Feature pairs by index i: encoder feature A_i and the complement C_{3-i} that is compared with it (FA-VAE, Fig. 2).
PAIRS = ("first convolution ↔ FCM 4", "down-sampling ↔ FCM 3", "middle block ↔ FCM 2", "latent ↔ FCM 1")
_QUANTITIES = {
    "l1": "L1",
    "lpips": "LPIPS",
    "image_ffl": "Focal frequency loss",
    "cross_entropy": "CAT, cross-entropy (nats per code)",
}
_HEIGHT = 3.5
_DECADE = 10.0
_RING = 9.0  # diameter in points of the ring around the step that is evaluated
_RINGS = "Rings: the steps whose weights are evaluated."


def draw_learning_curves(config: FigureConfig, style: FigureStyleConfig, results: Results) -> Figure:
    """Training (faint) and validation (dots) losses, one panel per loss; a ring marks the step that is evaluated.

    Dotted lines mark where the GAN loss starts. A loss that falls by more than a decade has a logarithmic axis. Several
    trainings of one recipe are their mean, with a band of noise around the validation loss.

    A label that the next panel repeats is drawn there only.

    Raises:
        ValueError: no validation loss in any of the curves.
    """
    curves = {series.label: [results.curves(cell) for cell in series.runs] for series in config.series}
    quantities = [name for name in _QUANTITIES if any(_has(tables, name) for tables in curves.values())]
    if not quantities:
        raise ValueError(f"figure {config.id!r}: no curve has a validation loss of {', '.join(_QUANTITIES)}")
    figure = new_figure(style.width, _HEIGHT, config.title)
    write_below(figure, f"{_RINGS} {about_bands(config)}", style.width, style.font_size)
    steps = {series.label: [results.shown_step(cell) for cell in series.runs] for series in config.series}
    colours = {label: f"C{i}" for i, label in enumerate(curves)}
    drawn: list[tuple[Axes, dict[str, Line2D]]] = []
    for axes, quantity in zip(figure.subplots(1, len(quantities), squeeze=False)[0], quantities):
        shown = {label: tables for label, tables in curves.items() if _has(tables, quantity)}
        axes.set(title=_QUANTITIES[quantity], xlabel="step")
        axes.margins(x=0)
        lines = {
            label: _loss(axes, tables, quantity, label, colours[label], steps[label]) for label, tables in shown.items()
        }
        if _spans_decades((table for tables in shown.values() for table in tables), quantity):
            axes.set_yscale("log")
            _few_ticks(axes)
        if quantity == "cross_entropy":
            lines |= _without_text(axes, shown, colours)
        _mark_gan(axes, {colours[label]: tables for label, tables in shown.items()})
        drawn.append((axes, lines))
    for i, (axes, lines) in enumerate(drawn):
        if i + 1 == len(drawn) or drawn[i + 1][1].keys() != lines.keys():
            label_ends(figure, axes, list(lines.values()))
    return figure


def _has(tables: Iterable[pd.DataFrame], quantity: str) -> bool:
    """Whether a validation loss was measured; losses with weight 0 are logged as 0 and skipped."""
    name = f"val/{quantity}"
    return any(bool((table.get(name, pd.Series(dtype=float)).fillna(0) != 0).any()) for table in tables)


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


def _loss(
    axes: Axes, tables: list[pd.DataFrame], quantity: str, label: str, colour: str, shown: list[int | None]
) -> Line2D:
    """Draw the curves of one loss of one model, a ring at each `shown` step; returns the validation curve."""
    mean = mean_of(tables, "step")
    if f"train/{quantity}" in mean:
        train = mean[["step", f"train/{quantity}"]].dropna()
        axes.plot(*train.to_numpy().T, color=colour, lw=1, alpha=0.35)
    val = mean[["step", f"val/{quantity}"]].dropna()
    limits = axes.dataLim.frozen()  # a wide interval of few seeds reaches below 0, which no loss does
    draw_band(axes, tables, "step", f"val/{quantity}", colour)
    axes.dataLim.set(limits)
    _ring(axes, val[val["step"].isin([step for step in shown if step])], colour)
    return axes.plot(*val.to_numpy().T, color=colour, lw=1.8, marker="o", ms=3.5, clip_on=False, label=label)[0]


def _ring(axes: Axes, points: pd.DataFrame, colour: str) -> None:
    """Draw a ring around each point (two columns) of a curve."""
    if points.empty:
        return
    axes.plot(
        *points.to_numpy().T,
        color=colour,
        marker="o",
        ms=_RING,
        mfc="none",
        mew=1.4,
        ls="none",
        clip_on=False,
        zorder=4,
    )


def _without_text(axes: Axes, curves: Mapping[str, list[pd.DataFrame]], colours: dict[str, str]) -> dict[str, Line2D]:
    """Draw, dashed, the validation loss with all text hidden, the null branch of classifier-free guidance."""
    lines = {}
    for label, tables in curves.items():
        val = mean_of(tables, "step")[["step", "val/cross_entropy_without_text"]].dropna()
        name = f"{label}, text hidden"
        lines[name] = axes.plot(*val.to_numpy().T, color=colours[label], lw=1.4, ls=(0, (4, 2)), label=name)[0]
    return lines


def _mark_gan(axes: Axes, trainings: Mapping[str, list[pd.DataFrame]]) -> None:
    """Draw a dotted line at each first step with a logged discriminator loss, in the colour of its training or grey where
    several share it; the words of the next start are a line lower.
    """
    sharing: dict[int, list[str]] = {}
    for colour, tables in trainings.items():
        for start in {_gan_start(table) for table in tables} - {None}:
            sharing.setdefault(int(start or 0), []).append(colour)
    for line, (start, colours) in enumerate(sorted(sharing.items())):
        colour = colours[0] if len(colours) == 1 else GREY
        axes.axvline(start, color=colour, lw=0.9, ls=":")
        at = axes.get_xaxis_transform()
        late = start > sum(axes.get_xlim()) / 2  # then the words are on the left, within the axes
        offset, side = (-4, "right") if late else (4, "left")
        lower = -13 * line
        axes.annotate("GAN loss on", (start, 1), (offset, lower), at, "offset points", va="top", ha=side, color=colour)


def _gan_start(table: pd.DataFrame) -> int | None:
    """The first step with a logged discriminator loss; None for a training without a GAN."""
    if "train/discriminator" not in table or table["train/discriminator"].isna().all():
        return None
    return int(table.loc[table["train/discriminator"].notna(), "step"].min())


def draw_sigma(config: FigureConfig, style: FigureStyleConfig, results: Results) -> Figure:
    """Learned standard deviations of the DSL filters over steps, one panel per model.

    Solid: sigma of the encoder feature (pair-wise DSL: of both); dashed: sigma of the complement, if it has its own. A
    dotted line marks where the GAN loss starts, rings the step that is evaluated.

    Raises:
        ValueError: a model that was trained without learnable sigmas.
    """
    figure = new_figure(style.width, _HEIGHT, config.title)
    write_below(figure, f"{_RINGS} {about_bands(config)}", style.width, style.font_size)
    grid = figure.subplots(1, len(config.series), squeeze=False, sharey=True)[0]
    drawn = []
    for axes, series in zip(grid, config.series):
        table = results.curves(series.run)
        drawn.append((axes, _sigmas(axes, series, table, results.shown_step(series.run))))
        _mark_gan(axes, {GREY: [table]})
    grid[0].set_ylabel("sigma (positions of the feature map)")
    for axes, lines in drawn:
        label_ends(figure, axes, lines)
    return figure


def _sigmas(axes: Axes, series: SeriesConfig, table: pd.DataFrame, shown: int | None) -> list[Line2D]:
    if "train/sigma_taps_0" not in table:
        raise ValueError(f"{series.run} was trained without learnable sigmas: take it out of the figure")
    dashed = any(str(name).startswith("train/sigma_complements") for name in table)
    axes.set(title=f"{series.label} (dashed: complements)" if dashed else series.label, xlabel="step")
    axes.margins(x=0)
    lines = []
    for i, pair in enumerate(PAIRS):
        name = f"train/sigma_taps_{i}"
        lines += axes.plot(table["step"], table[name], color=f"C{i}", lw=1.8, label=pair)
        _ring(axes, table.loc[table["step"] == shown, ["step", name]].dropna(), f"C{i}")
        own = f"train/sigma_complements_{len(PAIRS) - 1 - i}"  # entry j belongs to C_j
        if own in table:
            axes.plot(table["step"], table[own], color=f"C{i}", lw=1.4, ls=(0, (4, 2)))
    return lines
