"""Claims of a paper checked with our numbers: "this row is better than those", judged by the spread over seeds.

A difference whose interval over seeds (Welch's t, 95 %) contains 0 is none: it is within the spread, and the claim is not decided.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from favae.config.reporting import TableConfig
from favae.evaluation.protocol import describe
from favae.reporting.intervals import MOST_SEEDS, difference_over_seeds, seeds_to_decide
from favae.reporting.tables import Entry

Word = Literal["Holds", "Does not hold", "Not decided", "Not run"]


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
        ours = by_place[claim.row, claim.metric]
        compared = [(label, *_difference(ours, by_place[label, claim.metric])) for label in claim.better_than]
        details = "; ".join(f"against {label} {text}" for label, _, text in compared)
        word = _overall([word for _, word, _ in compared])
        yield Verdict(claim.text, word, f"{describe(claim.metric).title} {details}")


def verdicts(table: TableConfig, entries: Iterable[Entry]) -> Iterator[str]:
    """One sentence per claim: whether it holds, and the differences that decide."""
    return (f"Claim: {verdict.claim}. {verdict.word}: {verdict.details}." for verdict in judge(table, entries))


def _overall(words: list[Word]) -> Word:
    order: tuple[Word, ...] = ("Does not hold", "Not run", "Not decided")
    return next((word for word in order if word in words), "Holds")


def _difference(ours: Entry, other: Entry) -> tuple[Word, str]:
    """Verdict on one comparison, and the numbers in words."""
    if ours.reproduced is None or other.reproduced is None:
        return "Not run", "not run"
    sign = -1 if describe(ours.metric).better == "lower" else 1
    if len(ours.values) < 2 or len(other.values) < 2:
        gain = sign * (ours.reproduced - other.reproduced)
        return "Not decided", f"{gain:+.3f}, single runs: the spread over seeds is not known"
    mine, theirs = ([sign * value for value in entry.values] for entry in (ours, other))
    interval = difference_over_seeds(mine, theirs)
    text = f"{interval.estimate:+.3f} (over seeds {interval.low:+.3f} to {interval.high:+.3f}"
    if interval.contains(0):
        return "Not decided", f"{text}: within the spread; {_seeds(ours, other)})"
    return ("Holds" if interval.estimate > 0 else "Does not hold"), f"{text})"


def _seeds(ours: Entry, other: Entry) -> str:
    """How many seeds would decide, if means and spreads stayed as they are."""
    needed = seeds_to_decide(ours.values, other.values)
    return (
        f"about {needed} seeds per row would decide" if needed else f"more than {MOST_SEEDS} seeds per row would decide"
    )
