"""The training loop: interrupted at any point it ends with the same weights, it stops if a loss diverges, and it
rejects damaged files."""

import contextlib
import math
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from favae.config.training import TrainingConfig
from favae.training.checkpoint import checkpoints, load_latest
from favae.training.distributed import Ranks, start_ranks
from favae.training.loop import Diverged, Interrupted, Loop, Plan, Result

RANKS = Ranks(0, 1, torch.device("cpu"))
SPEC = TrainingConfig(
    seed=0,
    batch_size=4,
    length="12 steps",
    validate_every="4 steps",
    checkpoint_every="3 steps",
    log_every=2,
    threads=1,
)


class ToyTask:
    """A linear model with dropout (so that random numbers matter), a buffer, and Adam."""

    def __init__(
        self, poison_at: int | None = None, interrupt_at: int | None = None, fail_at: int | None = None
    ) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
        self.modules = {"model": self.model}
        self.optimizers = {"adam": torch.optim.Adam(self.model.parameters(), lr=0.1)}
        self.poison_at, self.interrupt_at, self.fail_at = poison_at, interrupt_at, fail_at
        self.objectives = {4: 3.0, 8: 1.0, 12: 2.0}
        self.steps: list[int] = []

    def train_step(self, batch: Tensor, step: int) -> dict[str, Tensor]:
        if step == self.fail_at:
            raise KeyboardInterrupt
        self.steps.append(step)
        self.model.train()
        loss = self.model(batch).square().mean() + torch.rand(())
        self.optimizers["adam"].zero_grad()
        loss.backward()
        self.optimizers["adam"].step()
        if step == self.interrupt_at:
            os.kill(os.getpid(), signal.SIGTERM)
        value = loss.detach() * (math.nan if step == self.poison_at else 1.0)
        return {"loss": value} | ({"late": value} if step > 5 else {})

    def validate(self) -> dict[str, float]:
        return {"objective": self.objectives.get(self.steps[-1] + 1 if self.steps else 12, 9.0)}

    def sample(self) -> None:
        return None

    def exported(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.model.state_dict().items()}


def batches(step: int) -> Iterator[Tensor]:
    while True:
        yield torch.randn(4, 3, generator=torch.Generator().manual_seed(step))
        step += 1


def train(state: Path, **task: int) -> tuple[Result, ToyTask]:
    toy = ToyTask(**task)
    return Loop(toy, Plan.of(SPEC, 100), state, RANKS, SPEC, "toy").run(batches), toy


def assert_same(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


@pytest.mark.parametrize("step", range(0, 12))
@pytest.mark.parametrize("how", ["interrupt_at", "fail_at"])
def test_a_training_stopped_at_any_step_ends_with_the_same_weights(tmp_path: Path, step: int, how: str) -> None:
    whole, whole_task = train(tmp_path / "whole")
    with contextlib.suppress(Interrupted, KeyboardInterrupt):
        train(tmp_path / "parts", **{how: step})
    torch.manual_seed(99)  # another process would not have the state of this generator
    rest, rest_task = train(tmp_path / "parts")
    assert_same(rest.exported, whole.exported)
    assert_same(rest_task.model.state_dict(), whole_task.model.state_dict())
    assert (rest.best_step, rest.best_objective) == (whole.best_step, whole.best_objective)
    assert rest.curves.table().equals(whole.curves.table())


def test_a_signal_loses_no_step_and_a_kill_loses_those_since_the_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="step 8"):
        train(tmp_path / "signal", interrupt_at=7)
    assert train(tmp_path / "signal")[1].steps == list(range(8, 12))
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "kill", fail_at=8)
    assert train(tmp_path / "kill")[1].steps == list(range(6, 12))


def test_the_best_model_on_val_is_exported(tmp_path: Path) -> None:
    result, task = train(tmp_path)
    assert (result.best_step, result.best_objective) == (8, 1.0)
    assert not torch.equal(result.exported["0.weight"], task.model[0].weight)


def test_a_finished_run_started_again_trains_no_step(tmp_path: Path) -> None:
    first, _ = train(tmp_path)
    again, task = train(tmp_path)
    assert task.steps == []
    assert_same(again.exported, first.exported)


def test_one_process_unless_torchrun_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    ranks = start_ranks(1)
    assert (ranks.rank, ranks.world_size, ranks.is_main) == (0, 1, True)
    assert not torch.distributed.is_initialized()


def test_only_rank_0_writes(tmp_path: Path) -> None:
    """Rank 1 makes the same steps in a folder that holds the best model as rank 0 has written it, and leaves it as it is."""
    first, _ = train(tmp_path / "0")
    shared = tmp_path / "1"
    shared.mkdir()
    best = Path(shutil.copy2(tmp_path / "0" / f"best-{first.best_step:09d}.pt", shared))
    before = (best.read_bytes(), best.stat().st_mtime_ns)
    toy = ToyTask()
    second = Loop(toy, Plan.of(SPEC, 100), shared, replace(RANKS, rank=1), SPEC, "toy").run(batches)
    assert toy.steps == list(range(12))
    assert (second.step, second.best_step, second.best_objective) == (12, first.best_step, first.best_objective)
    assert_same(second.exported, first.exported)
    assert list(shared.iterdir()) == [best]
    assert (best.read_bytes(), best.stat().st_mtime_ns) == before
    assert {path.suffix for path in (tmp_path / "0").iterdir()} == {".pt", ".jsonl"}


@pytest.mark.parametrize("step", [0, 4, 5, 7, 11])
def test_nan_stops_with_step_and_losses_and_keeps_the_last_good_checkpoint(tmp_path: Path, step: int) -> None:
    with pytest.raises(Diverged, match=rf"step {step + 1}: a loss is not finite: loss nan"):
        train(tmp_path, poison_at=step)
    saved = load_latest(tmp_path)
    good = step // 3 * 3  # the last multiple of checkpoint_every before the bad step
    assert (saved is None) if good == 0 else (saved["step"] == good)


def test_only_two_checkpoints_are_kept_with_the_best_models_they_need(tmp_path: Path) -> None:
    train(tmp_path)
    assert [p.name for p in checkpoints(tmp_path)] == ["step-000000009.pt", "step-000000012.pt"]
    assert [p.name for p in tmp_path.glob("best-*")] == ["best-000000008.pt"]


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


def test_losses_that_start_late_are_averaged_over_the_steps_that_have_them(tmp_path: Path) -> None:
    table = train(tmp_path)[0].curves.table().set_index("step")
    assert table.loc[:6, "train/late"].isna().all()
    assert table.loc[8:, "train/late"].notna().all()
    assert table["train/loss"].notna().sum() == 6  # every 2 steps


def test_a_length_below_one_step_is_refused() -> None:
    with pytest.raises(ValueError, match="less than one step"):
        Plan.of(SPEC.model_copy(update={"length": SPEC.length.model_copy(update={"amount": 0})}), 100)
