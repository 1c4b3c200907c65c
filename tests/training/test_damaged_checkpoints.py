"""Whatever became of a training's files, it resumes from the newest that is whole, and says which it left."""

import contextlib
import json
import pickle
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from loop_support import assert_same, interrupted, train

from favae.training.checkpoint import (
    Damaged,
    checkpoints,
    load_whole,
    save_whole,
)


def test_a_damaged_checkpoint_is_logged_and_the_previous_one_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole, _ = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", fail_at=10)
    newest = checkpoints(tmp_path / "cut")[-1]
    newest.write_bytes(newest.read_bytes()[:200])
    rest, task = train(tmp_path / "cut")
    assert newest.name in caplog.text
    assert task.steps[0] == 6
    assert_same(rest.exported, whole.exported)


ROTTEN = {
    "random bytes": random.Random(0).randbytes(5000),
    "nothing": b"",
    "text": b"step 12, loss 0.3\n",
    "a page of a proxy": b"<html><body>404 not found</body></html>",
    "a pickle": pickle.dumps({"step": 9}),
}


def _rounded(value: Any) -> Any:
    """All tensors of fractions in bfloat16."""
    if isinstance(value, dict):
        return {name: _rounded(v) for name, v in value.items()}
    return value.to(torch.bfloat16) if isinstance(value, torch.Tensor) and value.is_floating_point() else value


MISSHAPEN = {
    "a list": lambda saved: [1, 2, 3],
    "a tensor": lambda saved: torch.zeros(3),
    "no step": lambda saved: {k: v for k, v in saved.items() if k != "step"},
    "a step in words": lambda saved: saved | {"step": "nine"},
    "another step": lambda saved: saved | {"step": 3},
    "no network": lambda saved: saved | {"modules": {}},
    "another network": lambda saved: saved | {"modules": {"model": {"0.weight": torch.zeros(7, 3)}}},
    "another optimiser": lambda saved: saved | {"optimizers": {"adam": {"state": {}, "param_groups": []}}},
    "a network in bfloat16": lambda saved: saved | {"modules": _rounded(saved["modules"])},
    "moments in bfloat16": lambda saved: saved | {"optimizers": _rounded(saved["optimizers"])},
    "no random numbers": lambda saved: saved | {"rng": {"python": [3, [], None]}},
}


@pytest.mark.parametrize("what", [*ROTTEN, *MISSHAPEN])
def test_whatever_the_newest_checkpoint_holds_the_one_before_it_is_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    whole, _ = train(tmp_path / "whole")
    newest = interrupted(tmp_path / "cut")
    if what in ROTTEN:
        newest.write_bytes(ROTTEN[what])
    else:
        torch.save(MISSHAPEN[what](torch.load(newest)), newest)
    rest, task = train(tmp_path / "cut")
    assert str(newest) in caplog.text
    assert "weights_only" not in caplog.text, "torch's advice to load unsafely"
    assert task.steps[0] == 6
    assert_same(rest.exported, whole.exported)


def test_a_flipped_byte_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "saved.pt"
    values = {"a": torch.arange(40.0), "b": [1.5, "two"]}
    save_whole(path, values)
    content = path.read_bytes()
    noticed = 0
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        try:
            read = load_whole(path)
        except Damaged as error:
            assert str(path) in str(error)
            noticed += 1
        else:
            assert torch.equal(read["a"], values["a"]) and read["b"] == values["b"]
    assert noticed > 160  # the bytes of the tensor, at least


def test_without_any_whole_checkpoint_it_starts_from_the_beginning_as_if_there_were_none(tmp_path: Path) -> None:
    whole, _ = train(tmp_path / "whole")
    interrupted(tmp_path / "cut")
    for path in checkpoints(tmp_path / "cut"):
        torch.save(MISSHAPEN["another network"](torch.load(path)), path)
    rest, task = train(tmp_path / "cut")
    assert task.steps == list(range(12))
    assert_same(rest.exported, whole.exported)


@pytest.mark.parametrize("how", ["missing", "rotten", "of another network"])
@pytest.mark.parametrize("at", [10, None])
def test_without_its_best_model_a_run_says_so_and_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, at: int | None, how: str
) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        train(tmp_path, **({} if at is None else {"fail_at": at}))
    for best in tmp_path.glob("best-*.pt"):
        best.unlink()
        if how != "missing":
            best.write_bytes(b"rotten") if how == "rotten" else save_whole(best, {"other": torch.zeros(2)})
    result, task = train(tmp_path)
    assert str(best) in caplog.text and "is forgotten" in caplog.text
    assert (result.best_step, result.best_objective) == (12, 2.0)
    assert_same(result.exported, task.exported())


def test_where_the_checkpoint_before_has_its_best_model_nothing_is_lost(tmp_path: Path) -> None:
    whole, _ = train(tmp_path / "whole")
    newest = interrupted(tmp_path / "cut")  # of step 9: its best model is that of step 8; of step 6: that of step 4
    (tmp_path / "cut" / "best-000000008.pt").unlink()
    rest, task = train(tmp_path / "cut")
    assert newest.name == "step-000000009.pt" and task.steps[0] == 6
    assert (rest.best_step, rest.best_objective) == (whole.best_step, whole.best_objective)
    assert_same(rest.exported, whole.exported)


@pytest.mark.parametrize(
    "line", [b'{"step": 6, "train/loss": 0.\xff1}', b'{"step": 6, "tr', b"[6]", b'{"step": "6"}', b"[" * 100_000]
)
def test_a_damaged_line_of_the_curves_is_named_and_cut_off(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, line: bytes
) -> None:
    whole, _ = train(tmp_path / "whole")
    interrupted(tmp_path / "cut")
    curves = tmp_path / "cut" / "curves.jsonl"
    lines = curves.read_bytes().splitlines()
    place = next(i for i, row in enumerate(lines) if json.loads(row)["step"] == 6)
    curves.write_bytes(b"\n".join([*lines[:place], line, *lines[place + 1 :]]))
    rest, _ = train(tmp_path / "cut")
    assert f"{curves}: line {place + 1} is damaged" in caplog.text
    rows = whole.curves.table().set_index("step")
    assert rest.curves.table().set_index("step").equals(rows.drop([6, 8]))  # resumed from step 9
    assert rest.best_step == whole.best_step
