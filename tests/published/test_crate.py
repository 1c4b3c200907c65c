"""A bundle is a Workflow Run RO-Crate: an independent validator, offline, finds nothing; it finds a missing file."""

import json
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from favae.jobs.grid import Grid
from favae.results.bundle import CRATE, MANIFEST, WORKFLOW

BUNDLE = Path("reports/tiny")
COMMITTED = sorted(path.parent for path in (Path(__file__).parents[2] / "reports").glob(f"*/{CRATE}"))
# The library ships the context of RO-Crate 1.3. That of 1.1, which profile 0.5 builds on, has these addresses instead.
_OLDER = {
    "ComputationalWorkflow": "https://bioschemas.org/ComputationalWorkflow",
    "FormalParameter": "https://bioschemas.org/FormalParameter",
    "input": "https://bioschemas.org/ComputationalWorkflow#input",
    "output": "https://bioschemas.org/ComputationalWorkflow#output",
}


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contexts come from the installed library; nothing else is asked for."""
    from rocrate_validator.utils.http import HttpRequester

    terms = json.loads(files("rocrate").joinpath("data/ro-crate.jsonld").read_text(encoding="utf-8"))["@context"]
    known = {
        "https://w3id.org/ro/crate/1.1/context": terms | _OLDER,
        "https://w3id.org/ro/terms/workflow-run/context": {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"},
    }

    def get(_: HttpRequester, address: str, **_options: object) -> SimpleNamespace:
        headers = {"Content-Type": "application/ld+json"}
        return SimpleNamespace(status_code=200, headers=headers, json=lambda: {"@context": known[address]})

    monkeypatch.setattr(HttpRequester, "get", get, raising=False)


def issues(folder: Path, tmp_path: Path) -> list[str]:
    """What the validator says of a crate, required and recommended."""
    from rocrate_validator import models, services

    settings = models.ValidationSettings(
        rocrate_uri=folder,
        profile_identifier="workflow-run-crate-0.5",
        requirement_severity=models.Severity.REQUIRED,
        offline=True,
        cache_path=tmp_path / "cache",
    )
    result = services.validate(settings)
    return [f"{issue.check.identifier}: {issue.message}" for issue in result.get_issues()]


def entities() -> dict[str, dict[str, Any]]:
    tree = json.loads((BUNDLE / CRATE).read_text(encoding="utf-8"))
    return {entity["@id"]: entity for entity in tree["@graph"]}


def test_the_validator_of_the_profile_finds_nothing(clone: Path, offline: None, tmp_path: Path) -> None:
    assert issues(BUNDLE, tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("folder", COMMITTED, ids=lambda folder: folder.name)
def test_it_finds_nothing_in_what_this_repository_publishes(folder: Path, offline: None, tmp_path: Path) -> None:
    assert issues(folder, tmp_path) == []


def test_the_validator_finds_a_missing_file(clone: Path, offline: None, tmp_path: Path) -> None:
    (BUNDLE / "tables/reconstruction.csv").unlink()
    assert any("tables/reconstruction.csv" in issue for issue in issues(BUNDLE, tmp_path))


def test_every_job_is_an_action_that_reads_cards_and_writes_files_with_their_hashes(clone: Path) -> None:
    graph, manifest = entities(), json.loads((BUNDLE / MANIFEST).read_text(encoding="utf-8"))
    for job in Grid("tiny"):
        action = graph[f"#{job.stage.name}-{job.cell}"]
        results = [action["result"]] if isinstance(action["result"], dict) else action["result"]
        assert {"@id": f"results/{job.stage.name}/{job.cell}/card.json"} in results
        assert bool(job.inputs) == ("object" in action)
        assert action["startTime"] < action["endTime"]
    for name, output in manifest["shipped"].items():
        if name not in (CRATE, WORKFLOW):
            assert (graph[name]["sha256"], graph[name]["contentSize"]) == (output["sha256"], str(output["size"]))
    assert graph["./"]["mainEntity"] == {"@id": WORKFLOW}


def test_the_crate_follows_from_the_bundle_alone(clone: Path) -> None:
    from favae.jobs.grid import load_grid
    from favae.results.bundle import Bundle
    from favae.results.cards import describe
    from favae.sync.crate import write_crate

    bundle, before = Bundle.of("tiny"), (BUNDLE / CRATE).read_bytes()
    shipped = {p.relative_to(BUNDLE).as_posix(): describe(p) for p in bundle.files() if p.name != CRATE}
    write_crate(load_grid("tiny"), bundle, shipped)
    assert (BUNDLE / CRATE).read_bytes() == before
