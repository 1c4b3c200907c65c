"""Published results are audited by anybody: from their files alone, without changing anything; every edit is found."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from published_support import COMMIT, add_experiment, write_result
from tests_support import environment

from favae.config.errors import ConfigError
from favae.jobs.grid import Grid, load_grid
from favae.results.bundle import MANIFEST, Bundle
from favae.sync.audit import audit_bundle, audits, find
from favae.sync.publish import publish

EVALUATION = "evaluate_reconstruction/natural-f4-favae-on-natural"
ROOT = Path("reports/tiny")


def problems() -> list[str]:
    load_grid.cache_clear()
    return audit_bundle("tiny").problems


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(root.rglob("*"))
    }


def test_a_clean_clone_audits_what_was_published_and_changes_nothing(clone: Path) -> None:
    before = snapshot(clone)
    (result,) = audits("tiny")
    assert result.problems == []
    assert len(result.numbers) > 0
    assert snapshot(clone) == before
    (number,) = find(result, "reconstruction/natural-f4-favae-on-natural/psnr_test")
    (weights,) = [item for item in result.chain(number) if item.job.name == "train_autoencoder/natural-f4-favae"]
    assert any("model.safetensors (not shipped)" in line for line in weights.lines())


def test_where_there_are_no_results_one_line_says_so(project: Path) -> None:
    shutil.rmtree("data")
    with pytest.raises(ConfigError, match="neither data/tiny nor reports/tiny/results has a result to audit"):
        audits("tiny")


def test_own_and_published_results_are_both_audited(project: Path) -> None:
    publish("tiny")
    assert [result.where for result in audits("tiny")] == [Path("data/tiny"), Path("reports/tiny")]


def test_an_audit_of_own_results_changes_nothing_and_misses_runs_where_mlflow_has_none(project: Path) -> None:
    before = snapshot(project)
    (result,) = audits("tiny")
    assert all("no valid run in MLflow" in problem for problem in result.problems)
    assert snapshot(project) == before


def test_a_user_without_write_access_can_audit(clone: Path) -> None:
    command = [sys.executable, "-c", "from favae.cli.main import entry; entry()", "audit", "--scale", "tiny"]
    if os.geteuid() == 0:  # permissions bind root only without its privileges
        if not shutil.which("setpriv"):
            pytest.skip("this is root, and setpriv (util-linux), which gives up privileges, is not installed")
        command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *command]
    folders = [clone, *(path for path in clone.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment(GIT_CEILING_DIRECTORIES=str(clone))
        )
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "reports/tiny: " in done.stdout
    assert "0 problems" in done.stdout


def numbers(text: str) -> str:
    """The text with its last digit changed."""
    place = max(text.rfind(digit) for digit in "0123456789")
    return text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :]


@pytest.mark.parametrize("listed", [True, False], ids=["with the list of files", "without it"])
@pytest.mark.parametrize(
    "name",
    [
        f"results/{EVALUATION}/metrics.json",
        f"results/{EVALUATION}/card.json",
        f"results/{EVALUATION}/images.csv",
        "results/train_autoencoder/natural-f4-favae/card.json",
        "results/curves/train_autoencoder/natural-f4-favae.csv",
        f"results/runs/{EVALUATION}.json",
        "tables/reconstruction.csv",
        "tables/reconstruction.md",
        "tables/reconstruction.tex",
        "tables/summary.md",
        "figures/some.png",
        "results/checklist.md",
        "results/train_autoencoder/natural-f4-favae/README.md",
    ],
)
def test_a_number_edited_in_any_file_is_found(clone: Path, name: str, listed: bool) -> None:
    if not listed:
        (ROOT / MANIFEST).unlink()
    path = ROOT / name
    if name.startswith("results/runs/"):
        tree = json.loads(path.read_text())
        tree["metrics"]["psnr_test"] += 1e-9
        path.write_text(json.dumps(tree))
    elif (path.suffix in (".png", ".csv") and "curves" in name) or path.suffix == ".png":
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    else:
        path.write_text(numbers(path.read_text()))
    found = problems()
    assert any(said in problem for problem in found for said in _said(name)), found


def _said(name: str) -> tuple[str, ...]:
    """What a problem says of an edited file: its path in the bundle, or that of a card in `data/`, as cards name their inputs."""
    if name.startswith("results/runs/"):
        return (f"{EVALUATION}: psnr_test is ",)
    if name.startswith("figures/"):
        return (f"{ROOT}/figures: differs", f"{ROOT / name}: differs")
    return f"{ROOT / name}: ", f" data/tiny/{name.removeprefix('results/')} has the hash"


@pytest.mark.parametrize(
    "name", ["README.md", "Snakefile", "ro-crate-metadata.json", "results/prepare_dataset/natural/croissant.json"]
)
def test_a_number_edited_in_a_file_that_follows_from_no_result_is_found(project: Path, name: str) -> None:
    publish("tiny")
    (ROOT / "README.md").write_text("PSNR rises from 20.1 to 25.2 dB.\n")
    publish("tiny")
    assert problems() == []
    path = ROOT / name
    path.write_text(numbers(path.read_text()))
    assert problems()[0] == f"{path}: differs from what {MANIFEST} says"
    assert all(problem.startswith(f"{path}: ") for problem in problems())


def test_one_flipped_bit_in_every_file_is_found_in_every_file(clone: Path) -> None:
    files = [path for path in ROOT.rglob("*") if path.is_file() and path.name != MANIFEST]
    for path in files:
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    found = sorted(Bundle.of("tiny").problems())
    assert found == sorted(f"{path}: differs from what {MANIFEST} says" for path in files)


def test_a_number_edited_in_the_list_of_files_is_found(clone: Path) -> None:
    path = ROOT / MANIFEST
    text = path.read_text()
    path.write_text(text.replace('"size": 100', '"size": 101', 1))
    assert any(f"{path}: data/tiny/" in problem for problem in problems())
    path.write_text(text[: text.rfind('"size": ')] + text[text.rfind('"size": ') :].replace('"size": ', '"size": 1'))
    assert any("differs from what manifest.json says" in problem for problem in problems())


@pytest.mark.parametrize(
    "name",
    [
        f"results/{EVALUATION}/card.json",
        f"results/{EVALUATION}/metrics.json",
        f"results/runs/{EVALUATION}.json",
        "results/make_tables/all/card.json",
        "tables/summary.md",
        "figures/some.png",
    ],
)
@pytest.mark.parametrize("listed", [True, False], ids=["with the list of files", "without it"])
def test_a_missing_file_is_named(clone: Path, name: str, listed: bool) -> None:
    if not listed:
        (ROOT / MANIFEST).unlink()
    (ROOT / name).unlink()
    found = problems()
    named = (f"{ROOT / name}: missing", f"{EVALUATION}: no readable run record", "figures: differs")
    assert any(word in problem for problem in found for word in named), found


def test_a_missing_list_of_files_is_named_and_what_is_not_there_is_known_by_its_hash(clone: Path) -> None:
    (ROOT / MANIFEST).unlink()
    for path in ROOT.rglob("images.csv"):
        path.unlink()
    (problem,) = problems()
    assert problem.startswith(f"{ROOT / MANIFEST}: missing, so nothing says which files belong to these results")


def test_what_did_not_change_is_not_published_again(clone: Path) -> None:
    before = snapshot(ROOT)
    again = publish("tiny")
    assert again.message == f"nothing to publish: {ROOT} is what publishing it again gives; no file was written"
    assert snapshot(ROOT) == before


def test_a_changed_page_is_published_without_a_new_date_of_the_tables(clone: Path) -> None:
    before = snapshot(ROOT)
    (ROOT / "README.md").write_text("what we learned\n")
    assert publish("tiny").changed
    written = {name for name, (_, content) in snapshot(ROOT).items() if before.get(name, (0, b""))[1] != content}
    assert written == {"README.md", MANIFEST, "ro-crate-metadata.json"}
    assert problems() == []


def test_a_file_that_nobody_listed_is_named(clone: Path) -> None:
    (ROOT / "results/extra.csv").write_text("1\n")
    assert problems() == [f"{ROOT}/results/extra.csv: not listed in {MANIFEST}"]


def test_an_experiment_that_was_added_since_is_no_problem_of_what_was_published(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = {"commit": COMMIT, "dirty": [], "contents": {}}
    monkeypatch.setattr("favae.sync.publish.working_tree", lambda: clean)
    before = snapshot(ROOT / "tables")
    add_experiment()
    result = audit_bundle("tiny")
    assert result.problems == []
    assert "3 cells of the grid are not published" in result.summary
    publish("tiny")
    assert problems() == []
    assert {name: content for name, (_, content) in snapshot(ROOT / "tables").items()} == {
        name: content for name, (_, content) in before.items()
    }


def test_results_of_a_renamed_scale_are_named(clone: Path) -> None:
    card = ROOT / "results" / EVALUATION / "card.json"
    card.write_text(card.read_text().replace('"scale": "tiny"', '"scale": "demo"'))
    assert any("is the card of" in problem for problem in problems())


def test_what_is_not_whole_is_not_published(project: Path) -> None:
    publish("tiny")
    before = snapshot(Path("reports"))
    (project / "data/tiny" / EVALUATION / "metrics.json").write_text("{}")
    with pytest.raises(ValueError, match=f"nothing is published:\n  {EVALUATION} is corrupt"):
        publish("tiny")
    assert snapshot(Path("reports")) == before


def test_what_would_fail_its_audit_is_not_published(project: Path) -> None:
    (project / "data/tiny/runs" / f"{EVALUATION}.json").unlink()
    (project / "data/tiny/runs" / f"{EVALUATION}.json").write_text("{}")
    with pytest.raises(ValueError, match="no readable run record"):
        publish("tiny")
    assert not Path("reports/tiny").exists()


def test_hand_written_pages_stay_and_old_results_go(project: Path) -> None:
    publish("tiny")
    (ROOT / "README.md").write_text("what we learned\n")
    assert problems() == [f"{ROOT}/README.md: not listed in {MANIFEST}"]
    for job in Grid("tiny"):
        if job.name == EVALUATION:
            (job.card.parent / "images.csv").unlink()
            write_result(job, shift=1.0)
        elif job.stage.collects:
            for output in job.stage.outputs:
                shutil.rmtree(output.path(job.scale, job.stage.name, job.cell))
            write_result(job)
    publish("tiny")
    assert (ROOT / "README.md").read_text() == "what we learned\n"
    assert problems() == []


def test_only_small_files_are_shipped_beyond_what_every_bundle_has(project: Path) -> None:
    manifest = publish("tiny", limit=0).manifest
    assert not any(name.endswith(("images.csv", "model.safetensors")) for name in manifest.shipped)
    assert f"data/tiny/{EVALUATION}/images.csv" in manifest.not_shipped
    assert problems() == []
    manifest = publish("tiny").manifest
    assert f"results/{EVALUATION}/images.csv" in manifest.shipped
    assert not any(name.endswith(("model.safetensors", "shards", ".npy")) for name in manifest.shipped)
    assert Bundle.of("tiny").manifest() == manifest


@pytest.mark.parametrize("stray", ["figures/by-hand.png", "notes/mine.md"])
def test_publishing_removes_no_file_that_it_did_not_write(project: Path, stray: str) -> None:
    publish("tiny")
    path = ROOT / stray
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    with pytest.raises(ValueError, match=f"{path} was not published from here and would be lost: move it"):
        publish("tiny")
    assert path.read_text() == "mine"
    path.unlink()
    publish("tiny")


def test_tables_are_not_written_anew_over_results_that_do_not_hold(clone: Path) -> None:
    (ROOT / "results" / EVALUATION / "metrics.json").unlink()
    before = snapshot(ROOT)
    with pytest.raises((ValueError, FileNotFoundError), match=r"metrics\.json"):
        publish("tiny")
    assert snapshot(ROOT) == before


def test_a_table_of_other_columns_is_named_once(clone: Path) -> None:
    table = ROOT / "tables/reconstruction.csv"
    table.write_text(table.read_text().replace("seeds_high", "other", 1))
    expected = f"{table}: has other columns than the results give; missing: seeds_high"
    assert [problem for problem in problems() if problem.startswith(f"{table}: has")] == [expected]
