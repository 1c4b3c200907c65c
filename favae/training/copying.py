"""The control that generates nothing, in the training loop like every other model."""

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from favae.config.copying import CopyConfig
from favae.data.batches import Batch
from favae.data.pixels import side_by_side
from favae.models.generators import Copy
from favae.training.distributed import Ranks
from favae.training.gan import TrainingData


class CopyTask:
    """L1 between condition and image; no step changes anything."""

    def __init__(self, config: CopyConfig, data: TrainingData, ranks: Ranks) -> None:
        self.data, self.ranks = data, ranks
        self.modules: dict[str, nn.Module] = {"generator": Copy()}
        self.optimizers: dict[str, Optimizer] = {}

    def train_step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """The loss of a batch."""
        if batch.condition is None:
            raise ValueError("the data set has no conditions; a copy needs layout.kind pairs")
        return {"l1": (batch.condition.float() - batch.images.float()).abs().mean() / 127.5}

    def validate(self) -> dict[str, float]:
        """Nothing to select."""
        return {}

    def sample(self) -> Tensor:
        """Some conditions above their images."""
        rows = self.data.sample_rows
        return side_by_side(list(self.data.pairs(self.data.shown, rows, torch.device("cpu"))))

    def exported(self) -> dict[str, Tensor]:
        """There are no weights."""
        return self.modules["generator"].state_dict()
