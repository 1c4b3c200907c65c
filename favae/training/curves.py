"""Learning curves: appended line by line, and truncated to the checkpoint when a run resumes."""

import json
import logging
from pathlib import Path

import pandas as pd

from favae.runtime.files import saying_what_to_do, write_text

log = logging.getLogger(__name__)


class Curves:
    """Rows of scalars by step, in `curves.jsonl` of the state folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "curves.jsonl"

    def cut(self, resume_step: int) -> None:
        """Remove rows after `resume_step`, left by a killed run. Call it only in the process that writes."""
        rows = [row for row in self._rows() if row["step"] <= resume_step]
        with saying_what_to_do(self.path):
            write_text(self.path, "".join(json.dumps(row) + "\n" for row in rows))

    def _rows(self) -> list[dict[str, float]]:
        """The rows before the first line that is not one: it was being written when the job was killed, or is damaged."""
        rows: list[dict[str, float]] = []
        lines = self.path.read_bytes().split(b"\n") if self.path.exists() else []
        for number, line in enumerate(lines, 1):
            row = _row(line)
            if row is None:
                if number < len(lines):
                    log.warning(
                        "%s: line %d is damaged; %d rows before it are kept, %d lines from it on are lost",
                        self.path,
                        number,
                        len(rows),
                        len(lines) - number,
                    )
                break
            rows.append(row)
        return rows

    def add(self, step: int, values: dict[str, float]) -> None:
        """Append one row. Raises OSError saying what to do where it cannot be written."""
        with saying_what_to_do(self.path), self.path.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps({"step": step, **values}) + "\n")

    def table(self) -> pd.DataFrame:
        """All rows merged by step: train/* and val/* columns, NaN if not measured at a step."""
        rows = pd.DataFrame(self._rows())
        if rows.empty:
            return pd.DataFrame(columns=["step"])
        return rows.groupby("step", as_index=False).first()


def _row(line: bytes) -> dict[str, float] | None:
    """A row of the curves, or None where the line is anything else."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):  # no JSON, no UTF-8, or brackets without end
        return None
    numbers = isinstance(row, dict) and all(type(value) in (int, float) for value in row.values())
    return row if numbers and type(row.get("step")) is int else None
