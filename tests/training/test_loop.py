"""The training loop: interrupted at any point it ends with the same weights, it stops if a loss diverges, and it
rejects damaged files."""

import contextlib
import multiprocessing
import os
import resource
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from loop_support import RANKS, SPEC, ToyTask, assert_same, batches, interrupted, load_latest, train
from PIL import Image
from torch import Tensor

from favae.training.checkpoint import (
    checkpoints,
    save_checkpoint,
)
from favae.training.curves import Curves
from favae.training.distributed import start_ranks
from favae.training.loop import Diverged, Interrupted, Loop, Plan


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


@pytest.mark.parametrize("value", [None, ""])
def test_one_process_unless_torchrun_says_otherwise(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
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


@pytest.mark.parametrize("what", ["state", "curves"])
def test_a_full_disk_is_said_with_what_to_do_and_the_checkpoint_before_stays(tmp_path: Path, what: str) -> None:
    interrupted(tmp_path)
    before = load_latest(tmp_path)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, limit[1]))
    try:
        with pytest.raises(
            OSError, match=r"cannot be written \(.+\); what was saved before stays: make room and start"
        ):
            if what == "state":
                save_checkpoint(tmp_path, 12, {"tensor": torch.zeros(100_000)})  # type: ignore[typeddict-item]
            else:
                Curves(tmp_path).add(12, {"x" * 4096: 1.0})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert before is not None and (load_latest(tmp_path) or {})["step"] == before["step"] == 9
    assert not list(tmp_path.glob(".*"))


def test_ctrl_c_loses_no_step(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole, _ = train(tmp_path / "whole")
    before = signal.getsignal(signal.SIGINT)  # ignored in a process that a script started in the background
    with pytest.raises(Interrupted, match="step 8"):
        train(tmp_path / "cut", interrupt_at=7, number=signal.SIGINT)
    assert "Ctrl-C again: leave at once" in caplog.text
    assert signal.getsignal(signal.SIGINT) is before
    rest, task = train(tmp_path / "cut")
    assert task.steps == list(range(8, 12))
    assert_same(rest.exported, whole.exported)


def test_ctrl_c_twice_leaves_at_once(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=_train_deaf, args=(tmp_path,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGINT
    assert (load_latest(tmp_path) or {})["step"] == 6


def _train_deaf(state: Path) -> None:
    """A training whose step 7 takes for ever, and which is told twice to stop meanwhile."""

    class Deaf(ToyTask):
        def train_step(self, batch: Tensor, step: int) -> dict[str, Tensor]:
            if step == 7:
                for _ in range(2):
                    os.kill(os.getpid(), signal.SIGINT)
                    time.sleep(0.1)
                time.sleep(60)
            return super().train_step(batch, step)

    Loop(Deaf(), Plan.of(SPEC, 100), state, RANKS, SPEC, "toy").run(batches)


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    interrupted(tmp_path)
    (tmp_path / ".step-000000009.pt.77.tmp").write_bytes(b"half")
    train(tmp_path)
    assert not list(tmp_path.glob(".*"))


def test_losses_that_start_late_are_averaged_over_the_steps_that_have_them(tmp_path: Path) -> None:
    table = train(tmp_path)[0].curves.table().set_index("step")
    assert table.loc[:6, "train/late"].isna().all()
    assert table.loc[8:, "train/late"].notna().all()
    assert table["train/loss"].notna().sum() == 6  # every 2 steps


def test_a_length_below_one_step_is_refused() -> None:
    with pytest.raises(ValueError, match="less than one step"):
        Plan.of(
            SPEC.model_copy(update={"length": SPEC.length.model_copy(update={"amount": 0.01, "unit": "epochs"})}), 100
        )


class ShowingTask(ToyTask):
    """The toy, with sample images that are drawn at random, as those of a GAN may be."""

    def sample(self) -> Tensor:  # type: ignore[override]
        self.model.eval()
        return (torch.rand(4, 6, 3) * 255).to(torch.uint8)


def test_sample_images_are_there_while_it_trains_and_change_no_number(tmp_path: Path) -> None:
    shown = ShowingTask(fail_at=9)
    with contextlib.suppress(KeyboardInterrupt):
        Loop(shown, Plan.of(SPEC, 100), tmp_path / "shown", RANKS, SPEC, "toy").run(batches)
    with Image.open(tmp_path / "shown" / "samples.png") as image:
        assert image.size == (6, 4)
    with_images = Loop(ShowingTask(), Plan.of(SPEC, 100), tmp_path / "whole", RANKS, SPEC, "toy").run(batches)
    assert_same(with_images.exported, train(tmp_path / "plain")[0].exported)
