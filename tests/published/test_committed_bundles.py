"""What this repository publishes holds: every number in `reports/` follows from the files beside it."""

from pathlib import Path

import pytest

from favae.jobs.grid import load_grid
from favae.sync.audit import audit_bundle

ROOT = Path(__file__).parents[2]
SCALES = sorted(path.parent.name for path in (ROOT / "reports").glob("*/manifest.json"))


def test_there_are_published_results() -> None:
    assert SCALES


@pytest.mark.parametrize("scale", SCALES)
def test_every_published_number_holds(scale: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    load_grid.cache_clear()
    result = audit_bundle(scale)
    load_grid.cache_clear()
    assert result.numbers
    # Code that changed since is what `favae audit` says, until `favae same` or a new run answers it; no number is wrong by that.
    assert [problem for problem in result.problems if "code changed" not in problem] == []
