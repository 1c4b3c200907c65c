"""Any bytes in the state of an interrupted training give the checkpoint before it, and whole rows of curves; nothing stops it."""

import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from data_support import Evil, contents, json_values, nothing_unpickled, quick
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from favae.training.checkpoint import Checkpoint, rng_state, unfit, whole_checkpoints
from favae.training.curves import Curves

NETWORK = nn.Linear(3, 2)
OPTIMIZER = torch.optim.Adam(NETWORK.parameters())


def _checkpoint(step: int) -> dict[str, Any]:
    return Checkpoint(
        step=step,
        best_step=0,
        best_objective=math.inf,
        resumed=0,
        metrics={"l1": 0.5},
        pending=[(step, {"l1": 0.25})],
        modules={"model": NETWORK.state_dict()},
        optimizers={"model": OPTIMIZER.state_dict()},
        rng=rng_state(),
    )  # type: ignore[return-value]


def _bytes(value: Any) -> bytes:
    out = io.BytesIO()
    torch.save(value, out)
    return out.getvalue()


WHOLE = _bytes(_checkpoint(2))
ROWS = b"".join(json.dumps({"step": n, "train/l1": n / 7}).encode() + b"\n" for n in range(1, 6))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("state")
    (folder / "step-000000001.pt").write_bytes(_bytes(_checkpoint(1)))
    return folder


def _loaded(folder: Path, data: bytes) -> Checkpoint:
    (folder / "step-000000002.pt").write_bytes(data)
    with nothing_unpickled():
        _, saved = next(whole_checkpoints(folder))
    return saved


@quick
@given(data=contents([WHOLE, WHOLE, WHOLE, _bytes([Evil()]), b""]))
def test_any_bytes_as_newest_checkpoint_lead_back_to_the_one_before(folder: Path, data: bytes) -> None:
    saved = _loaded(folder, data)
    assert saved["step"] == 1 or _bytes(saved) == WHOLE


@quick
@given(key=st.sampled_from(["", *_checkpoint(2)]), value=json_values)
def test_a_checkpoint_of_another_shape_is_loaded_or_refused_with_a_reason(
    folder: Path, key: str, value: object
) -> None:
    changed: Any = value if not key else _checkpoint(2) | {key: value}
    saved = _loaded(folder, _bytes(changed))
    assert saved["step"] in (1, 2)
    problem = unfit(saved, {"model": NETWORK}, {"model": OPTIMIZER})
    assert problem is None or problem != ""


@quick
@given(data=contents([ROWS, ROWS, b'{"step": NaN}\n', b'{"step": 1, "train/l1": Infinity}\n', b"[" * 5000]))
def test_any_bytes_as_curves_are_cut_at_the_last_whole_line(folder: Path, data: bytes) -> None:
    curves = Curves(folder)
    curves.path.write_bytes(data)
    curves.cut(3)
    curves.add(4, {"train/l1": 1.0})
    lines = curves.path.read_bytes().splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    assert steps[-1] == 4 and all(step <= 3 for step in steps[:-1])
    assert list(curves.table()["step"]) == sorted(set(steps))
