"""Claims of a paper checked with our numbers, judged by the spread over seeds (Welch's t, 95 %).

An interval over test images (paired bootstrap, 95 %) stands beside it: what other images would give of the same models, not what other
trainings would give. It decides nothing.

A row is better than another if the interval of the difference is above 0, and as good as another if it is within the claim's margin.
Where the interval has both, the claim is not decided.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from favae.config.reporting import ClaimConfig, TableConfig
from favae.evaluation.protocol import describe
from favae.reporting.intervals import MOST_SEEDS, Interval, contrast_over_seeds, mean_over_images, seeds_to_decide
from favae.reporting.tables import Entry

Word = Literal["Holds", "Does not hold", "Not decided", "Not run"]
Terms = Sequence[tuple[int, Entry]]  # signs and rows of a difference, or of a difference of differences

_KERNEL_DIGITS = 5  # kernel distances are small


@dataclass(frozen=True)
class Verdict:
    """What our numbers say of one claim: the word, and the differences that decide."""

    claim: str
    word: Word
    details: str
    comparisons: tuple["Difference", ...] = ()


@dataclass(frozen=True)
class Difference:
    """One difference that a claim rests on, with the sign by which larger is better."""

    what: str
    word: Word
    gain: float | None
    seeds: Interval | None = None  # over seeds, where each row has several
    needed: int | None = None  # seeds per row that would decide; None where it is decided, or where too many
    images: tuple[float, float] | None = (
        None  # ends of the paired bootstrap interval over test images, of these very models
    )


def claims_table(verdicts: Mapping[str, Iterable[Verdict]]) -> pd.DataFrame:
    """One line per comparison, at full precision: the content of `claims.csv`. Keys are ids of tables."""
    return pd.DataFrame(
        {
            "row": verdict.claim,
            "metric": comparison.what,
            "table": table,
            "verdict": verdict.word,
            "comparison": comparison.word,
            "difference": comparison.gain,
            "seeds_low": comparison.seeds.low if comparison.seeds else None,
            "seeds_high": comparison.seeds.high if comparison.seeds else None,
            "seeds_needed": comparison.needed,
            "images_low": comparison.images[0] if comparison.images else None,
            "images_high": comparison.images[1] if comparison.images else None,
        }
        for table, found in verdicts.items()
        for verdict in found
        for comparison in verdict.comparisons
    ).astype({"seeds_needed": "Int64"})


def judge(table: TableConfig, entries: Iterable[Entry], printed: Sequence[Mapping[str, str]] = ()) -> Iterator[Verdict]:
    """One verdict per claim of a table.

    `printed` are lines of a `claims.csv`, from which intervals over images are taken where the values per image are not here.
    """
    by_place = {(entry.row, entry.metric): entry for entry in entries}
    for claim in table.claims:
        rows = {label: by_place[label, claim.metric] for label in claim.rows}
        known = {line["metric"]: line for line in printed if (line["table"], line["row"]) == (table.id, claim.text)}
        compared = [_compare(what, terms, claim.margin, known.get(what)) for what, terms in _comparisons(claim, rows)]
        details = "; ".join(f"{one.what} {_words(one, claim)}" for one in compared)
        word = _overall([one.word for one in compared])
        yield Verdict(claim.text, word, f"{describe(claim.metric).title} {details}", tuple(compared))


def sentence(verdict: Verdict) -> str:
    """Whether a claim holds, and the differences that decide."""
    return f"Claim: {verdict.claim}. {verdict.word}: {verdict.details}."


def _comparisons(claim: ClaimConfig, rows: Mapping[str, Entry]) -> Iterator[tuple[str, Terms]]:
    """What is compared, in words and with signs: better values make the sum larger."""
    if claim.over is not None and claim.than_gain is not None:
        gain = claim.than_gain
        signs = ((1, claim.row), (-1, claim.over), (-1, gain.row), (1, gain.over))
        yield f"gain over {claim.over} less that of {gain.row} over {gain.over}", [(s, rows[r]) for s, r in signs]
    for label in (*claim.better_than, *claim.like):
        yield f"against {label}", [(1, rows[claim.row]), (-1, rows[label])]


def _overall(words: list[Word]) -> Word:
    order: tuple[Word, ...] = ("Does not hold", "Not run", "Not decided")
    return next((word for word in order if word in words), "Holds")


def _compare(what: str, terms: Terms, margin: float | None, printed: Mapping[str, str] | None) -> Difference:
    """Verdict on one comparison, and the numbers behind it."""
    if any(entry.reproduced is None for _, entry in terms):
        return Difference(what, "Not run", None)
    better = -1 if describe(terms[0][1].metric).better == "lower" else 1
    images = _over_images([(better * sign, entry) for sign, entry in terms]) or _printed(printed)
    if any(len(entry.values) < 2 for _, entry in terms):
        gain = sum(better * sign * (entry.reproduced or 0.0) for sign, entry in terms)
        return Difference(what, "Not decided", gain, images=images)
    interval = contrast_over_seeds([(better * sign, entry.values) for sign, entry in terms])
    if margin is not None:
        return Difference(what, _within(interval, margin), interval.estimate, interval, images=images)
    if interval.contains(0):
        needed = seeds_to_decide(terms[0][1].values, terms[1][1].values) if len(terms) == 2 else None
        return Difference(what, "Not decided", interval.estimate, interval, needed, images)
    return Difference(
        what, "Holds" if interval.estimate > 0 else "Does not hold", interval.estimate, interval, images=images
    )


def _over_images(terms: Sequence[tuple[int, Entry]]) -> tuple[float, float] | None:
    """Paired bootstrap of a signed sum of rows over their common test images; None where a row has no values, or other images."""
    columns = [(sign, entry.per_image) for sign, entry in terms]
    first = columns[0][1]
    if first is None or any(column is None or not column.index.equals(first.index) for _, column in columns):
        return None
    interval = mean_over_images(sum(sign * column.to_numpy() for sign, column in columns if column is not None))
    return interval.low, interval.high


def _printed(line: Mapping[str, str] | None) -> tuple[float, float] | None:
    ends = [line.get(name) for name in ("images_low", "images_high")] if line else []
    return (float(ends[0]), float(ends[1])) if len(ends) == 2 and ends[0] and ends[1] else None


def _words(found: Difference, claim: ClaimConfig) -> str:
    """The numbers of a comparison: `+0.05 (over seeds -0.01 to +0.11: within the spread; over images +0.02 to +0.08)`."""
    if found.gain is None:
        return "not run"
    digits = _KERNEL_DIGITS if claim.metric.startswith("rkid") else 3

    def ends(low: float, high: float) -> str:
        return f"{low:+.{digits}f} to {high:+.{digits}f}"

    images = f"over images {ends(*found.images)}" if found.images else ""
    if found.seeds is None:
        single = "single runs: the spread over seeds is not known, two seeds per row are the least that can decide"
        return f"{found.gain:+.{digits}f}, {single}" + (f"; {images}" if images else "")
    parts = [f"over seeds {ends(found.seeds.low, found.seeds.high)}", images]
    if claim.margin is not None:
        parts.insert(1, f"margin {claim.margin:g}")
    elif found.word == "Not decided":
        parts[0] += ": within the spread"
        parts.insert(1, _seeds(found.needed) if len(claim.rows) == 2 or claim.over is None else "")
    return f"{found.gain:+.{digits}f} ({'; '.join(part for part in parts if part)})"


def _within(interval: Interval, margin: float) -> Word:
    """Whether a difference is within +- margin."""
    if -margin <= interval.low and interval.high <= margin:
        return "Holds"
    return "Does not hold" if interval.low > margin or interval.high < -margin else "Not decided"


def _seeds(needed: int | None) -> str:
    """How many seeds would decide, if means and spreads stayed as they are."""
    return f"{f'about {needed}' if needed else f'more than {MOST_SEEDS}'} seeds per row would decide"
