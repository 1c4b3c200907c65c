"""What a task must provide so that the loop can train it."""

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor, nn
from torch.optim import Optimizer


class Task(Protocol):
    """One thing to be trained: its networks, its optimisers, its step.

    The loop saves and restores every module (parameters and buffers, EMA codebooks among them) and every optimiser; it knows
    nothing of losses. A task with several networks and optimisers runs them all in `train_step`.
    """

    modules: Mapping[str, nn.Module]
    optimizers: Mapping[str, Optimizer]

    def train_step(self, batch: Any, step: int) -> dict[str, Tensor]:
        """One optimisation step of everything. Returns detached scalar tensors, on the device, without reading them."""

    def validate(self) -> dict[str, float]:
        """Metrics on val; `objective` (lower is better) selects the best model. Nothing where a data set has no val."""

    def sample(self) -> Tensor | None:
        """An image of the present state, uint8 [H,W,3], or None."""

    def exported(self) -> dict[str, Tensor]:
        """The tensors of the trained model that are worth keeping after training."""
