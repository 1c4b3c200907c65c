"""Learning curves: appended line by line, and truncated to the checkpoint when a run resumes."""

import json
from pathlib import Path

import pandas as pd


class Curves:
    """Rows of scalars by step, in `curves.jsonl` of the state folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "curves.jsonl"

    def cut(self, resume_step: int) -> None:
        """Remove rows after `resume_step`, left by a killed run. Call it only in the process that writes."""
        rows = [row for row in self._rows() if row["step"] <= resume_step]
        self.path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def _rows(self) -> list[dict[str, float]]:
        if not self.path.exists():
            return []
        rows = []
        for line in self.path.read_text().splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                break  # the line that was being written when the job was killed
        return rows

    def add(self, step: int, values: dict[str, float]) -> None:
        """Append one row."""
        with self.path.open("a") as handle:
            handle.write(json.dumps({"step": step, **values}) + "\n")

    def table(self) -> pd.DataFrame:
        """All rows merged by step: train/* and val/* columns, NaN if not measured at a step."""
        rows = pd.DataFrame(self._rows())
        if rows.empty:
            return pd.DataFrame(columns=["step"])
        return rows.groupby("step", as_index=False).first()
