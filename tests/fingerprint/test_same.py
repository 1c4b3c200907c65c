"""`favae same`: the recorded and the present code run the same small job, and only equal bytes count as the same."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from published_support import git, write_result
from tests_support import write_params

import favae
from favae.fingerprint import job as fingerprint
from favae.fingerprint.devices import unlike_elsewhere
from favae.fingerprint.modules import Package
from favae.jobs.grid import load_grid
from favae.results import equivalences
from favae.results.run_record import read_run_record, write_run_record
from favae.results.status import State, statuses
from favae.sync import small_job
from favae.sync.file_differences import difference
from favae.sync.same import Report, _likeness, _results, same

DATA, MODEL = "prepare_dataset/natural", "train_autoencoder/natural-f4-vqgan"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A repository with the package, and results of a data set and a model that its only commit made."""
    root = tmp_path / "project"
    root.mkdir()
    write_params(root)
    shutil.copytree(Path(favae.__file__).parent, root / "favae", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(root)
    (root / ".gitignore").write_text("/data/\n")
    git("init")
    git("add", "-A")
    git("commit", "-qm", "start")
    load_grid.cache_clear()
    for name in (DATA, MODEL):
        write_result(load_grid("tiny").job(*name.split("/")))
        record = read_run_record("tiny", *name.split("/"))
        assert record is not None
        write_run_record(record.model_copy(update={"git_commit": git("rev-parse", "HEAD")}))
    monkeypatch.setattr(small_job, "_installed", lambda: root / "favae")
    yield root
    load_grid.cache_clear()


def edit(project: Path, monkeypatch: pytest.MonkeyPatch, path: str, *changes: tuple[str, str]) -> None:
    """Change a file of the project's package, which then counts as the one that runs."""
    file = project / "favae" / path
    text = file.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")

    def read(path: str) -> str | None:
        found = project / "favae" / path
        return found.read_text(encoding="utf-8") if found.is_file() else None

    package = Package(read)
    monkeypatch.setattr(fingerprint, "present", lambda: package)


def compare() -> tuple[Report, list[str]]:
    said: list[str] = []
    return same([], "tiny", said.append), said


def states() -> dict[str, State]:
    return {job.name: state for job, state, _ in statuses("tiny") if job.name in (DATA, MODEL)}


@pytest.mark.slow
def test_a_renamed_variable_and_a_moved_function_are_shown_to_be_the_same(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert compare()[0].current == 2
    moved = "from favae.training.shares import _shares\n\n_SAMPLES = 8"
    edit(
        project,
        monkeypatch,
        "training/autoencoder.py",
        ("_SAMPLES = 8", moved),
        ("def _shares(", "def _former_shares("),
    )
    (project / "favae/training/shares.py").write_text(
        "def _shares(parts):\n    return [len(p) / sum(map(len, parts)) for p in parts]\n"
    )
    edit(project, monkeypatch, "data/tiles.py", ("found, counts =", "seen, counts ="), ("str(found[", "str(seen["))
    assert states() == {DATA: State.CODE, MODEL: State.CODE}
    report, said = compare()
    assert sorted(report.same) == [DATA, MODEL], said
    assert states() == {DATA: State.OK, MODEL: State.OK}
    evidence = equivalences.read()[0]
    assert evidence.recorded_commit == git("rev-parse", "HEAD") and "favae/data/tiles.py" in evidence.uncommitted
    assert f"data/tiny/{MODEL}/model.safetensors" in evidence.cells[MODEL].outputs and evidence.versions["torch"]
    assert git("worktree", "list").count("\n") == 0  # nothing is left behind


@pytest.mark.slow
def test_one_small_job_is_run_for_results_that_differ_only_in_their_seeds(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (project / "params/tiny.yaml").open("a") as file:
        file.write("f4-s1: {model: {<<: *model, channel_multipliers: [1, 1, 1]}, objective: *objective, ")
        file.write("optimizer: *optimizer, training: {<<: *training, seed: 1}}\n")
    path, other = project / "params/grid.yaml", "train_autoencoder/natural-other"
    row = "    - {recipe: table2, rows: baseline, numbers: f4-s1, dataset: natural, name: natural-other}\n"
    path.write_text(
        path.read_text().replace("  compute_reference_statistics:\n", f"{row}  compute_reference_statistics:\n", 1)
    )
    git("commit", "-qam", "a seed more")
    load_grid.cache_clear()
    shutil.rmtree(project / "data")
    for name in (DATA, MODEL, other):
        write_result(load_grid("tiny").job(*name.split("/")))
        record = read_run_record("tiny", *name.split("/"))
        assert record is not None
        write_run_record(record.model_copy(update={"git_commit": git("rev-parse", "HEAD")}))
    edit(project, monkeypatch, "training/autoencoder.py", ("_SAMPLES", "_MANY"))
    ran: list[str] = []
    run = small_job.Side.run
    monkeypatch.setattr(small_job.Side, "run", lambda *args: (ran.extend(args[2]), run(*args)))
    report, said = compare()
    assert sorted(report.same) == sorted([MODEL, other]), said
    assert sorted(ran) == sorted(2 * [DATA, MODEL])  # by both versions
    shown = equivalences.read()[0].cells
    assert (shown[MODEL].like, shown[other].like) == ("", MODEL)
    assert shown[MODEL].recorded != shown[other].recorded  # their seeds are in it
    assert shown[MODEL].outputs == shown[other].outputs
    assert all(state is State.OK for state in states().values())


@pytest.mark.slow
def test_a_changed_equation_is_different_and_stays_so(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The baseline measures this loss on val, and trains without it.
    edit(project, monkeypatch, "losses/frequency.py", ("return self.weight * ", "return 7 * self.weight * "))
    report, said = compare()
    assert (report.same, report.different, report.current) == ([], [MODEL], 1)
    assert "val/image_ffl differs by up to" in said[-1] and "inf" not in said[-1]
    assert states() == {DATA: State.OK, MODEL: State.CODE}
    assert not equivalences.read()


@pytest.mark.slow
def test_of_a_result_of_a_gpu_a_cpu_shows_only_code_that_does_not_ask_for_the_device(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = read_run_record("tiny", *MODEL.split("/"))
    assert record is not None
    write_run_record(record.model_copy(update={"device": "NVIDIA H100"}))
    edit(project, monkeypatch, "training/autoencoder.py", ("_SAMPLES", "_MANY"))
    report, said = compare()
    assert report.same == [MODEL], said
    edit(project, monkeypatch, "losses/frequency.py", ("return at_once / ctx", "return 7 * at_once / ctx"))
    report, said = compare()
    assert report.not_compared == [MODEL], said
    assert "made on NVIDIA H100, and the small job runs on a CPU" in said[-1]
    assert states()[MODEL] is State.CODE


def test_a_result_of_a_gpu_is_not_shown_by_the_small_job_of_a_cpu(project: Path) -> None:
    """Of results that are alike, only the first runs; what it can show depends on the device that made it."""
    grid = load_grid("tiny")
    (found,) = _results(grid, [MODEL])
    assert found.record is not None
    elsewhere = replace(found, record=found.record.model_copy(update={"device": "NVIDIA H100"}))
    assert _likeness(grid, found) != _likeness(grid, elsewhere)


def test_code_behind_a_question_for_the_device_is_found() -> None:
    loss = """
def fast(x):
    return inner(x)


def inner(x):
    return 7 * x


def plain(x):
    return x


class Loss:
    def forward(self, x):
        if x.device.type != "cpu":
            return fast(x) + self.there(x)
        return plain(x)

    def there(self, x):
        return x

    def other(self, x):
        return plain(x)
"""
    package = Package.of_texts({"losses.py": loss})
    ran = {"favae.losses:Loss.forward", "favae.losses:plain"}
    found = {unit.removeprefix("favae.losses:") for unit in unlike_elsewhere(package, ran)}
    assert found == {"Loss.forward", "fast", "inner", "Loss.there"}
    assert unlike_elsewhere(package, {"favae.losses:Loss.other", "favae.losses:plain"}) == set()


def test_evidence_without_files_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "same.json"
    shown = equivalences.SameOutputs(recorded="a" * 16, present="b" * 16, outputs={"model.safetensors": "0" * 64})
    facts = {"date": "2026-01-01T00:00:00+00:00", "scale": "tiny", "recorded_commit": "c" * 40, "present_commit": None}
    facts |= {"uncommitted": (), "numbers": {}, "versions": {}, "platform": "", "cells": {MODEL: shown}}
    equivalences.add(equivalences.Comparison.model_validate(facts), path)
    assert len(equivalences.read(path)) == 1
    text = path.read_text()
    for old, new in (
        ('"model.safetensors": "' + "0" * 64 + '"', ""),
        ("c" * 40, "main"),
        ("2026-01-01T", "x"),
        ("b" * 16, "x"),
    ):
        assert old in text
        path.write_text(text.replace(old, new))
        with pytest.raises(ValueError, match="not a list of comparisons"):
            equivalences.read(path)


def test_a_data_set_with_further_images_is_replaced_too(project: Path) -> None:
    side, job = small_job.Side(project), load_grid("tiny").job(*DATA.split("/"))
    file = project / job.sources[0][0]
    tree = small_job._read(file)
    block = job.sources[0][1]
    assert block is not None
    tree[block] |= {"layout": {"kind": "folders", "root": "raw"}, "more_training": "raw/more"}
    small_job._write(file, tree)
    side.use_shipped_images(job)
    assert "more_training" not in small_job._read(file)[block]


def test_committed_evidence_is_compared_again_on_request(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = read_run_record("tiny", *MODEL.split("/"))
    assert record is not None and record.code is not None
    recorded = fingerprint.digest_of(record.code.units)
    edit(project, monkeypatch, "losses/frequency.py", ("return self.weight * ", "return 7 * self.weight * "))
    present = fingerprint.digest_of(fingerprint.code_of(load_grid("tiny").job(*MODEL.split("/"))).units)
    facts = {
        "date": "2026-01-01T00:00:00+00:00",
        "scale": "tiny",
        "recorded_commit": "c" * 40,
        "present_commit": None,
        "platform": "",
    }
    forged = {
        MODEL: equivalences.SameOutputs(recorded=recorded, present=present, outputs={"model.safetensors": "0" * 64})
    }
    equivalences.add(
        equivalences.Comparison.model_validate(
            facts | {"uncommitted": (), "numbers": {}, "versions": {}, "cells": forged}
        )
    )
    assert states()[MODEL] is State.OK
    asked: list[str] = []
    monkeypatch.setattr(
        "favae.sync.same._compare", lambda grid, commit, found, *_: asked.extend(f.job.name for f in found)
    )
    same([], "tiny", print)
    assert asked == []
    same([], "tiny", print, again=True)
    assert asked == [MODEL]


def test_code_that_no_commit_has_cannot_be_compared(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = read_run_record("tiny", *MODEL.split("/"))
    assert record is not None
    write_run_record(record.model_copy(update={"git_dirty": ["favae/losses/frequency.py"], "git_contents": None}))
    edit(project, monkeypatch, "losses/frequency.py", ("return self.weight * ", "return 7 * self.weight * "))
    report, said = compare()
    assert report.not_compared == [MODEL] and "no commit has the code" in said[0]


def test_a_former_result_is_compared_with_the_code_of_its_commit(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = read_run_record("tiny", *MODEL.split("/"))
    assert record is not None
    write_run_record(record.model_copy(update={"code": None}))
    assert states()[MODEL] is State.OK
    edit(project, monkeypatch, "losses/frequency.py", ("return self.weight * ", "return 7 * self.weight * "))
    assert states()[MODEL] is State.CODE


def test_the_size_of_a_difference_is_said(tmp_path: Path) -> None:
    import numpy as np

    old, new = tmp_path / "old", tmp_path / "new"
    np.savez(old.with_suffix(".npz"), a=np.zeros(3), b=np.ones(2))
    np.savez(new.with_suffix(".npz"), a=np.array([0, 0.5, 0]), b=np.ones(2))
    assert difference(old.with_suffix(".npz"), new.with_suffix(".npz")) == "a differs by up to 0.5"
    np.savez(new.with_suffix(".npz"), a=np.zeros((3, 2)), b=np.ones(2))
    assert difference(old.with_suffix(".npz"), new.with_suffix(".npz")) == "a had the shape (3,), has (3, 2)"
    old.with_suffix(".json").write_text('{"psnr": {"value": 20.5}}')
    new.with_suffix(".json").write_text('{"psnr": {"value": 20.75}}')
    assert difference(old.with_suffix(".json"), new.with_suffix(".json")) == "psnr.value was 20.5, is 20.75"
    old.with_suffix(".txt").write_text("a")
    new.with_suffix(".txt").write_text("b")
    assert difference(old.with_suffix(".txt"), new.with_suffix(".txt")) == "other bytes"
