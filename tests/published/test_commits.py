"""Edit, run, commit: a result made from an edit holds once a commit has the code and parameters that ran."""

import json
import os
import shutil
from pathlib import Path

import pytest
from published_support import git, set_commit

from favae.jobs.grid import load_grid
from favae.results.git import commit_with, working_tree
from favae.results.past import parameters_at
from favae.sync.audit import audit_bundle
from favae.sync.publish import publish

TABLES = "make_tables/all"
EDITED = Path("params/table2.yaml")


def edit(text: str) -> None:
    EDITED.write_text(EDITED.read_text() + text)
    os.utime(EDITED, ns=(0, EDITED.stat().st_mtime_ns + 1))


def test_the_working_tree_is_recorded_with_the_contents_of_its_edits(repository: Path) -> None:
    commit = git("rev-parse", "HEAD")
    assert working_tree() == {"commit": commit, "dirty": [], "contents": {}}
    edit("# new\n")
    (repository / "params/a new.yaml").write_text("x: 1\n")
    Path("params/weights.yaml").unlink()
    tree = working_tree()
    assert tree["dirty"] == list(tree["contents"])
    assert tree["contents"] == {
        "params/table2.yaml": git("hash-object", "params/table2.yaml"),
        "params/a new.yaml": git("hash-object", "params/a new.yaml"),
        "params/weights.yaml": "",
    }


def test_the_commit_of_exactly_this_edit_is_found_whatever_prose_came_with_it(repository: Path) -> None:
    edit("# new\n")
    (repository / "params/a new.yaml").write_text("x: 1\n")
    Path("params/weights.yaml").unlink()
    tree = working_tree()
    assert commit_with(tree["commit"], tree["contents"]) is None
    (repository / "README.md").write_text("other words\n")
    git("add", "-A")
    git("commit", "-qm", "the edit")
    edited = git("rev-parse", "HEAD")
    edit("# later\n")
    git("commit", "-qam", "later")
    assert commit_with(tree["commit"], tree["contents"]) == edited


def test_a_commit_with_other_contents_or_with_more_code_is_not_taken(repository: Path) -> None:
    edit("# ran\n")
    tree = working_tree()
    edit("# edited again before the commit\n")
    git("commit", "-qam", "other contents")
    assert commit_with(tree["commit"], tree["contents"]) is None
    git("reset", "-q", "--hard", tree["commit"])
    edit("# ran\n")
    Path("constraints.txt").write_text("torch==1\n")
    git("add", "-A")
    git("commit", "-qm", "more than what ran")
    assert commit_with(tree["commit"], tree["contents"]) is None


def test_edited_prose_alone_is_no_edit_of_a_result(repository: Path) -> None:
    (repository / "README.md").write_text("other words\n")
    tree = working_tree()
    assert commit_with(tree["commit"], tree["contents"]) == tree["commit"]


def test_audit_names_the_commit_that_has_what_ran(repository: Path) -> None:
    edit("# new\n")
    tree = working_tree()
    set_commit(tree["commit"], tree["contents"])
    load_grid.cache_clear()
    with pytest.raises(ValueError, match="made from a working tree with uncommitted changes: params/table2"):
        publish("tiny")
    git("commit", "-qam", "the edit")
    publish("tiny")
    result = audit_bundle("tiny")
    assert result.problems == []
    note = f"note          ran before it was committed: the commit {git('rev-parse', 'HEAD')[:12]} has"
    assert any(line.startswith(note) for line in result.evidence[TABLES].lines())


def test_parameters_of_the_recorded_commit_are_as_good_as_todays(repository: Path) -> None:
    start = git("rev-parse", "HEAD")
    set_commit(start, {})
    publish("tiny")
    EDITED.write_text(EDITED.read_text().replace("sigma: 3.0", "sigma: 2.5"))
    os.utime(EDITED, ns=(0, EDITED.stat().st_mtime_ns + 1))
    load_grid.cache_clear()
    result = audit_bundle("tiny")
    assert result.problems == []
    (note,) = result.evidence["train_autoencoder/natural-f4-favae"].remarks.notes
    assert note.startswith(f"made with the parameters of the commit {start[:12]}; since then: ")
    then = parameters_at(start, "tiny", "train_autoencoder", "natural-f4-favae")
    assert then is not None
    assert then["objective"]["spectrum"]["sigma"] == 3


