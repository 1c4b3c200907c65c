"""Claims of a paper checked with our numbers: "this row is better than those", judged by the spread over runs."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from favae.config.reporting import TableConfig
from favae.evaluation.protocol import describe
from favae.reporting.tables import Entry

_ERRORS = 2.0  # standard errors of the difference that make it one
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
    better = describe(ours.metric).better
    gain = (ours.reproduced - other.reproduced) * (-1 if better == "lower" else 1)
    if ours.spread is None or other.spread is None:
        return "Not decided", f"{gain:+.3f}, single runs"
    error = math.hypot(ours.spread / len(ours.runs) ** 0.5, other.spread / len(other.runs) ** 0.5)
    text = f"{gain:+.3f} (standard error {error:.3f})"
    if abs(gain) <= _ERRORS * error:
        return "Not decided", text
    return ("Holds" if gain > 0 else "Does not hold"), text
