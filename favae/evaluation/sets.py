"""Metrics of a set of generated images against a set of real ones, besides distances of features.

Legend: N images, D features, K classes, R rings. Images are levels 0..255.
"""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from favae.config.evaluation import GeneratorEvaluationConfig, SpectrumMetricConfig
from favae.evaluation.frechet import FeatureStatistics, frechet_distance
from favae.evaluation.frechet_meters import FrechetMeters
from favae.evaluation.image_metrics import PEAK
from favae.evaluation.protocol import MetricResult, frechet_metric, measured, metric_protocol, not_measured
from favae.evaluation.spectrum import BANDS, RadialSpectrum
from favae.pretrained.features import InceptionFeatures

_SPLITS = 10  # of an Inception Score
_UNIT = PEAK / 2


def inception_score(probabilities_NK: Tensor, splits: int = _SPLITS) -> float:
    """exp(mean KL(p(y|x) || p(y))), the mean over `splits` consecutive parts (Salimans et al. 2016).

    1 if all predictions are equal; K if they are certain and uniform over K classes. Raises ValueError for fewer images
    than parts.
    """
    if len(probabilities_NK) < splits:
        raise ValueError(f"an Inception Score in {splits} parts needs as many images, got {len(probabilities_NK)}")
    scores = []
    for part_NK in probabilities_NK.double().tensor_split(splits):
        marginal_K = part_NK.mean(0, keepdim=True)
        ratio_NK = torch.where(part_NK > 0, part_NK / marginal_K, 1.0).log()
        scores.append((part_NK * ratio_NK).sum(1).mean().exp())
    return float(torch.stack(scores).mean())


class Moments:
    """Mean image, mean variance of a pixel value, and average spectrum (mean over images, in dB) of a set."""

    def __init__(self, settings: SpectrumMetricConfig) -> None:
        self.n, self._settings = 0, settings
        self.spectrum: RadialSpectrum | None = None

    def add(self, levels_NCHW: Tensor) -> None:
        """Add images of one size."""
        if self.spectrum is None:
            self.spectrum = RadialSpectrum(levels_NCHW.shape[2], levels_NCHW.shape[3], self._settings)
            self._sum = self._squares = torch.zeros((), dtype=torch.float64)
            self._decibels = torch.zeros((), dtype=torch.float64)
        values = levels_NCHW.double().cpu() / _UNIT - 1
        self._sum, self._squares = self._sum + values.sum(0), self._squares + values.square().sum(0)
        self._decibels = self._decibels + self.spectrum.power(levels_NCHW).cpu().sum(0)
        self.n += len(levels_NCHW)

    @property
    def mean(self) -> Tensor:
        """Mean image on the [-1, 1] scale."""
        return self._sum / self.n

    @property
    def variance(self) -> float:
        """Unbiased variance over images, mean over pixel values."""
        return float(((self._squares / self.n - self.mean.square()) * (self.n / (self.n - 1))).mean())

    @property
    def decibels_R(self) -> Tensor:
        """Average spectrum."""
        return self._decibels / self.n


class SetMetrics:
    """Inception Score, means, variances and spectra of generated against real images."""

    def __init__(self, protocol: GeneratorEvaluationConfig, meters: FrechetMeters) -> None:
        self.protocol, self.meters = protocol, meters
        self.real, self.fake = Moments(protocol.spectrum), Moments(protocol.spectrum)
        self._pool: list[Tensor] = []  # Inception's features of generated images

    def add_real(self, levels_NCHW: Tensor) -> None:
        """Add real images."""
        self.real.add(levels_NCHW)

    def add_fake(self, levels_NCHW: Tensor, features: Mapping[str, Tensor]) -> None:
        """Add generated images with their features by network."""
        self.fake.add(levels_NCHW)
        if "inception" in features and "inception_score" in self.protocol.sets:
            self._pool.append(features["inception"].float().cpu())

    def result(self, others: Mapping[str, FeatureStatistics]) -> dict[str, MetricResult]:
        """All metrics of `protocol.sets`, named with the split; `others` are statistics of real training images."""
        found: dict[str, MetricResult] = {}
        if "moments" in self.protocol.sets:
            found |= self._moments()
        for network in self.protocol.feature_networks:
            if "real" in self.protocol.sets:
                base = f"{frechet_metric(network, 'generation')}_real"
                found[base] = self._real(network, others, self._record(base, features=network))
        if "inception_score" in self.protocol.sets:
            found["is"] = self._inception_score()
        return {f"{base}_{self.protocol.split}": result for base, result in found.items()}

    def spectrum(self) -> pd.DataFrame:
        """Average spectra with the columns of `RadialSpectrum.curves`; `error_db` is the distance of the averages."""
        assert self.real.spectrum is not None and self.fake.spectrum is not None
        table = self.real.spectrum.curves()
        filled = self.real.spectrum.filled_R
        table["original_db"] = self.real.decibels_R.numpy()[filled]
        table["reconstruction_db"] = self.fake.decibels_R.numpy()[filled]
        table["error_db"] = (table["reconstruction_db"] - table["original_db"]).abs()
        return table

    def _record(self, base: str, **seen: Any) -> dict[str, Any]:
        own = {name: getattr(self.protocol, name) for name in ("test_mode", "truncation", "noise", "seed")}
        return metric_protocol(self.protocol, base, **own, n_real=self.real.n, **seen)

    def _moments(self) -> dict[str, MetricResult]:
        if min(self.real.n, self.fake.n) < 2:
            reason = "a variance needs at least 2 images"
            return {name: not_measured(reason, self._record(name)) for name in ("mean_distance", "variance_ratio")}
        distance = float((self.fake.mean - self.real.mean).square().mean())
        values = {"mean_distance": distance, "variance_ratio": self.fake.variance / self.real.variance}
        table = self.spectrum()
        for band in BANDS:
            if len(rows := table[table["band"] == band]):
                values[f"set_spectrum_error_{band}"] = float(rows["error_db"].mean())
        spectrum = {"spectrum": self.protocol.spectrum.model_dump()}
        return {
            name: measured(value, self.fake.n, self._record(name, **(spectrum if "spectrum" in name else {})))
            for name, value in values.items()
        }

    def _real(self, network: str, others: Mapping[str, FeatureStatistics], record: dict[str, Any]) -> MetricResult:
        if network in self.meters.missing:
            return not_measured(self.meters.missing[network], record)
        own = self.meters.real().get(network)
        if own is None or network not in others:
            return not_measured("the reference has no statistics of train; add it to its images", record)
        record |= {"implementation": f"pytorch-fid {version('pytorch-fid')}", "n_train": others[network].n}
        try:
            return measured(frechet_distance(own, others[network]), others[network].n, record)
        except ValueError as error:
            return not_measured(str(error), record)

    def _inception_score(self) -> MetricResult:
        record = self._record("is", splits=_SPLITS, logits="1,008 without bias")
        network = self.meters.networks.get("inception")
        if not isinstance(network, InceptionFeatures):
            reason = self.meters.missing.get("inception", "the protocol's feature_networks have no inception")
            return not_measured(reason, record)
        features = torch.cat(self._pool).to(network.classifier.device)
        try:
            return measured(inception_score(network.probabilities(features)), self.fake.n, record)
        except ValueError as error:
            return not_measured(str(error), record)
