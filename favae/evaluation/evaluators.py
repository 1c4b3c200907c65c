"""Evaluators: one pass over batches in constant memory. They report every metric of the protocol, with its value or the
reason why there is none.

Legend: B batch, C channels, H W pixels, h w latent. Images are compared as levels 0..255 (see `image_metrics`).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from favae.config.evaluation import EvaluationConfig, WeightsConfig
from favae.evaluation.checkerboard import checkerboard
from favae.evaluation.frechet import FeatureStatistics
from favae.evaluation.frechet_meters import FrechetMeters, load_available
from favae.evaluation.image_metrics import PEAK, CodebookCounts, output_levels, pixel_metrics, stored_levels
from favae.evaluation.protocol import (
    Images,
    MetricResult,
    measured,
    metric_bases,
    metric_protocol,
    not_measured,
    weights_record,
)
from favae.evaluation.spectrum import RadialSpectrum
from favae.evaluation.totals import ReconstructionTotals
from favae.pretrained.lpips import load_lpips


@contextmanager
def reference_arithmetic() -> Iterator[None]:
    """Decorator: no gradients, and full float32 even if TF32 is enabled.

    TF32, PyTorch's default for convolutions on recent GPUs, keeps 10 bits of the mantissa. That is too few for SSIM,
    which subtracts squares of up to 16 bits.
    """
    with (
        torch.inference_mode(),
        torch.autocast("cuda", enabled=False),
        torch.autocast("cpu", enabled=False),
        torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False),
    ):
        yield


class ReconstructionEvaluator:
    """Compares reconstructions with their originals under a protocol, in one pass.

    `codebook_size` is the number of codes, or None for a model without a codebook. `reference` has the statistics of
    the same originals by feature network; if given, features of the originals are not computed again. If pretrained
    weights are missing, the metric is reported as not measured. `images: translation` is for images that are generated
    from the conditions of the originals.
    """

    def __init__(
        self,
        protocol: EvaluationConfig,
        device: torch.device | str = "cpu",
        *,
        images: Images = "reconstruction",
        codebook_size: int | None = None,
        catalogue: WeightsConfig | None = None,
        reference: Mapping[str, FeatureStatistics] | None = None,
    ):
        self.images: Images = images
        self.protocol = protocol
        self.device = torch.device(device)
        nets = protocol.lpips_nets if "lpips" in protocol.metrics else ()
        self.lpips, self.lpips_missing = load_available(load_lpips, nets, catalogue, self.device)
        self.meters = FrechetMeters(protocol, self.device, catalogue, reference)
        self.totals = ReconstructionTotals()
        if codebook_size is not None and "codebook" in protocol.metrics:
            self.totals.codes = CodebookCounts(codebook_size)

    def update(
        self,
        original_BCHW: Tensor,
        reconstruction_BCHW: Tensor,
        indices_Bhw: Tensor | None = None,
        ids: Sequence[str] | None = None,
    ) -> None:
        """Add a batch: stored uint8 originals, outputs in [-1, 1] (not yet clamped), code indices, image ids.

        Without `ids`, images are numbered in the order in which they are added.

        Raises:
            ValueError: shapes or types that do not fit, NaN, or indices outside the codebook.
        """
        self.totals.check_batch(original_BCHW, reconstruction_BCHW)
        ids = self.totals.next_ids(len(original_BCHW)) if ids is None else ids
        if len(ids) != len(original_BCHW):
            raise ValueError(f"got {len(ids)} ids for {len(original_BCHW)} images")
        if self.totals.codes is not None:
            if indices_Bhw is None:
                raise ValueError("codebook_size was given: pass the code indices of every batch")
            self.totals.codes.update(indices_Bhw)
        with reference_arithmetic():
            original_BCHW = stored_levels(original_BCHW.to(self.device))
            other_BCHW = output_levels(reconstruction_BCHW.to(self.device), self.protocol.quantize)
            self.totals.add_rows(ids, self._measure(original_BCHW, other_BCHW))
            self.meters.update_real(original_BCHW)
            self.features = self.meters.update_compared(other_BCHW)

    def _measure(self, original_BCHW: Tensor, other_BCHW: Tensor) -> dict[str, Tensor]:
        """Values per image of two batches of levels: name without split -> [B]."""
        values = pixel_metrics(original_BCHW, other_BCHW, self.protocol)
        if "log_spectral_error" in self.protocol.metrics:
            if self.totals.spectrum is None:
                height, width = original_BCHW.shape[-2:]
                self.totals.spectrum = RadialSpectrum(height, width, self.protocol.spectrum)
            bands = self.totals.spectrum.update(original_BCHW, other_BCHW)
            values |= {f"log_spectral_error_{band}": error_B for band, error_B in bands.items()}
        if "checkerboard" in self.protocol.metrics:
            values["checkerboard"] = checkerboard(original_BCHW, other_BCHW, self.protocol.checkerboard.period)
        for net, network in self.lpips.items():
            values[f"lpips_{net}"] = network(original_BCHW / PEAK * 2 - 1, other_BCHW / PEAK * 2 - 1)
        return values

    def per_image(self) -> pd.DataFrame:
        """One row per image, ordered by `id`; one column for each metric that is defined for a single image."""
        return self.totals.per_image()

    def spectrum(self) -> pd.DataFrame:
        """Radial spectra, see `RadialSpectrum.curves`; empty if the protocol has no `log_spectral_error`."""
        return pd.DataFrame() if self.totals.spectrum is None else self.totals.spectrum.curves()

    def real_statistics(self) -> dict[str, FeatureStatistics]:
        """Feature statistics of the originals by network, to be given as `reference` to later evaluations."""
        return self.meters.real()

    def result(self) -> dict[str, MetricResult]:
        """Every metric of the protocol by its name with split: the mean over images, or None with the reason.

        Raises:
            ValueError: no image, a number of images other than the protocol's, or an image counted twice.
        """
        table = self.per_image()
        _check_number(self.protocol, len(table))
        results = self.meters.results(self.images, self.meters.real(), image=self.totals.image)
        results |= self.meters.kernel_results(self.images, image=self.totals.image)
        for base in metric_bases(self.protocol, self.images):
            if base not in results:
                results[base] = self._result(base, table)
        return _with_split(self.protocol, self.images, results)

    def _result(self, base: str, table: pd.DataFrame) -> MetricResult:
        """The result of a metric that compares no distributions of features."""
        record = metric_protocol(self.protocol, base, image=self.totals.image)
        codes = self.totals.codes
        if base.startswith("codebook"):
            if codes is None:
                return not_measured("the model has no codebook", record)
            record["codes"] = len(codes.counts_K)
            return measured(codes.usage if base == "codebook_usage" else codes.perplexity, len(table), record)
        if base.startswith("lpips"):
            net = base.removeprefix("lpips_")
            if net in self.lpips_missing:
                return not_measured(self.lpips_missing[net], record)
            record |= {"implementation": f"lpips {version('lpips')}, v0.1", **weights_record(self.lpips[net].weights)}
        if base in ("psnr", "ssim"):
            record["implementation"] = f"torchmetrics {version('torchmetrics')}"
        if base not in table:
            return not_measured("images this small have no frequency in the band", record)
        return _mean(table[base], record)


class GenerationEvaluator:
    """Frechet distances between generated images and real ones, e.g. those of the test split.

    `reference` has the statistics of all real images by feature network; if given, real images need not be added. The
    protocol's `n` is the number of generated images; the number of real ones is recorded beside the value.
    """

    def __init__(
        self,
        protocol: EvaluationConfig,
        device: torch.device | str = "cpu",
        *,
        catalogue: WeightsConfig | None = None,
        reference: Mapping[str, FeatureStatistics] | None = None,
    ):
        self.protocol = protocol
        self.device = torch.device(device)
        self.meters = FrechetMeters(protocol, self.device, catalogue, reference)

    def update_real(self, original_BCHW: Tensor) -> None:
        """Add a batch of stored uint8 images."""
        with reference_arithmetic():
            self.meters.update_real(stored_levels(original_BCHW.to(self.device)))

    def update_generated(self, generated_BCHW: Tensor) -> None:
        """Add a batch of outputs in [-1, 1], not yet clamped."""
        with reference_arithmetic():
            levels_BCHW = output_levels(generated_BCHW.to(self.device), self.protocol.quantize)
            self.features = self.meters.update_compared(levels_BCHW)

    def real_statistics(self) -> dict[str, FeatureStatistics]:
        """Feature statistics of the real images by network, to be given as `reference` to later evaluations."""
        return self.meters.real()

    def result(self) -> dict[str, MetricResult]:
        """`fid_<split>` or `fd_<network>_<split>` for each feature network of the protocol, or None with the reason.

        Raises:
            ValueError: no generated image, or a number of images other than the protocol's.
        """
        _check_number(self.protocol, self.meters.totals.n)
        results = self.meters.results("generation", self.meters.real()) | self.meters.kernel_results("generation")
        return _with_split(self.protocol, "generation", results)

    def result_against_all(self, everything: Mapping[str, FeatureStatistics]) -> dict[str, MetricResult]:
        """`fid_vs_all_<split>`, or `fd_<network>_vs_all_<split>`: the same generated images against `everything`.

        `everything` has the statistics of all images of the data set by feature network. Raises like `result`, and
        ValueError if they come from another network.
        """
        _check_number(self.protocol, self.meters.totals.n)
        self.meters.check_comparable(everything)
        results = self.meters.results("generation", everything, "all")
        return {f"{base}_{self.protocol.split}": result for base, result in results.items()}


def _mean(values: pd.Series, record: dict[str, Any]) -> MetricResult:
    """Mean over images. PSNR is infinite if a reconstruction equals its original: then there is no mean."""
    infinite = int((values == math.inf).sum())
    if infinite:
        return not_measured(f"{infinite} of {len(values)} reconstructions equal their originals", record)
    return measured(float(values.mean()), len(values), record)


def _with_split(
    protocol: EvaluationConfig, images: Images, results: dict[str, MetricResult]
) -> dict[str, MetricResult]:
    return {f"{base}_{protocol.split}": results[base] for base in metric_bases(protocol, images)}


def _check_number(protocol: EvaluationConfig, n: int) -> None:
    if n == 0:
        raise ValueError(f"no image was evaluated: is the {protocol.split} split empty?")
    if protocol.n != "all" and n != protocol.n:
        raise ValueError(f"the protocol asks for n={protocol.n} images of {protocol.split}, {n} were evaluated")
