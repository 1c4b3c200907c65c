"""Training the segmenter of a labelled data set on its real pairs."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from favae.config.errors import blaming
from favae.config.pairs import LabelsConditionConfig
from favae.config.segmentation import SegmenterConfig
from favae.data.batches import Batch
from favae.data.conditions import shown
from favae.data.pixels import side_by_side, to_float
from favae.evaluation.segmentation import DONT_CARE, Confusion
from favae.models.segmenter import Segmenter
from favae.training.distributed import Ranks, average_gradients
from favae.training.gan import TrainingData, adam


def build_segmenter(config: SegmenterConfig) -> Segmenter:
    """The network with fresh weights. Raises BadKey if its constructor refuses the parameters."""
    with blaming("model"):
        return Segmenter(**config.model.given())


class SegmenterTask:
    """Cross-entropy per pixel of real images; pixels without a class have no loss. Several ranks average gradients."""

    def __init__(self, config: SegmenterConfig, data: TrainingData, ranks: Ranks) -> None:
        if not isinstance(data.condition, LabelsConditionConfig):
            raise ValueError("the data set has no label maps; a segmenter needs layout.condition.kind labels")
        self.data, self.ranks, self.condition = data, ranks, data.condition
        self.network = build_segmenter(config).to(ranks.device)
        self.modules: Mapping[str, nn.Module] = {"segmenter": self.network}
        self.optimizers: Mapping[str, Optimizer] = {"adam": adam(self.network, config.lr, (0.9, 0.999))}
        self.batch_size = config.training.batch_size

    def train_step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """One Adam step."""
        assert batch.condition is not None  # the constructor has refused data sets without label maps
        self.network.train()
        image = to_float(batch.images.to(self.ranks.device, non_blocking=True))
        labels = batch.condition[:, 0].long().to(self.ranks.device, non_blocking=True)
        loss = F.cross_entropy(self.network(image), labels, ignore_index=DONT_CARE)
        self.optimizers["adam"].zero_grad()
        loss.backward()
        average_gradients(self.network.parameters())
        self.optimizers["adam"].step()
        return {"cross_entropy": loss.detach()}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean IoU and accuracy on val; `objective` is 1 - mean IoU. Empty without val."""
        if self.data.val is None:
            return {}
        self.network.eval()
        confusion, split = Confusion(self.condition.classes), self.data.val
        for first in range(0, len(split), self.batch_size):
            stored = split.stored(range(first, min(first + self.batch_size, len(split)))).to(self.ranks.device)
            confusion.update(self.network(to_float(stored[:, :3])).argmax(1), stored[:, 3])
        return {"objective": 1 - confusion.miou, "miou": confusion.miou, "accuracy": confusion.accuracy}

    @torch.no_grad()
    def sample(self) -> Tensor:
        """Some images above their labels, above those that the network finds."""
        split = self.data.shown
        rows = self.data.sample_rows
        stored = self.data.stored(split, rows).to(self.ranks.device)
        self.network.eval()
        image = to_float(stored[:, :3])
        found = self.network(image).argmax(1, keepdim=True).to(torch.uint8)
        return side_by_side([image, shown(stored[:, 3:4], self.condition), shown(found, self.condition)])

    def exported(self) -> dict[str, Tensor]:
        """The network's weights."""
        return self.network.state_dict()
