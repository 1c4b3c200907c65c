"""Checks a paper's claims ("this row is better than those") with our numbers, relative to the spread over runs."""

import math
from collections.abc import Iterable, Iterator

from favae.config.reporting import TableConfig
from favae.evaluation.protocol import describe
from favae.reporting.tables import Entry

_ERRORS = 2.0  # number of standard errors from which a difference counts


def verdicts(table: TableConfig, entries: Iterable[Entry]) -> Iterator[str]:
    """One sentence per claim: whether it holds, and the differences that decide it."""
    by_place = {(entry.row, entry.metric): entry for entry in entries}
    for claim in table.claims:
        ours = by_place[claim.row, claim.metric]
        compared = [(label, *_difference(ours, by_place[label, claim.metric])) for label in claim.better_than]
        details = "; ".join(f"against {label} {text}" for label, _, text in compared)
        yield f"Claim: {claim.text}. {_overall([word for _, word, _ in compared])}: {describe(claim.metric).title} {details}."


def _overall(words: list[str]) -> str:
    for word in ("Does not hold", "Not run", "Not decided"):
        if word in words:
            return word
    return "Holds"


def _difference(ours: Entry, other: Entry) -> tuple[str, str]:
    """Verdict on one comparison, and a text with its numbers."""
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
