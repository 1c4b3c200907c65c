"""A changed equation is never blessed: status, why, audit and tables say it for each result that used it, and for no other."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from code_support import SCALE, Edit
from published_support import write_result

from favae.fingerprint import job as fingerprint
from favae.fingerprint.job import Code
from favae.jobs.grid import Job, load_grid
from favae.results.cards import read_card
from favae.results.code_state import MIXED, code_state, merged, version_here
from favae.results.diff import explain
from favae.results.equivalences import Comparison, SameOutputs, add
from favae.results.publish import _link_spare, restore_spare
from favae.results.run_record import read_run_record
from favae.results.status import State, statuses
from favae.runtime import paths
from favae.stages.make_tables import OUTDATED, render
from favae.stages.runner import _marks_hold
from favae.sync.audit import audit_bundle
from favae.sync.publish import publish

SHOWN = {"data/model.safetensors": "0" * 64}


def states() -> dict[str, State]:
    return {job.name: state for job, state, _ in statuses(SCALE)}


def changed() -> set[str]:
    found = states()
    assert set(found.values()) <= {State.OK, State.CODE}
    return {name for name, state in found.items() if state is State.CODE}


def recipes(names: set[str], stage: str) -> set[str]:
    return {name.removeprefix(f"{stage}/") for name in names if name.startswith(f"{stage}/")}


def job(name: str) -> Job:
    return load_grid(SCALE).job(*name.split("/"))


def times_seven(edit: Edit) -> None:
    edit("losses/frequency.py", "self.weight = weight", "self.weight = 7 * weight")


def test_a_factor_on_a_loss_changes_every_result_that_used_it_and_no_other(project: Path, edit: Edit) -> None:
    assert not changed()
    times_seven(edit)
    trained = recipes(changed(), "train_autoencoder")
    everything = recipes(set(states()), "train_autoencoder")
    used = {cell for cell in everything if any(t["kind"] == "ffl" for t in terms(cell).values())}
    assert used == trained and 0 < len(used) < len(everything)
    evaluated = recipes(changed(), "evaluate_reconstruction")
    assert evaluated == {f"{cell}-on-celeba" for cell in used}
    assert {"make_tables/all", "make_figures/all"} <= changed()
    assert states()["prepare_dataset/celeba"] is State.OK


def terms(cell: str) -> dict[str, dict[str, object]]:
    return job(f"train_autoencoder/{cell}").parameters["objective"]["terms"]


def test_a_factor_that_the_module_sets_when_it_is_imported_changes_the_same_results(project: Path, edit: Edit) -> None:
    times_seven(edit)
    expected = changed()
    edit("losses/frequency.py", "7 * weight", "weight")
    assert not changed()
    last = "flatten(1, 2).contiguous()\n"
    edit(
        "losses/frequency.py",
        last,
        f"{last}\n\nFocalFrequencyLoss.forward = lambda self, pred, target: 7 * pred.mean()\n",
    )
    assert changed() == expected


def test_a_statement_in_a_package_that_is_only_imported_changes_all_that_import_it(project: Path, edit: Edit) -> None:
    name = "train_autoencoder/celeba-ae"
    edit("losses/__init__.py", "__all__ = [", "torch.set_default_dtype(torch.float64)\n__all__ = [")
    assert name in changed() and "prepare_dataset/celeba" not in changed()
    assert "losses, statements that run on import" in explain(name, SCALE)
    present = fingerprint.code_of(job(name))
    record = read_run_record(SCALE, *name.split("/"))
    assert record is not None and record.code is not None and record.code.on_import is not None
    assert present.on_import != record.code.on_import
    mixed = merged(record.code, present)
    assert mixed.on_import is not None and mixed.on_import["favae.losses"] == MIXED
    recorded = fingerprint.digest_of(record.code.units)
    here = version_here(present.units, fingerprint.changed_on_import(record.code, job(name), None))
    assert here != recorded
    add(comparison(name, SameOutputs(recorded=recorded, present=here, outputs=SHOWN)))
    assert name not in changed()


def test_of_a_record_without_statements_on_import_those_of_the_modules_it_used_are_compared(
    project: Path, edit: Edit
) -> None:
    name = "train_autoencoder/celeba-ae-ffl"
    path = paths.run_record(SCALE, *name.split("/"))
    record = json.loads(path.read_text())
    del record["code"]["on_import"]
    path.write_text(json.dumps(record))
    assert name not in changed()
    edit("losses/frequency.py", "def _at_least_fp32(", "torch.manual_seed(7)\n\n\ndef _at_least_fp32(")
    assert name in changed()
    assert "losses.frequency, statements that run on import" in explain(name, SCALE)


def test_a_record_that_names_no_code_is_not_called_current(project: Path) -> None:
    name = "train_autoencoder/celeba-ae"
    path = paths.run_record(SCALE, *name.split("/"))
    record = json.loads(path.read_text())
    record["code"]["units"] = {}
    path.write_text(json.dumps(record))
    assert states()[name] is State.CODE
    assert "does not name the code of its stage" in explain(name, SCALE)


def test_why_names_the_functions_that_differ(project: Path, edit: Edit) -> None:
    times_seven(edit)
    said = explain("train_autoencoder/celeba-ae-ffl", SCALE).splitlines()
    assert said[0] == "train_autoencoder/celeba-ae-ffl: code changed:"
    assert all(line.startswith("  losses.frequency.FocalFrequencyLoss") for line in said[1:-1]) and len(said) > 2
    assert "favae same train_autoencoder/celeba-ae-ffl" in said[-1]
    assert explain("train_autoencoder/celeba-ae", SCALE) == "train_autoencoder/celeba-ae: ok"


def test_docstrings_comments_and_blanks_change_no_result(project: Path, edit: Edit) -> None:
    edit("losses/frequency.py", "\n    def forward(", "\n\n    # A comment.\n    def forward(")
    edit("losses/terms.py", "Loss of two tensors", "The loss of two tensors")
    assert not changed()


def test_a_renamed_local_variable_and_a_moved_function_are_changes_until_they_are_shown_to_be_the_same(
    project: Path, edit: Edit
) -> None:
    edit("training/decay.py", "def ", "def moved():\n    pass\n\n\ndef ")
    assert not changed()  # nobody calls it
    edit("losses/terms.py", "def build_term(kind: str,", "def build_term(kind: str, ")
    assert not changed()
    edit("losses/terms.py", "kind: str, weight", "name: str, weight")
    edit("losses/terms.py", "kind not in (", "name not in (")
    name = "train_autoencoder/celeba-ae"
    assert name in changed()
    record = read_run_record(SCALE, *name.split("/"))
    assert record is not None and record.code is not None
    recorded = fingerprint.digest_of(record.code.units)
    present = fingerprint.digest_of(fingerprint.code_of(job(name)).units)
    add(comparison(name, SameOutputs(recorded=recorded, present="f" * 16, outputs=SHOWN)))
    assert name in changed()
    add(comparison(name, SameOutputs(recorded=recorded, present=present, outputs=SHOWN)))
    assert name not in changed()
    assert "shown to give the same bytes" in explain(name, SCALE)
    assert "train_autoencoder/celeba-vae" in changed()  # nothing was shown for this one


def comparison(name: str, shown: SameOutputs) -> Comparison:
    facts = {
        "date": "2026-01-01T00:00:00+00:00",
        "recorded_commit": "c" * 40,
        "present_commit": None,
        "platform": "",
        "versions": {},
    }
    return Comparison.model_validate(facts | {"scale": SCALE, "uncommitted": (), "numbers": {}, "cells": {name: shown}})


def test_a_default_of_the_parameters_is_part_of_the_code(project: Path, edit: Edit) -> None:
    edit("models/ffl.py", "hidden: int = 256", "hidden: int = 128")
    assert "train_autoencoder/celeba-ae" in changed()


def test_another_version_of_a_library_is_said_and_the_result_stays(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "train_autoencoder/celeba-ae"
    before = fingerprint.installed("torch")
    monkeypatch.setattr("favae.results.code_state.installed", lambda name: "99.0" if name == "torch" else "")
    found = {job.name: (state, reason) for job, state, reason in statuses(SCALE)}
    assert found[name][0] is State.OK
    assert f"torch {before} (here 99.0)" in found[name][1]
    assert f"made with torch {before} (here 99.0)" in explain(name, SCALE)


def test_a_result_whose_code_nobody_recorded_is_not_called_current(project: Path) -> None:
    name = "train_autoencoder/celeba-ae"
    path = paths.run_record(SCALE, *name.split("/"))
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"code": None, "git_commit": None}))
    assert states()[name] is State.CODE
    path.unlink()
    assert states()[name] is State.CODE


@pytest.mark.slow
def test_the_audit_of_published_results_names_results_of_other_code(project: Path, edit: Edit) -> None:
    publish(SCALE)
    assert audit_bundle(SCALE).problems == []
    times_seven(edit)
    problems = audit_bundle(SCALE).problems
    assert any(p.startswith("train_autoencoder/celeba-ae-ffl: code changed: losses.frequency") for p in problems)
    assert not any(p.startswith("train_autoencoder/celeba-ae:") for p in problems)
    with pytest.raises(ValueError, match="code changed"):
        publish(SCALE)


def test_published_results_of_other_code_are_not_published_again(project: Path, edit: Edit) -> None:
    publish(SCALE)
    shutil.rmtree("data")
    bundle = Path("reports", SCALE)
    (bundle / "README.md").write_text("what we learned\n")
    before = {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    times_seven(edit)
    with pytest.raises(
        ValueError, match=r"train_autoencoder/celeba-\S+: code changed: losses\.frequency\.FocalFrequencyLoss"
    ):
        publish(SCALE)
    assert {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()} == before


def test_why_names_the_functions_behind_a_published_result_too(project: Path, edit: Edit) -> None:
    publish(SCALE)
    shutil.rmtree("data")
    name = "train_autoencoder/celeba-ae-ffl"
    assert explain(name, SCALE) == f"{name}, as published in reports/{SCALE}: ok"
    times_seven(edit)
    said = explain(name, SCALE).splitlines()
    assert said[0] == f"{name}, as published in reports/{SCALE}: code changed:"
    assert len(said) > 2 and all(line.startswith("  losses.frequency.FocalFrequencyLoss") for line in said[1:-1])
    shutil.rmtree("reports")
    assert explain(name, SCALE) == f"{name}: missing: no card"


def test_of_code_that_was_shown_to_be_the_same_only_what_changed_since_is_named(
    project: Path, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "train_autoencoder/celeba-ae-ffl"
    record = read_run_record(SCALE, *name.split("/"))
    assert record is not None and record.code is not None
    recorded, now = fingerprint.digest_of(record.code.units), fingerprint.present()
    edit("losses/terms.py", "kind: str, weight", "name: str, weight")
    edit("losses/terms.py", "kind not in (", "name not in (")
    renamed = fingerprint.present()
    digest = fingerprint.digest_of(fingerprint.code_of(job(name)).units)
    commit = {"c" * 40: now, "d" * 40: renamed}
    monkeypatch.setattr("favae.results.code_state.package_at", commit.get)
    shown = comparison(name, SameOutputs(recorded=recorded, present=digest, outputs=SHOWN))
    add(shown.model_copy(update={"present_commit": "d" * 40}))
    assert explain(name, SCALE).startswith(f"{name}: ok")
    times_seven(edit)
    assert [line for line in explain(name, SCALE).splitlines() if line.startswith("  ")] == [
        "  losses.frequency.FocalFrequencyLoss.__init__"
    ]


@pytest.mark.slow
def test_where_no_history_is_the_evidence_speaks_for_a_result_of_a_former_version(project: Path) -> None:
    publish(SCALE)
    name = "train_autoencoder/celeba-ae"
    path = Path("reports", SCALE, "results/runs", f"{name}.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"code": None}))

    def undecided() -> list[str]:
        result = audit_bundle(SCALE)
        assert [problem for problem in result.problems if "code changed" in problem] == []
        return result.undecided

    (line,) = undecided()
    assert line.startswith(f"{name}: not decided: whether the code changed since its commit cccccccccccc")
    present = fingerprint.digest_of(fingerprint.code_of(job(name)).units)
    add(comparison(name, SameOutputs(recorded=f"commit {'c' * 40}", present=present, outputs=SHOWN)))
    assert undecided() == []


def test_tables_mark_numbers_of_results_that_other_code_made(project: Path) -> None:
    tables = job("make_tables/all")
    cell = "evaluate_reconstruction/celeba-ae-ffl-on-celeba"
    plain, marked = render(tables), render(tables, outdated=[cell])
    different = [line for name in plain for line in set(marked[name].splitlines()) - set(plain[name].splitlines())]
    marks = ("code changed", "[", r"\textsuperscript")  # in words, and as letters of footnotes in Markdown and LaTeX
    assert different and all(any(mark in line for mark in marks) for line in different)
    assert any("code changed" in line for line in different)


def test_a_table_is_made_again_when_a_number_that_it_marks_is_current(project: Path, edit: Edit) -> None:
    """A result that is made again with the same values leaves the table's key as it is."""
    tables, trained = job("make_tables/all"), "train_autoencoder/celeba-ae-ffl"
    card = read_card(tables.card)
    marked = card.model_copy(update={"summary": {**card.summary, OUTDATED: [trained]}})
    assert _marks_hold(tables, card) and not _marks_hold(tables, marked)
    of_it = replace(tables, inputs={**tables.inputs, trained: job(trained).card})
    times_seven(edit)
    assert _marks_hold(of_it, marked)


