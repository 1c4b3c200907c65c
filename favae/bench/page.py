"""The page of results: Markdown tables, some with a bar chart."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from favae.bench.section import Row, Section
from favae.config.reporting import FigureStyleConfig
from favae.runtime.files import write_text

_HEAD = "# Benchmarks\n\nWritten by `favae bench --write`"
_TITLE = f"""{_HEAD} (all benchmarks, about ten minutes); no number is typed by hand. Times are medians of rounds in
which our implementation and the peer alternate, in one process; "times faster" is the median over rounds, with quartiles; CPU time
is the sum over all threads. Memory is the peak of the resident set above its size before the work, with each variant in its own
process (`favae/bench/memory.py`). A benchmark fails if both do not compute the same result. Times vary by tens of percent on a
machine with other work, so meeting a goal once is no guarantee."""


def heading(section: Section) -> str:
    """The section's title."""
    return f"## {section.number}. {section.title}" if section.number < 20 else f"## {section.title}"


def line(cells: Sequence[str]) -> str:
    """One row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def write_page(
    path: Path,
    machine: Mapping[str, str],
    tables: Sequence[tuple[Section, Sequence[Row], str]],
    not_run: Sequence[str],
) -> None:
    """Write the page, and beside it an image `<page>-<name>.png` for every section that has bars.

    Args:
        path: path of the page.
        machine: description of the machine (`favae.bench.machine.describe`).
        tables: section, its rows, its name.
        not_run: names of the benchmarks that were not run.
    """
    refuse_to_replace(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = [_TITLE, "\n".join([line(("", "")), line(("---", "---")), *(line(item) for item in machine.items())])]
    if machine["GPU"] == "none used":
        parts.append("**GPU column: not run** (no GPU on this machine): `favae bench --device cuda --write PAGE`.")
    if not_run:
        parts.append(f"**Not run** this time: {', '.join(not_run)}.")
    for section, rows, name in tables:
        head = [line(section.columns), line(["---"] * len(section.columns))]
        parts += [heading(section), section.note, "\n".join([*head, *map(line, rows)])]
        if section.bars:
            image = path.with_name(f"{path.stem}-{name}.png")
            _draw(section, rows, image)
            parts.append(f"![{section.title}]({image.name})")
    write_text(path, "\n\n".join(parts) + "\n")


def refuse_to_replace(path: Path) -> None:
    """Raise ValueError if `path` is a file that `write_page` did not write."""
    if path.exists() and not (path.is_file() and path.read_text(encoding="utf-8", errors="replace").startswith(_HEAD)):
        raise ValueError(f"{path} exists and is no page of benchmarks; give another file to --write")


def _draw(section: Section, rows: Sequence[Row], path: Path) -> None:
    """Horizontal bars with the columns stacked; rows without a number are left out."""
    from favae.reporting.style import drawing, new_figure, save

    columns = [section.columns.index(name) for name in section.bars]
    drawn = [row for row in rows if all(row[column] for column in columns)]
    with drawing(FigureStyleConfig()):
        figure = new_figure(8, 0.6 + 0.3 * len(drawn), section.title)
        axes = figure.subplots()
        left = [0.0] * len(drawn)
        for column in columns:
            widths = [float(row[column]) for row in drawn]
            axes.barh([row[0] for row in drawn], widths, left=left, label=section.columns[column])
            left = [a + b for a, b in zip(left, widths, strict=True)]
        axes.invert_yaxis()
        axes.legend(frameon=False)
        save(figure, path)
