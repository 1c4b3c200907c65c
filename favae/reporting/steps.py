"""Which step of each training a figure shows, in a line below it."""

import textwrap
from typing import Any

from matplotlib.figure import Figure

from favae.config.reporting import FigureConfig, FigureStyleConfig, SeriesConfig
from favae.reporting.results import Results
from favae.reporting.style import GREY, POINTS, new_figure

_PART = 0.8  # of the font size
_ASPECT = 0.55  # mean width of a character, of its size


def about_steps(config: FigureConfig, results: Results) -> str:
    """`All weights are of step 1,200.`, or the models of each step; empty where no training says its step.

    Models are named by their labels or, where one label stands for models of several steps, by their panels or by both.
    """
    steps = [(series, words) for series in config.series if (words := _steps(series, results))]
    if len(config.series) > 1 and len({words for _, words in steps}) == 1:
        return f"All weights are of step {steps[0][1]}."
    for name in ("{0.label}", "{0.panel}", "{0.label} ({0.panel})"):
        named = dict.fromkeys((words, name.format(series)) for series, words in steps)
        if len({model for _, model in named}) == len(named):
            break
    models: dict[str, list[str]] = {}
    for words, model in named:
        models.setdefault(words, []).append(model)
    return " ".join(f"Weights of step {words}: {'; '.join(names)}." for words, names in models.items())


def _steps(series: SeriesConfig, results: Results) -> str:
    """The step of the weights of a series, or the first and the last of several; empty where none is known."""
    steps = sorted({step for cell in series.runs if (step := _step(cell, results))})
    if not steps:
        return ""
    return f"{steps[0]:,}" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,}"


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