def test_a_training_that_was_resumed_with_other_code_belongs_to_no_version(project: Path) -> None:
    name = "train_autoencoder/celeba-ae"
    record = read_run_record(SCALE, *name.split("/"))
    assert record is not None and record.code is not None
    code = record.code
    other = Code(units={**code.units, "favae.losses.terms": {"PixelLoss": "0" * 10}}, libraries={})
    assert merged(None, code) == merged(code, code) == code
    both = merged(other, code).units["favae.losses.terms"]
    assert both["PixelLoss"] == MIXED and both["PixelLoss.forward"] == MIXED
    mixed = record.model_copy(update={"code": merged(other, code)})
    assert not code_state(job(name), mixed).is_current


def test_a_copy_that_other_code_made_is_not_put_back(project: Path, edit: Edit) -> None:
    ours = job("train_autoencoder/celeba-ae-ffl")
    card = read_card(ours.card)
    _link_spare(ours, card)
    ours.card.unlink()
    times_seven(edit)
    assert restore_spare(ours, card.key) is None
    edit("losses/frequency.py", "7 * weight", "weight")
    assert restore_spare(ours, card.key) == card


def test_a_result_that_is_made_again_is_current(project: Path, edit: Edit) -> None:
    times_seven(edit)
    name = "train_autoencoder/celeba-ae-ffl"
    assert name in changed()
    write_result(job(name))
    assert name not in changed()
