"""A toy training of twelve steps, run by the training loop."""

import math
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from favae.config.training import TrainingConfig
from favae.training.checkpoint import Checkpoint, checkpoints, whole_checkpoints
from favae.training.distributed import Ranks
from favae.training.loop import Loop, Plan, Result

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


def load_latest(folder: Path) -> Checkpoint | None:
    return next((saved for _, saved in whole_checkpoints(folder)), None)


class ToyTask:
    """A linear model with dropout (so that random numbers matter), a buffer, and Adam."""

    def __init__(
        self,
        poison_at: int | None = None,
        interrupt_at: int | None = None,
        fail_at: int | None = None,
        number: int = signal.SIGTERM,
    ) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
        self.modules = {"model": self.model}
        self.optimizers = {"adam": torch.optim.Adam(self.model.parameters(), lr=0.1)}
        self.poison_at, self.interrupt_at, self.fail_at = poison_at, interrupt_at, fail_at
        self.number = number
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
            os.kill(os.getpid(), self.number)
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


def interrupted(folder: Path) -> Path:
    """A training killed at step 10 with checkpoints of steps 6 and 9; returns the newest."""
    with pytest.raises(KeyboardInterrupt):
        train(folder, fail_at=10)
    return checkpoints(folder)[-1]