def edit_tables(old: str, new: str) -> None:
    path = Path("params/tables.yaml")
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    load_grid.cache_clear()


def test_tables_written_anew_lose_no_interval_over_images(repository: Path) -> None:
    set_commit(git("rev-parse", "HEAD"), {})
    publish("tiny", limit=0)  # without values per image, which only the printed tables then show
    shutil.rmtree("data")
    before = Path("reports/tiny/tables/reconstruction.csv").read_bytes()
    edit_tables('label: "FA-VAE, f = 4", published', "label: Another name, published")
    git("commit", "-qam", "another label")
    with pytest.raises(ValueError, match=r"reconstruction.csv would lose \d+ intervals over images: keep the texts"):
        publish("tiny")
    assert Path("reports/tiny/tables/reconstruction.csv").read_bytes() == before


def test_tables_of_published_results_are_written_anew_where_nothing_else_is_there(repository: Path) -> None:
    set_commit(git("rev-parse", "HEAD"), {})
    publish("tiny")
    shutil.rmtree("data")
    edit_tables("Reconstruction of held-out", "Reconstructions of held-out")
    with pytest.raises(ValueError, match="uncommitted changes: params/tables"):
        publish("tiny")
    git("commit", "-qam", "other tables")
    kept = {path: path.read_bytes() for path in Path("reports/tiny/results/evaluate_reconstruction").rglob("*.*")}
    publish("tiny")
    assert "Reconstructions of held-out" in Path("reports/tiny/tables/summary.md").read_text()
    assert audit_bundle("tiny").problems == []
    record = json.loads(Path("reports/tiny/results/runs/make_tables/all.json").read_text())
    assert record["git_commit"] == git("rev-parse", "HEAD")
    assert {path: path.read_bytes() for path in kept} == kept


def test_files_known_by_their_hash_are_added_from_where_their_bytes_are(repository: Path, tmp_path: Path) -> None:
    set_commit(git("rev-parse", "HEAD"), {})
    publish("tiny", limit=0)
    own, elsewhere = Path("data/tiny"), tmp_path / "elsewhere"
    with pytest.raises(ValueError, match="--from adds to published results, but data/tiny has your own"):
        publish("tiny", folder=own)
    values = sorted(own.rglob("images.csv"))
    (elsewhere / "deep").mkdir(parents=True)
    for number, path in enumerate(values):  # under other names, and one of them changed since
        text = path.read_text()
        (elsewhere / "deep" / f"{number}.txt").write_text(text.replace("0", "1") if number == 0 else text)
    shutil.rmtree("data")
    with pytest.raises(NotADirectoryError, match="nowhere: not a folder"):
        publish("tiny", folder=Path("nowhere"))
    manifest = publish("tiny", folder=elsewhere).manifest
    added = [path.as_posix().replace("data/tiny", "results") in manifest.shipped for path in values]
    assert added == [False] + [True] * (len(values) - 1)
    assert len(values) > 1
    assert not any(path.as_posix() in manifest.not_shipped for path in values[1:])
    assert audit_bundle("tiny").problems == []


def test_a_bundle_of_a_commit_that_is_not_here_is_named(repository: Path) -> None:
    set_commit(git("rev-parse", "HEAD"), {})
    publish("tiny")
    strange = "d" * 40
    for path in Path("reports/tiny/results/runs").rglob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"git_commit": strange}))
    found = audit_bundle("tiny").problems
    assert any(
        f"{TABLES}: made from the commit {strange[:12]}, which this repository does not have" in p for p in found
    )
