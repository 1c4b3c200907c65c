"""The page of results: Markdown tables of the CPU's and the GPU's measurements, some with a bar chart."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from favae.bench.compare import FASTER, OURS, WORK
from favae.bench.record import Measured, Record
from favae.bench.section import Row, Section
from favae.config.reporting import FigureStyleConfig
from favae.runtime.files import write_text

_HEAD = "# Benchmarks\n\nWritten by `favae bench --write`"
_TITLE = f"""{_HEAD} (all benchmarks, about ten minutes on a device); no number is typed by hand. Times are medians of
rounds in which our implementation and the peer alternate, in one process; "times faster" is the median over rounds, with quartiles;
CPU time is the sum over all threads. Memory is the peak of the resident set above its size before the work, with each variant in its
own process (`favae/bench/memory.py`); on a GPU it is the peak of what torch has allocated. A benchmark fails if both do not
compute the same result; on a GPU the two are compared in fp32, and timed with TF32 convolutions, PyTorch's default. Times vary by
tens of percent on a machine with other work, so meeting a goal once is no guarantee."""
_NOT_RUN = "**GPU column: not run** (no GPU on this machine): `favae bench --device cuda --write PAGE`."


def heading(section: Section) -> str:
    """The section's title."""
    return f"## {section.number}. {section.title}" if section.number < 20 else f"## {section.title}"


def line(cells: Sequence[str]) -> str:
    """One row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def write_page(path: Path, record: Record, sections: Mapping[str, Section]) -> None:
    """Write the page of a record, and beside it an image `<page>-<name>.png` for every section that has bars.

    Args:
        path: path of the page.
        record: what was measured.
        sections: all benchmarks by name, in the order of the page.
    """
    refuse_to_replace(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = [_TITLE, "\n".join(_machines(record))]
    if record.cuda is None:
        parts.append(_NOT_RUN)
    for device, measured in (("CPU", record.cpu), ("GPU", record.cuda)):
        if measured is not None and (missing := _missing(device, measured, sections)):
            parts.append(f"**Not run** on the {device} this time: {', '.join(missing)}.")
    for name, section in sections.items():
        parts += _section(path, name, section, record)
    write_text(path, "\n\n".join(parts) + "\n")


def refuse_to_replace(path: Path) -> None:
    """Raise ValueError if `path` is a file that `write_page` did not write."""
    if path.exists() and not (path.is_file() and path.read_text(encoding="utf-8", errors="replace").startswith(_HEAD)):
        raise ValueError(f"{path} exists and is no page of benchmarks; give another file to --write")


def _missing(device: str, measured: Measured, sections: Mapping[str, Section]) -> list[str]:
    key = "cpu" if device == "CPU" else "cuda"
    return [name for name, s in sections.items() if key in s.devices and not measured.tables.get(name)]


def _machines(record: Record) -> Iterator[str]:
    """The table of the machines, one column for each device."""
    shown = [(name, m.machine) for name, m in (("CPU", record.cpu), ("GPU", record.cuda)) if m is not None]
    yield line(["", *(f"measurements of the {name}" for name, _ in shown)])
    yield line(["---"] * (1 + len(shown)))
    for key in dict.fromkeys(key for _, machine in shown for key in machine):
        yield line([key, *(machine.get(key, "") for _, machine in shown)])


def _section(path: Path, name: str, section: Section, record: Record) -> Iterator[str]:
    """Title, note and tables of a section, if a device has measured it."""
    tables = {device: m.tables.get(name, []) for device in ("cpu", "cuda") if (m := record.of(device))}
    remarks = {device: m.remarks[name] for device in tables if (m := record.of(device)) and name in m.remarks}
    if not any(tables.values()):
        return
    yield heading(section)
    yield section.note
    if rows := tables.get("cpu"):
        compared = "cuda" in section.devices and {WORK, FASTER, OURS} <= set(section.columns)
        columns = [*section.columns, "GPU"] if compared else section.columns
        measured = None if record.cuda is None else tables["cuda"]
        shown = [(*row, _on_gpu(section, row, measured)) for row in rows] if compared else rows
        yield from (text for text in [remarks.get("cpu")] if text)
        yield _table(columns, shown)
        yield from _bars(section, rows, path.with_name(f"{path.stem}-{name}.png"))
    if rows := tables.get("cuda"):
        yield f"On the GPU: {remarks['cuda']}" if "cuda" in remarks else "On the GPU:"
        yield _table(section.columns, rows)
        yield from _bars(section, rows, path.with_name(f"{path.stem}-{name}-gpu.png"))


def _table(columns: Sequence[str], rows: Sequence[Row]) -> str:
    return "\n".join([line(columns), line(["---"] * len(columns)), *map(line, rows)])


def _on_gpu(section: Section, row: Row, measured: Sequence[Row] | None) -> str:
    """What the GPU measured for the same work, in short."""
    if not measured:
        return "not run"
    work, faster, ours = (section.columns.index(name) for name in (WORK, FASTER, OURS))
    found = next((other for other in measured if other[work] == row[work]), None)
    return "another size, below" if found is None else f"{found[faster].split()[0]} times faster, {found[ours]}"


def _bars(section: Section, rows: Sequence[Row], image: Path) -> Iterator[str]:
    if section.bars:
        _draw(section, rows, image)
        yield f"![{section.title}]({image.name})"


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
