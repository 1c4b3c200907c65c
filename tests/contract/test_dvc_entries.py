"""Recording results in `dvc.lock`, where DVC gets to see only the entries that it writes."""

from pathlib import Path

import pytest
from disk_support import separate_disks
from ruamel.yaml import YAML

from favae.runtime import paths
from favae.sync.dvc_entries import LOCK, recover, without_other_entries

HEAD = "schema: '2.0'\nstages:\n"


def entry(name: str, parameters: str = "a: 1") -> str:
    out = f"    outs:\n    - path: {name}\n      hash: md5\n      md5: {'0' * 32}\n      size: 1\n"
    return f"  {name}:\n    cmd: run {name}\n    params:\n      p.yaml:\n        {parameters}\n{out}"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").touch()
    return tmp_path


def test_new_entries_are_added_and_changed_ones_replaced_in_their_place() -> None:
    LOCK.write_text(HEAD + entry("s@a") + entry("s@b") + entry("other"))
    with without_other_entries():
        assert not LOCK.exists()
        LOCK.write_text(HEAD + entry("s@b", "a: 2e-6") + entry("s@c"))
    assert LOCK.read_text() == HEAD + entry("s@a") + entry("s@b", "a: 2e-6") + entry("other") + entry("s@c")
    assert not paths.dvc_lock_before().exists()


def test_aliases_are_written_out_because_they_mean_another_thing_in_another_file() -> None:
    LOCK.write_text(HEAD + entry("s@a"))
    with without_other_entries():
        LOCK.write_text(HEAD + entry("s@b", "a: &id001 {x: 1}\n        b: *id001"))
    read = YAML(typ="safe").load(LOCK)
    assert read["stages"]["s@b"]["params"]["p.yaml"] == {"a": {"x": 1}, "b": {"x": 1}}
    assert "id001" not in LOCK.read_text()


def test_a_record_that_dvc_adds_to_git_by_itself_is_whole_at_any_time() -> None:
    Path(".dvc/config").write_text("[core]\n    autostage = true\n")
    LOCK.write_text(HEAD + entry("s@a"))
    with without_other_entries():
        assert LOCK.read_text() == HEAD + entry("s@a")


@pytest.mark.parametrize("before", ["", HEAD + entry("s@a")])
def test_a_failure_leaves_what_was_recorded(before: str) -> None:
    if before:
        LOCK.write_text(before)
    with pytest.raises(RuntimeError), without_other_entries():
        LOCK.write_text(HEAD + entry("s@half"))
        raise RuntimeError
    assert (LOCK.read_text() if LOCK.exists() else "") == before


@pytest.mark.parametrize("before", ["", HEAD + entry("s@a")])
def test_a_kill_leaves_what_was_recorded_to_the_next_command(before: str) -> None:
    paths.dvc_lock_before().parent.mkdir(parents=True)
    paths.dvc_lock_before().write_text(before)
    LOCK.write_text(HEAD + entry("s@half")[:-20])
    recover()
    assert (LOCK.read_text() if LOCK.exists() else "") == before
    recover()  # a second time changes nothing
    assert (LOCK.read_text() if LOCK.exists() else "") == before


@pytest.mark.parametrize(
    "text",
    [
        HEAD + entry("s@a")[:-30],
        HEAD + entry("s@a") + "  s@b:\n    cmd:",
        HEAD + entry("s@a", "a: &id001 {x: 1}\n        b: *id001"),
        "schema: '1.0'\n" + entry("s@a"),
        HEAD + entry("s@a") + "\n# a note\n",
    ],
)
def test_a_record_that_is_damaged_or_not_of_this_form_is_left_to_dvc(text: str) -> None:
    LOCK.write_text(text)
    with without_other_entries():
        assert LOCK.read_text() == text
        LOCK.write_text("as DVC left it")
    assert LOCK.read_text() == "as DVC left it"


def test_a_failure_leaves_what_was_recorded_where_the_state_is_on_another_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    separate_disks(monkeypatch)
    test_a_failure_leaves_what_was_recorded(HEAD + entry("s@a"))
    assert not paths.dvc_lock_before().exists()
