"""A table for people: one column per metric, words instead of missing numbers, and notes."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from favae.config.reporting import Published, TableConfig
from favae.evaluation.protocol import describe
from favae.reporting.claims import Verdict, sentence
from favae.reporting.tables import NOT_COMPARABLE, NOT_REPORTED, Entry

ABSENT = "–"
COSTS = "cost with all that it was made from"
_MODEL, _PUBLISHED, _CHECKPOINT = "Model", "Published row", "Step"
_ARROWS = {"lower": " ↓", "higher": " ↑", "neither": ""}
# Decimals as in the papers; distances of other feature networks have three significant digits.
_DECIMALS = {
    "psnr": 2,
    "rfid": 2,
    "fid": 2,
    "log_spectral_error_low": 2,
    "log_spectral_error_mid": 2,
    "log_spectral_error_high": 2,
    "codebook_perplexity": 1,
    "checkerboard": 2,
    "mse": 4,
}
_SHOWN_KEYS = {"crop": "resize"}  # the key `crop` of a protocol is the rule by which images were resized


@dataclass(frozen=True)
class Page:
    """A table ready to be written in any markup: all cells are text; the columns in `words` have no numbers."""

    id: str
    title: str
    frame: pd.DataFrame
    words: tuple[str, ...]
    notes: list[str]


@dataclass
class _Footnotes:
    """Reasons and caveats, each printed once and marked [a], [b], ... in the cells."""

    texts: list[str] = field(default_factory=list)

    def mark(self, text: str) -> str:
        if text not in self.texts:
            self.texts.append(text)
        return f"[{_letters(self.texts.index(text))}]"

    def paragraphs(self) -> list[str]:
        return [f"[{_letters(i)}] {text}." for i, text in enumerate(self.texts)]


def _letters(index: int) -> str:
    return chr(ord("a") + index) if index < 26 else _letters(index // 26 - 1) + _letters(index % 26)


def format_value(metric: str, value: float, *, sign: str = "") -> str:
    """Format a value of a metric (named with its split) with suitable digits; `sign="+"` for a difference."""
    base = metric.rpartition("_")[0]
    if base.startswith(("rfd_", "fd_", "rkid")) and value != 0:
        decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    else:
        decimals = _DECIMALS.get(base, 3)
    return f"{value:{sign}.{decimals}f}"


def heading(metric: str) -> str:
    """Title and unit of a metric, and an arrow in the direction of better values."""
    info = describe(metric)
    return info.title + (f" ({info.unit})" if info.unit else "") + _ARROWS[info.better]


def make_page(
    table: TableConfig,
    published: Published,
    entries: list[Entry],
    scale: str = "",
    found: Iterable[Verdict] = (),
    costs: Mapping[str, str] | None = None,
) -> Page:
    """Lay out a table from the entries of `table_entries` and the verdicts on its claims; `costs` are those of rows, by label."""
    footnotes = _Footnotes()
    with_numbers = {entry.metric for entry in entries if entry.reported is not None}
    lines = []
    for row in table.rows:
        own = [entry for entry in entries if entry.row == row.label]
        line = {_MODEL: row.label}
        if any(r.published for r in table.rows):
            line[_PUBLISHED] = _counterpart(row.published, own, published)
        if any(training is not None and training.gan for entry in entries for training in entry.trainings):
            line[_CHECKPOINT] = _checkpoint(own, short=True)
        for entry in own:
            line |= _cells(entry, entry.metric in with_numbers, footnotes)
        lines.append(line)
    notes = [_at_a_glance(table, entries, scale), *(sentence(verdict) for verdict in found)]
    notes += [table.note] if table.note else []
    notes += footnotes.paragraphs() + sources(table, published) + protocols(entries) + _runs(entries, costs or {})
    return Page(table.id, table.title, pd.DataFrame(lines), (_MODEL, _PUBLISHED, _CHECKPOINT), notes)


def _counterpart(reference: str | None, own: list[Entry], published: Published) -> str:
    if reference is None:
        return ABSENT
    label = published.find(reference)[1].label
    return label if any(entry.reported is not None for entry in own) else f"{label}: {NOT_REPORTED}"


def _cells(entry: Entry, beside_reported: bool, footnotes: _Footnotes) -> dict[str, str]:
    """Cells of one metric in one row: three if any row has a published number for the metric, otherwise one."""
    title, reproduced = heading(entry.metric), _reproduced(entry, footnotes)
    if not beside_reported:
        return {title: reproduced}
    if entry.reported is not None:
        reported = format_value(entry.metric, entry.reported)
    else:
        reported = ABSENT if entry.reported_source is None else NOT_REPORTED
    if entry.difference is not None:
        difference = format_value(entry.metric, entry.difference, sign="+")
    else:
        both = entry.reported is not None and entry.reproduced is not None
        difference = NOT_COMPARABLE if both else ABSENT
    return {f"{title} reported": reported, f"{title} reproduced": reproduced, f"{title} difference": difference}


def _reproduced(entry: Entry, footnotes: _Footnotes) -> str:
    word, _, reason = (entry.note or "").partition(":")
    if entry.reproduced is not None:
        value = format_value(entry.metric, entry.reproduced)
        if entry.spread is not None:
            value = f"{value} ± {format_value(entry.metric, entry.spread)} ({len(entry.runs)} runs)"
        return f"{value} {footnotes.mark(entry.note)}" if entry.note else value
    return f"{word} {footnotes.mark(entry.note)}" if reason and entry.note else word or ABSENT


def sources(table: TableConfig, published: Published) -> list[str]:
    """Sources of the published rows, and doubts about them."""
    references = list(dict.fromkeys(row.published for row in table.rows if row.published))
    notes = []
    for name in dict.fromkeys(reference.partition("/")[0] for reference in references):
        source = published.tables[name]
        rows = [published.find(r)[1] for r in references if r.partition("/")[0] == name]
        doubts = [*source.doubts, *(f"{row.label}: {row.doubt}" for row in rows if row.doubt)]
        text = f"Published rows: {published.papers[source.paper]}; {source.title}. Source: {source.source}."
        notes.append(" ".join([text, *doubts]))
    return notes


def protocols(entries: Iterable[Entry]) -> list[str]:
    """The protocol of the measured values: first the common part, then the settings of single metrics."""
    records: dict[str, list[dict[str, str]]] = {}  # title -> distinct protocols
    for entry in entries:
        if entry.reproduced is not None:
            known = records.setdefault(describe(entry.metric).title, [])
            flat = dict(_flat(entry.protocol))
            known.extend([flat] if flat not in known else [])
    everything = [flat for known in records.values() for flat in known]
    if not everything:
        return []
    shared = {k: v for k, v in everything[0].items() if all(flat.get(k) == v for flat in everything)}
    special: dict[str, list[str]] = {}  # settings of single metrics -> titles
    for title, known in records.items():
        listings = [_listing({k: v for k, v in flat.items() if k not in shared}) for flat in known]
        special.setdefault(" / ".join(listings), []).append(title)
    parts = [f"{', '.join(titles)}: {text}" for text, titles in special.items() if text]
    return [f"Protocol: {'; '.join([_listing(shared), *parts])}."]


def _flat(record: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in record.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key} ")
        else:
            yield f"{prefix}{key}".replace("_", " "), str(value)


def _listing(pairs: dict[str, str]) -> str:
    return ", ".join(f"{_SHOWN_KEYS.get(key, key)} {value}" for key, value in pairs.items())


def _runs(entries: Iterable[Entry], costs: Mapping[str, str]) -> list[str]:
    """The result behind each row, its number of images, the checkpoint that was measured, and its cost."""
    counts: dict[tuple[str, str], set[int]] = {}
    rows: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        if entry.runs:
            place = entry.row, ", ".join(entry.runs)
            counts.setdefault(place, set()).update([entry.n] if entry.n else [])
            rows.setdefault(place, []).append(entry)
    return [
        f"{row}: {run} (n = {', '.join(map(str, sorted(n))) or 0}; checkpoint: {_checkpoint(rows[row, run])}"
        + (f"; {COSTS}: {costs[row]})" if row in costs else ")")
        for (row, run), n in counts.items()
    ]


def _checkpoint(own: list[Entry], *, short: bool = False) -> str:
    """Which step of which length was measured, by which rule, with or without the GAN; of several runs, each different one."""
    trainings = own[0].trainings if own else ()
    words = ["unknown" if t is None else t.short if short else t.text for t in trainings]
    return " / ".join(dict.fromkeys(words)) or ABSENT


def _at_a_glance(table: TableConfig, entries: list[Entry], scale: str) -> str:
    """Scale, comparability and noise of a table in one place."""
    runs = sorted({len(entry.runs) for entry in entries if entry.runs})
    parts = [f"scale {scale}"] if scale else []
    parts += [f"comparable with the published rows: {'yes' if table.comparable else 'no'}"]
    parts += [f"trainings per row: {' or '.join(map(str, runs)) if runs else 'none, not run'}"]
    spreads = _largest(entries, lambda entry: entry.spread)
    single = "not known from one training per row, so no difference between rows is shown to be more than noise"
    parts += [f"noise over seeds (largest standard deviation of a row): {spreads or single}"] if runs else []
    halves = _largest(
        entries, lambda entry: (entry.over_images[1] - entry.over_images[0]) / 2 if entry.over_images else None
    )
    absent = "not known, no values per image are here"
    over_images = f"noise over test images (largest half-width of a 95 % interval of the mean): {halves or absent}"
    parts += [over_images] if runs else []
    return f"At a glance: {'; '.join(parts)}."


def _largest(entries: Iterable[Entry], value: Callable[[Entry], float | None]) -> str:
    """The largest value of each metric that has one: `PSNR 0.06 dB, SSIM 0.011`."""
    found: dict[str, float] = {}
    for entry in entries:
        if (number := value(entry)) is not None:
            found[entry.metric] = max(number, found.get(entry.metric, 0.0))
    texts = ((describe(metric), format_value(metric, number)) for metric, number in found.items())
    return ", ".join(f"{info.title} {text}" + (f" {info.unit}" if info.unit else "") for info, text in texts)
