"""The interface of a task, which the training loop trains."""

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor, nn
from torch.optim import Optimizer


class Task(Protocol):
    """What the loop trains: networks, optimisers and a step.

    The loop saves and restores every module (parameters and buffers, such as EMA codebooks) and every optimiser. The
    losses are defined by the task alone. A task with several networks and optimisers runs them all in `train_step`.
    """

    modules: Mapping[str, nn.Module]
    optimizers: Mapping[str, Optimizer]

    def train_step(self, batch: Any, step: int) -> dict[str, Tensor]:
        """One optimisation step of all networks. Returns losses as detached scalar tensors on the device, without
        reading them."""

    def validate(self) -> dict[str, float]:
        """Metrics on val; `objective` (lower is better) selects the best model. Empty if the data set has no val split."""

    def sample(self) -> Tensor | None:
        """A sample image of the current state, uint8 [H,W,3], or None."""

    def exported(self) -> dict[str, Tensor]:
        """The tensors of the trained model that are saved as the result."""
