"""What this repository publishes holds: every number in `reports/` follows from the files beside it."""

import csv
import json
import re
import subprocess
import warnings
from pathlib import Path

import pytest

from favae.jobs.grid import load_grid
from favae.sync.audit import audit_bundle

ROOT = Path(__file__).parents[2]
CHANGED = "code changed"
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
    # Code that changed since is what `favae audit` says, until `favae same` or a new run answers it; no number is wrong by that. A
    # commit of unfinished work passes, but the summary of the tests says what must be answered before it is published.
    changed = [name for name, item in result.evidence.items() if any(CHANGED in problem for problem in item.problems)]
    if changed:
        warnings.warn(
            f"reports/{scale}: CODE CHANGED behind {len(changed)} results, such as {changed[0]}", stacklevel=1
        )
    assert [problem for problem in result.problems if CHANGED not in problem] == []


def git(*words: str) -> str:
    done = subprocess.run(("git", *words), cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


@pytest.mark.skipif(git("rev-parse", "--is-shallow-repository") != "false", reason="needs the whole history of git")
@pytest.mark.parametrize("scale", SCALES)
def test_every_commit_that_a_published_result_names_is_in_the_history(scale: str) -> None:
    records = (ROOT / "reports" / scale / "results" / "runs").rglob("*.json")
    commits = {json.loads(file.read_text(encoding="utf-8"))["git_commit"] for file in records}
    assert commits
    assert commits <= set(git("rev-list", "HEAD").split())


COLUMNS = ("reported", "reproduced", "spread", "difference")
DECIMAL = re.compile(r"(?<!beta of about )(?<![\d.])\d*\.(\d+)(?! hours)")  # times and parameters are in no table


@pytest.mark.parametrize("page", sorted((ROOT / "reports").glob("*/README.md")), ids=lambda page: page.parent.name)
def test_every_decimal_number_that_a_person_wrote_beside_results_is_in_their_tables(page: Path) -> None:
    values: list[float] = []
    for table in page.parent.glob("tables/*.csv"):
        with table.open(encoding="utf-8", newline="") as file:
            values += [abs(float(line[name])) for line in csv.DictReader(file) for name in COLUMNS if line.get(name)]
    assert values
    for found in DECIMAL.finditer(re.sub(r"\(http[^)]*\)|`[^`]*`", "", page.read_text(encoding="utf-8"))):
        assert any(round(value, len(found[1])) == float(found[0]) for value in values), f"{page}: {found[0]}"
