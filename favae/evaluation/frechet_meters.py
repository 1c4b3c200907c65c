"""Distances between distributions of features: the networks that could be loaded, and what is kept of their features."""

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from favae.config.evaluation import EvaluationConfig, FeatureNetworkName, WeightsConfig
from favae.evaluation.frechet import FeatureStatistics, frechet_distance, sample_size_warning
from favae.evaluation.image_metrics import PEAK
from favae.evaluation.kernel import KERNEL, kernel_distance
from favae.evaluation.protocol import (
    Against,
    Images,
    MetricResult,
    frechet_metric,
    kernel_metric,
    measured,
    metric_protocol,
    not_measured,
    weights_record,
)
from favae.evaluation.totals import FrechetTotals
from favae.pretrained.features import load_feature_network
from favae.pretrained.weights import MissingWeights

Network = TypeVar("Network", bound=nn.Module)


def load_available(
    load: Callable[[Any, WeightsConfig | None], Network],
    names: Sequence[str],
    catalogue: WeightsConfig | None,
    device: torch.device,
) -> tuple[dict[str, Network], dict[str, str]]:
    """Networks by name, on the device, and the reasons by name for those whose weights are missing."""
    networks, missing = {}, {}
    for name in names:
        try:
            networks[name] = load(name, catalogue).to(device)
        except MissingWeights as error:
            missing[name] = error.reason
    return networks, missing


class FrechetMeters:
    """Feature networks of a protocol, or the reason why one is missing, and their statistics.

    `reference` has the statistics of all real images by network: if given, real images are not measured here, and
    networks without statistics give no distance. Raises ValueError if they come from another network or from other
    weights.
    """

    def __init__(
        self,
        protocol: EvaluationConfig,
        device: torch.device,
        catalogue: WeightsConfig | None,
        reference: Mapping[str, FeatureStatistics] | None,
    ):
        self.keeps_rows = "kid" in protocol.metrics
        names = protocol.feature_networks if "frechet" in protocol.metrics or self.keeps_rows else ()
        self.protocol = protocol
        self.networks, self.missing = load_available(load_feature_network, names, catalogue, device)
        self.reference = reference
        self.totals = FrechetTotals()
        for name, network in self.networks.items():
            source = name if network.weights is None else f"{name}-{network.weights.sha256[:8]}"
            self.totals.real[name] = FeatureStatistics(source, network.dimension)
            self.totals.compared[name] = FeatureStatistics(source, network.dimension)
        self.check_comparable(reference or {})

    def check_comparable(self, reference: Mapping[str, FeatureStatistics]) -> None:
        """Raise ValueError if `reference` comes from another network or other weights than those loaded here."""
        for name in self.networks.keys() & reference.keys():
            self.totals.compared[name].check_comparable(reference[name])

    def update_real(self, levels_BCHW: Tensor) -> None:
        """Add real images. With reference statistics their features are needed for kernel distances only."""
        if self.reference is not None and not self.keeps_rows:
            return
        for name, network in self.networks.items():
            features_BD = network(levels_BCHW / PEAK)
            if self.reference is None:
                self.totals.real[name].update(features_BD)
            self._keep(self.totals.real_rows, name, features_BD)

    def update_compared(self, levels_BCHW: Tensor) -> dict[str, Tensor]:
        """Add reconstructions or generated images; returns their features by network."""
        self.totals.n += len(levels_BCHW)
        found = {name: network(levels_BCHW / PEAK) for name, network in self.networks.items()}
        for name, features_BD in found.items():
            self.totals.compared[name].update(features_BD)
            self._keep(self.totals.compared_rows, name, features_BD)
        return found

    def _keep(self, rows: dict[str, list[Tensor]], name: str, features_BD: Tensor) -> None:
        if self.keeps_rows:
            rows.setdefault(name, []).append(features_BD.cpu())

    def real(self) -> dict[str, FeatureStatistics]:
        """Statistics of the real images by network: those given, or else those measured here."""
        return dict(self.totals.real if self.reference is None else self.reference)

    def results(
        self, images: Images, real: Mapping[str, FeatureStatistics], against: Against = "split", **seen: Any
    ) -> dict[str, MetricResult]:
        """Frechet distances between the compared images and `real`, by name without split."""
        names = self.protocol.feature_networks if "frechet" in self.protocol.metrics else ()
        return {
            (base := frechet_metric(name, images, against)): self._result(
                name, real.get(name), metric_protocol(self.protocol, base, features=name, **seen)
            )
            for name in names
        }

    def kernel_results(self, images: Images, **seen: Any) -> dict[str, MetricResult]:
        """Kernel distances between the real and the compared images that were added, by name without split."""
        names = self.protocol.feature_networks if self.keeps_rows else ()
        return {
            (base := kernel_metric(name, images)): self._kernel_result(
                name, metric_protocol(self.protocol, base, features=name, **seen)
            )
            for name in names
        }

    def _kernel_result(self, name: FeatureNetworkName, record: dict[str, Any]) -> MetricResult:
        if name in self.missing:
            return not_measured(self.missing[name], record)
        real_ND, compared_MD = (torch.cat(rows[name]) for rows in (self.totals.real_rows, self.totals.compared_rows))
        record |= {"n_real": len(real_ND), "kernel": KERNEL, **weights_record(self.networks[name].weights)}
        if min(len(real_ND), len(compared_MD)) < 2:
            return not_measured("a kernel distance needs at least two images", record)
        return measured(kernel_distance(real_ND, compared_MD), len(compared_MD), record)

    def _result(self, name: FeatureNetworkName, real: FeatureStatistics | None, record: dict[str, Any]) -> MetricResult:
        if name in self.missing:
            return not_measured(self.missing[name], record)
        if real is None:
            reason = f"the reference statistics were computed without the weights of {name}; compute them again"
            return not_measured(reason, record)
        compared = self.totals.compared[name]
        record |= {"n_real": real.n, "implementation": f"pytorch-fid {version('pytorch-fid')}"}
        record |= weights_record(self.networks[name].weights)
        try:
            value = frechet_distance(real, compared)
        except ValueError as error:
            return not_measured(str(error), record)
        return measured(value, compared.n, record, sample_size_warning(real, compared))
