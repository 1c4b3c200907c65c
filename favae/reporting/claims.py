"""Claims of a paper checked with our numbers, judged by the spread over seeds (Welch's t, 95 %).

A row is better than another if the interval of the difference is above 0, and as good as another if it is within the claim's margin.
Where the interval has both, the claim is not decided.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from favae.config.reporting import ClaimConfig, TableConfig
from favae.evaluation.protocol import describe
from favae.reporting.intervals import MOST_SEEDS, Interval, contrast_over_seeds, seeds_to_decide
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


def judge(table: TableConfig, entries: Iterable[Entry]) -> Iterator[Verdict]:
    """One verdict per claim of a table."""
    by_place = {(entry.row, entry.metric): entry for entry in entries}
    for claim in table.claims:
        rows = {label: by_place[label, claim.metric] for label in claim.rows}
        compared = [(text, *_decided(terms, claim.margin)) for text, terms in _comparisons(claim, rows)]
        details = "; ".join(f"{what} {text}" for what, _, text in compared)
        word = _overall([word for _, word, _ in compared])
        yield Verdict(claim.text, word, f"{describe(claim.metric).title} {details}")


def verdicts(table: TableConfig, entries: Iterable[Entry]) -> Iterator[str]:
    """One sentence per claim: whether it holds, and the differences that decide."""
    return (f"Claim: {verdict.claim}. {verdict.word}: {verdict.details}." for verdict in judge(table, entries))


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


def _decided(terms: Terms, margin: float | None) -> tuple[Word, str]:
    """Verdict on one comparison, and the numbers in words."""
    if any(entry.reproduced is None for _, entry in terms):
        return "Not run", "not run"
    digits = _KERNEL_DIGITS if terms[0][1].metric.startswith("rkid") else 3
    better = -1 if describe(terms[0][1].metric).better == "lower" else 1
    if any(len(entry.values) < 2 for _, entry in terms):
        gain = sum(better * sign * (entry.reproduced or 0.0) for sign, entry in terms)
        return "Not decided", f"{gain:+.{digits}f}, single runs: the spread over seeds is not known"
    interval = contrast_over_seeds([(better * sign, entry.values) for sign, entry in terms])
    text = f"{interval.estimate:+.{digits}f} (over seeds {interval.low:+.{digits}f} to {interval.high:+.{digits}f}"
    if margin is not None:
        return _within(interval, margin), f"{text}; margin {margin:g})"
    if interval.contains(0):
        needed = f"; {_seeds(*(entry for _, entry in terms))}" if len(terms) == 2 else ""
        return "Not decided", f"{text}: within the spread{needed})"
    return ("Holds" if interval.estimate > 0 else "Does not hold"), f"{text})"


def _within(interval: Interval, margin: float) -> Word:
    """Whether a difference is within +- margin."""
    if -margin <= interval.low and interval.high <= margin:
        return "Holds"
    return "Does not hold" if interval.low > margin or interval.high < -margin else "Not decided"


def _seeds(ours: Entry, other: Entry) -> str:
    """How many seeds would decide, if means and spreads stayed as they are."""
    needed = seeds_to_decide(ours.values, other.values)
    return (
        f"about {needed} seeds per row would decide" if needed else f"more than {MOST_SEEDS} seeds per row would decide"
    )
