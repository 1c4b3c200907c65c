"""mIoU and pixel accuracy of images that were generated from label maps, by the networks of the papers.

Legend: B batch, C channels, K classes, H W pixels. Images are levels 0..255.
"""

import torch
from torch import Tensor

from favae.config.evaluation import GeneratorEvaluationConfig, WeightsConfig
from favae.evaluation.evaluators import reference_arithmetic
from favae.evaluation.frechet_meters import load_available
from favae.evaluation.image_metrics import PEAK
from favae.evaluation.protocol import MetricResult, measured, metric_protocol, not_measured, weights_record
from favae.evaluation.segmentation import Confusion
from favae.pretrained.label_networks import load_label_network


class LabelScores:
    """Labels found in generated images against those from which they were generated, if the protocol names a network.

    If its weights are missing, the scores are reported as not measured.
    """

    def __init__(
        self, protocol: GeneratorEvaluationConfig, device: torch.device, catalogue: WeightsConfig | None = None
    ) -> None:
        self.protocol, self.name = protocol, protocol.label_network
        found, self._missing = load_available(load_label_network, [self.name] if self.name else [], catalogue, device)
        self._network = found.get(self.name) if self.name else None
        self._confusion = Confusion(self._network.classes) if self._network else None

    def add(self, levels_BCHW: Tensor, labels_BHW: Tensor) -> None:
        """Add generated images and the stored label maps; one image at a time, because they are enlarged."""
        if self._network is None or self._confusion is None:
            return
        with reference_arithmetic():
            for levels_CHW, labels_HW in zip(levels_BCHW, labels_BHW, strict=True):
                predicted = self._network(levels_CHW[None].float() / PEAK)
                self._confusion.update(predicted, self._network.truth(labels_HW[None]))

    def result(self) -> dict[str, MetricResult]:
        """`miou`, `accuracy` and `accuracy_including` in percent, with the split; nothing without a network."""
        if self.name is None:
            return {}
        own = {name: getattr(self.protocol, name) for name in ("test_mode", "seed")}
        record = metric_protocol(self.protocol, "miou", network=self.name, **own)
        names = {metric: f"{metric}_{self.protocol.split}" for metric in ("miou", "accuracy", "accuracy_including")}
        if self._network is None or self._confusion is None:
            return {name: not_measured(self._missing[self.name], record) for name in names.values()}
        record["weights"] = [weights_record(weights)["weights"] for weights in self._network.weights]
        scores = {name: 100 * getattr(self._confusion, metric) for metric, name in names.items()}
        return {name: measured(score, self._confusion.n, record) for name, score in scores.items()}
