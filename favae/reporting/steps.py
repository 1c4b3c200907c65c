"""Which step of each training a figure shows, in a line below it."""

import textwrap
from typing import Any

from matplotlib.figure import Figure

from favae.config.reporting import FigureConfig, FigureStyleConfig
from favae.reporting.results import Results
from favae.reporting.style import GREY, POINTS, new_figure

_PART = 0.8  # of the font size
_ASPECT = 0.55  # mean width of a character, of its size


def about_steps(config: FigureConfig, results: Results) -> str:
    """`All weights are of step 1,200.`, or the models of each step; empty where no training says its step."""
    labels: dict[str, list[str]] = {}
    for series in config.series:
        steps = sorted({step for cell in series.runs if (step := _step(cell, results))})
        if steps:
            words = f"{steps[0]:,}" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,}"
            labels.setdefault(words, [])
            if series.label not in labels[words]:
                labels[words].append(series.label)
    if len(labels) == 1 and len(config.series) > 1:
        return f"All weights are of step {next(iter(labels))}."
    return " ".join(f"Weights of step {step}: {'; '.join(names)}." for step, names in labels.items())


def _step(cell: str, results: Results) -> int | None:
    """Step of the weights behind a result; None where nothing was trained: images that other people's networks made are taken
    over in a single step.
    """
    facts = results.training(cell)
    return facts.step if facts and facts.steps > 1 else None


def figure_of_images(config: FigureConfig, style: FigureStyleConfig, results: Results, height: float) -> Figure:
    """An empty figure with its title, and with the steps of the models in a note that is added to the height."""
    note = about_steps(config, results)
    figure = new_figure(style.width, height + height_below(note, style.width, style.font_size), config.title)
    write_below(figure, note, style.width, style.font_size)
    return figure


def lines_below(text: str, width: float, font_size: float) -> list[str]:
    """The lines of a note below a figure of `width` inches."""
    return textwrap.wrap(text, int(width * POINTS / (_ASPECT * _PART * font_size)))


def write_below(figure: Figure, text: str, width: float, font_size: float) -> None:
    """Write a note below all axes, on the left; a layout makes room for it."""
    if lines := lines_below(text, width, font_size):
        place: dict[str, Any] = {"x": 0.08 / width, "ha": "left", "size": _PART * font_size, "color": GREY}
        if figure.get_layout_engine() is None:
            figure.text(y=0.06 / figure.get_figheight(), s="\n".join(lines), va="bottom", **place)
        else:
            figure.supxlabel("\n".join(lines), **place)


def height_below(text: str, width: float, font_size: float) -> float:
    """Inches that the note takes."""
    return len(lines_below(text, width, font_size)) * 1.3 * _PART * font_size / POINTS
