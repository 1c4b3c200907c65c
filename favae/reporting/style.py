"""Common style of figures, direct labels of curves, and files with the same bytes in every run."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.rcsetup import cycler
from matplotlib.text import Text

from favae.config.reporting import FigureStyleConfig

GREY = "0.35"


@contextmanager
def drawing(style: FigureStyleConfig) -> Iterator[None]:
    """Context manager: matplotlib settings of `style`, independent of the user's matplotlibrc."""
    own: dict[Any, Any] = {
        "font.size": style.font_size,
        "axes.titlesize": style.font_size,
        "axes.labelsize": style.font_size,
        "xtick.labelsize": 0.85 * style.font_size,
        "ytick.labelsize": 0.85 * style.font_size,
        "figure.titlesize": 1.15 * style.font_size,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": GREY,
        "savefig.dpi": style.dpi,
        "axes.prop_cycle": cycler(color=sns.color_palette(style.palette)),
    }
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(sns.axes_style("ticks") | {"font.family": ["DejaVu Sans"]} | own)
        yield


def new_figure(
    width: float, height: float, title: str, layout: Literal["constrained"] | None = "constrained"
) -> Figure:
    """An empty figure of width x height inches with a title on the left; without a layout, axes keep their given positions."""
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.08 / width, ha="left", weight="bold")  # with a given y the layout would ignore the title
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a PNG without version or date, so that equal figures have equal bytes."""
    _without_mathematics(figure)
    figure.savefig(path, metadata={"Software": None})


def _without_mathematics(figure: Figure) -> None:
    """A dollar sign in a caption or label is a dollar sign. Ticks of logarithmic axes are matplotlib's own mathematics."""
    for text in figure.findobj(Text):
        if isinstance(text, Text) and "$" in text.get_text() and not text.get_text().startswith("$\\mathdefault{"):
            text.set_parse_math(False)


def bare(axes: Axes) -> None:
    """Remove ticks and frame, for images."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def label_ends(figure: Figure, axes: Axes, lines: Sequence[Line2D]) -> None:
    """Write the label of each line to the right of its last point, in its colour, moved so that labels do not overlap.

    Call it after the limits of the axes are final.
    """
    if not lines:
        return
    _without_mathematics(figure)
    figure.draw_without_rendering()  # determines the positions of the axes
    size = 0.9 * matplotlib.rcParams["font.size"]
    heights = {line: float(np.asarray(line.get_ydata())[-1]) for line in lines}
    order = sorted(lines, key=heights.__getitem__)
    pixels = axes.transData.transform([(0, heights[line]) for line in order])[:, 1]
    top = axes.transAxes.transform((0, 1))[1]
    placed = spread(pixels, 1.25 * size * figure.dpi / 72, top)
    for line, y in zip(order, axes.transAxes.inverted().transform([(0, y) for y in placed])[:, 1]):
        axes.annotate(
            str(line.get_label()),
            (1, y),
            (4, 0),
            xycoords="axes fraction",
            textcoords="offset points",
            color=line.get_color(),
            size=size,
            va="center",
        )


def spread(wanted: np.ndarray, gap: float, highest: float) -> np.ndarray:
    """Ascending positions at least `gap` apart and not above `highest`, near `wanted` (ascending)."""
    placed = wanted.astype(float)
    for i in range(1, len(placed)):
        placed[i] = max(placed[i], placed[i - 1] + gap)
    placed[-1] = min(placed[-1], highest)
    for i in range(len(placed) - 2, -1, -1):
        placed[i] = min(placed[i], placed[i + 1] - gap)
    return placed
