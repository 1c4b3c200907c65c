"""The tables of a page: for each number its text, what the paper reports, the difference, the interval, and its facts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from favae.config.reporting import TableConfig
from favae.evaluation.protocol import MetricInfo, describe
from favae.reporting.claims import Verdict, judge
from favae.reporting.page.chains import differing, flat
from favae.reporting.page.source import Source
from favae.reporting.pages import ABSENT, format_value, protocols, sources
from favae.reporting.tables import NOT_COMPARABLE, NOT_REPORTED, NOT_RUN, Entry, table_entries, tidy
from favae.runtime import paths
from favae.runtime.names import slugs

# Columns of `<table>.csv` that a cell shows itself. Any other column is listed with the number, `<over>_low` and `<over>_high` as an
# interval.
_OWN = {"row", "metric", "reported", "reported_source", "reproduced", "spread", "runs", "difference", "comparable", "n"}
_OWN |= {"run", "note"}
CLAIMS = "claims.csv"  # intervals of claims over images, as printed


@dataclass
class ShownNumber:
    """One metric of one row, ready to be shown. Texts are formatted, values have full precision."""

    id: str  # <table>/<row>/<metric>
    entry: Entry
    text: str
    reported: str
    difference: str
    interval: str
    over: str  # what the interval is over: `seeds` or `images`
    within: bool  # the reported value is within the interval
    best: bool = False
    footnote: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def value(self) -> float | None:
        """The measured value, the mean over runs."""
        return self.entry.reproduced

    @property
    def state(self) -> str:
        """`measured`, or the reason in one or two words: `not run`, `not measured`, ..."""
        return "measured" if self.value is not None else (self.entry.note or ABSENT).partition(":")[0]


@dataclass
class Column:
    """One metric: its title and direction, and whether a paper reports values of it in this table."""

    metric: str
    info: MetricInfo
    with_reported: bool


@dataclass
class Row:
    """One row: its label, its name in links, the published row beside it, its evaluations and its numbers."""

    label: str
    slug: str
    published: str
    cells: tuple[str, ...]
    numbers: list[ShownNumber]
    extras: list[str] = field(default_factory=list)


@dataclass
class Table:
    """A table with its notes and claims. `footnotes` has the texts of the marks in its cells."""

    config: TableConfig
    columns: list[Column]
    rows: list[Row]
    extra_columns: list[str]
    footnotes: list[str]
    notes: list[str]
    verdicts: list[Verdict]
    texts: dict[str, str]  # csv, md, tex: the files of the table
    differing: dict[str, dict[str, str]]

    @property
    def numbers(self) -> Iterator[ShownNumber]:
        """All numbers, row by row."""
        return (number for row in self.rows for number in row.numbers)


def read_table(source: Source, config: TableConfig) -> Table:
    """Everything that a page shows of one table. Raises FileNotFoundError if a result is incomplete."""
    entries = table_entries(config, source.published_numbers, source.results)
    frame = tidy(entries)
    names = slugs([row.label for row in config.rows])
    footnotes: list[str] = []
    numbers = [
        _number(f"{config.id}/{names[entry.row]}/{entry.metric}", entry, line, footnotes)
        for entry, line in zip(entries, frame.to_dict("records"), strict=True)
    ]
    _mark_best(numbers)
    extra = [name for name in map(str, frame) if name not in _OWN and not name.endswith(("_low", "_high"))]
    extra = [name for name in extra if _of_rows(frame, name)]
    rows = [_row(source, config, row, names[row.label], numbers, frame, extra) for row in config.rows]
    with_reported = {entry.metric for entry in entries if entry.reported is not None}
    return Table(
        config=config,
        columns=[Column(metric, describe(metric), metric in with_reported) for metric in config.columns],
        rows=rows,
        extra_columns=[_words(name) for name in extra],
        footnotes=footnotes,
        notes=[*sources(config, source.published_numbers), *protocols(entries)],
        verdicts=list(judge(config, entries, source.results.rows_printed(CLAIMS))),
        texts=_texts(source, config.id),
        differing=differing(source, {names[row.label]: row.measured_by for row in config.rows}),
    )


def _number(name: str, entry: Entry, line: dict[Any, Any], footnotes: list[str]) -> ShownNumber:
    low, high, over = _interval(line)
    show = lambda value, **more: format_value(entry.metric, value, **more)  # noqa: E731
    interval = f"{show(low)} to {show(high)}" if low is not None and high is not None else ""
    # Only the spread over seeds is noise of the training; an interval over images is not.
    within = bool(
        over == "seeds"
        and interval
        and entry.reported is not None
        and entry.comparable
        and low <= entry.reported <= high  # type: ignore[operator]
    )
    word = (entry.note or ABSENT).partition(":")[0]
    text = show(entry.reproduced) if entry.reproduced is not None else word
    if entry.spread is not None:
        text += f" ± {show(entry.spread)}"
    if entry.note and entry.note != word and entry.note not in footnotes:
        footnotes.append(entry.note)
    facts = {
        _words(key): value
        for key, value in line.items()
        if key not in _OWN and not key.endswith(("_low", "_high")) and not pd.isna(value)
    }
    facts |= {"Interval": f"{interval} (95 %, over {over})"} if interval else {}
    return ShownNumber(
        id=name,
        entry=entry,
        text=text,
        reported=_reported(entry),
        difference=_difference(entry),
        interval=interval,
        over=over,
        within=within,
        footnote=str(footnotes.index(entry.note)) if entry.note in footnotes else "",
        facts=facts,
    )


def _words(column: str) -> str:
    """Head of a column of `<table>.csv`: `GAN start`."""
    return column.replace("_", " ").capitalize().replace("Gan", "GAN")


def _interval(line: dict[Any, Any]) -> tuple[float | None, float | None, str]:
    """The first interval that a line of `<table>.csv` has: over seeds before over images."""
    for name in sorted(
        (str(key) for key in line if str(key).endswith("_low")), key=lambda n: not n.startswith("seeds")
    ):
        over = name.removesuffix("_low")
        low, high = line[name], line.get(f"{over}_high")
        if not pd.isna(low) and not pd.isna(high):
            return float(low), float(high), over.replace("_", " ")
    return None, None, ""


def _reported(entry: Entry) -> str:
    if entry.reported is not None:
        return format_value(entry.metric, entry.reported)
    return ABSENT if entry.reported_source is None else NOT_REPORTED


def _difference(entry: Entry) -> str:
    if entry.difference is not None:
        return format_value(entry.metric, entry.difference, sign="+")
    return NOT_COMPARABLE if entry.reported is not None and entry.reproduced is not None else ABSENT


def _mark_best(numbers: Sequence[ShownNumber]) -> None:
    """Mark the best measured value of each metric, where at least two rows have one."""
    by_metric: dict[str, list[ShownNumber]] = {}
    for number in numbers:
        if number.value is not None:
            by_metric.setdefault(number.entry.metric, []).append(number)
    for metric, measured in by_metric.items():
        better = describe(metric).better
        if better != "neither" and len(measured) > 1:
            choose = max if better == "higher" else min
            best = choose(number.value for number in measured if number.value is not None)
            for number in measured:
                number.best = number.value == best


def _of_rows(frame: pd.DataFrame, name: str) -> bool:
    """Whether a column says something of whole rows: one value per row, and not the same of all."""
    return bool((frame.groupby("row")[name].nunique(dropna=False) == 1).all() and frame[name].nunique() > 1)


def _row(
    source: Source,
    config: TableConfig,
    row: Any,
    slug: str,
    numbers: list[ShownNumber],
    frame: pd.DataFrame,
    extra: list[str],
) -> Row:
    own = [number for number in numbers if number.entry.row == row.label]
    lines = frame[frame["row"] == row.label]
    values = [
        "" if pd.isna(value := lines[name].iloc[0]) else f"{value:g}" if isinstance(value, float) else str(value)
        for name in extra
    ]
    published = source.published_numbers.find(row.published)[1].label if row.published else ""
    return Row(row.label, slug, published, row.measured_by, own, values)


def _texts(source: Source, table: str) -> dict[str, str]:
    folder = source.locate(paths.report_dir(source.scale, "tables"))
    files = {kind: folder / f"{table}.{kind}" for kind in ("csv", "md", "tex")}
    return {kind: file.read_text(encoding="utf-8") for kind, file in files.items() if file.exists()}


def facts_of(number: ShownNumber) -> dict[str, Any]:
    """What the dialog of a number says of the number itself."""
    entry, info = number.entry, describe(number.entry.metric)
    facts: dict[str, Any] = {
        "row": entry.row,
        "metric": info.title,
        "unit": info.unit,
        "better": info.better,
        "text": number.text,
        "value": repr(entry.reproduced) if entry.reproduced is not None else None,
        "values": [repr(value) for value in entry.values] if len(entry.values) > 1 else [],
        "state": number.state,
        "note": entry.note,
        "reported": repr(entry.reported) if entry.reported is not None else None,
        "source": entry.reported_source,
        "difference": number.difference,
        "within": number.within,
        "n": entry.n,
        "runs": list(entry.runs),
        "facts": {key: str(value) for key, value in number.facts.items()},
        "protocol": {key: str(value) for key, value in flat(entry.protocol)},
    }
    return {key: value for key, value in facts.items() if value not in (None, "", [], {}, False)}


def counts(tables: Sequence[Table]) -> dict[str, int]:
    """How many numbers are measured, not measured, and not run."""
    states = [number.state for table in tables for number in table.numbers]
    measured, not_run = states.count("measured"), states.count(NOT_RUN)
    return {"measured": measured, "not measured": len(states) - measured - not_run, NOT_RUN: not_run}
