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
from matplotlib.transforms import offset_copy

from favae.config.reporting import FigureStyleConfig

GREY = "0.35"
POINTS = 72  # in an inch
_BESIDE = 9  # points from the axes to a label: clear of a ring around the last point


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
    """Write the label of each line to the right of the axes, in its colour, at the height of its last point, moved so that
    labels do not overlap; a thin line leads to a label that is not beside its point.

    Call it after the limits of the axes are final.
    """
    if not lines:
        return
    _without_mathematics(figure)
    figure.draw_without_rendering()  # determines the positions of the axes
    size = 0.9 * matplotlib.rcParams["font.size"]
    points = {line: axes.transData.transform(_last_point(line)) for line in lines}
    order = sorted(lines, key=lambda line: float(points[line][1]))
    (_, bottom), (right, top) = axes.transAxes.transform([(0, 0), (1, 1)])
    gap = 1.25 * size * figure.dpi / POINTS
    placed = spread(np.array([points[line][1] for line in order]), gap, top)
    for line, y in zip(order, placed):
        beside = abs(y - points[line][1]) < gap / 2 and right - points[line][0] < gap
        lead = {"arrowstyle": "-", "color": line.get_color(), "lw": 0.6, "alpha": 0.7, "relpos": (0, 0.5), "shrinkA": 0}
        axes.annotate(
            str(line.get_label()),
            _last_point(line),
            (1, (y - bottom) / (top - bottom)),
            xycoords="data",
            textcoords=offset_copy(axes.transAxes, figure, x=_BESIDE, units="points"),
            arrowprops=None if beside else lead,
            color=line.get_color(),
            size=size,
            va="center",
        )


def _last_point(line: Line2D) -> tuple[float, float]:
    x, y = line.get_data()
    return float(np.asarray(x)[-1]), float(np.asarray(y)[-1])


def spread(wanted: np.ndarray, gap: float, highest: float) -> np.ndarray:
    """Ascending positions at least `gap` apart and not above `highest`, near `wanted` (ascending)."""
    placed = wanted.astype(float)
    for i in range(1, len(placed)):
        placed[i] = max(placed[i], placed[i - 1] + gap)
    placed[-1] = min(placed[-1], highest)
    for i in range(len(placed) - 2, -1, -1):
        placed[i] = min(placed[i], placed[i + 1] - gap)
    return placed
