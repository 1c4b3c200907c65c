"""Names of metrics, and the form in which values are reported.

A name has metric and split: `psnr_test`, `lpips_vgg_test`. `rfid` and `fid` are reserved for the FID Inception network;
with another feature network the distance is `rfd_<network>` for reconstructions, `fd_<network>` for generated images.
Likewise `rkid` and `kid` are the kernel distance on Inception features, `rkid_<network>` and `kid_<network>` on others.
A "translation" is generated from the condition of a real image, so it is named like a generated image and also compared
with that image. `<distance>_real` is that of training images from the split: what a perfect generator would have, if
there are as many of them as generated images.
The split is that of the originals or of the captions. Reconstructions are compared with their originals, generated
images with all images of the split (`fid_test`) and, as `fid_vs_all_test`, with all images of the data set.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from favae.config.evaluation import EvaluationConfig, FeatureNetworkName, WeightsFileConfig
from favae.evaluation.spectrum import BANDS

Images = Literal["reconstruction", "translation", "generation"]
Against = Literal["split", "all"]  # real images of the split, or of the whole data set


class MetricResult(TypedDict):
    """One measured value, or the reason why there is none. `n` is the number of images, `protocol` everything that the
    value depends on."""

    value: float | None
    n: int
    protocol: dict[str, Any]
    note: str | None


@dataclass(frozen=True)
class MetricInfo:
    """Title, unit and direction of a metric, for tables; `short` is a head for narrow columns (default: the title)."""

    title: str
    unit: str
    better: Literal["lower", "higher", "neither"]
    short: str = ""

    @property
    def head(self) -> str:
        """Title for a narrow column."""
        return self.short or self.title


_INFO = {
    "l1": MetricInfo("L1", "of the [-1, 1] scale", "lower"),
    "mse": MetricInfo("MSE", "of the [-1, 1] scale", "lower"),
    "psnr": MetricInfo("PSNR", "dB", "higher"),
    "ssim": MetricInfo("SSIM", "", "higher"),
    "lfd": MetricInfo("LFD", "", "lower"),
    "log_spectral_error_low": MetricInfo("Log spectral error, low frequencies", "dB", "lower", "LSE low"),
    "log_spectral_error_mid": MetricInfo("Log spectral error, middle frequencies", "dB", "lower", "LSE mid"),
    "log_spectral_error_high": MetricInfo("Log spectral error, high frequencies", "dB", "lower", "LSE high"),
    "checkerboard": MetricInfo("Checkerboard, more than in the original", "dB", "lower", "Checkerboard"),
    "codebook_usage": MetricInfo("Codebook usage", "", "higher", "Code use"),
    "codebook_perplexity": MetricInfo("Codebook perplexity", "codes", "higher", "Perplexity"),
    "lpips_vgg": MetricInfo("LPIPS (VGG)", "", "lower", "LPIPS VGG"),
    "lpips_alex": MetricInfo("LPIPS (Alex)", "", "lower", "LPIPS Alex"),
    "lpips_squeeze": MetricInfo("LPIPS (Squeeze)", "", "lower", "LPIPS Squeeze"),
    "rfid": MetricInfo("rFID", "", "lower"),
    "rfd_squeezenet": MetricInfo(
        "Frechet distance of reconstructions (SqueezeNet features)", "", "lower", "rFD Squeeze"
    ),
    "rfd_randconv": MetricInfo("Frechet distance of reconstructions (random convolutions)", "", "lower", "rFD random"),
    "rkid": MetricInfo("rKID", "", "lower"),
    "rkid_squeezenet": MetricInfo(
        "Kernel distance of reconstructions (SqueezeNet features)", "", "lower", "rKD Squeeze"
    ),
    "rkid_randconv": MetricInfo("Kernel distance of reconstructions (random convolutions)", "", "lower", "rKD random"),
    "fid": MetricInfo("FID", "", "lower"),
    "fid_real": MetricInfo("FID of real training images", "", "neither", "FID real"),
    "fd_squeezenet_real": MetricInfo(
        "Frechet distance of real training images (SqueezeNet features)", "", "neither", "FD Squeeze real"
    ),
    "fd_randconv_real": MetricInfo(
        "Frechet distance of real training images (random convolutions)", "", "neither", "FD random real"
    ),
    "kid": MetricInfo("KID", "", "lower"),
    "kid_squeezenet": MetricInfo("Kernel distance (SqueezeNet features)", "", "lower", "KD Squeeze"),
    "kid_randconv": MetricInfo("Kernel distance (random convolutions)", "", "lower", "KD random"),
    "mean_distance": MetricInfo(
        "Squared distance of the mean images", "of the [-1, 1] scale", "lower", "Mean distance"
    ),
    "variance_ratio": MetricInfo("Variance of generated over real images", "", "neither", "Variance ratio"),
    "set_spectrum_error_low": MetricInfo("Distance of average spectra, low frequencies", "dB", "lower", "ASD low"),
    "set_spectrum_error_mid": MetricInfo("Distance of average spectra, middle frequencies", "dB", "lower", "ASD mid"),
    "set_spectrum_error_high": MetricInfo("Distance of average spectra, high frequencies", "dB", "lower", "ASD high"),
    "is": MetricInfo("IS", "", "higher"),
    "caption_glasses": MetricInfo("Images with glasses, caption with minus without", "", "higher", "Glasses"),
    "caption_hat": MetricInfo("Images with a hat, caption with minus without", "", "higher", "Hat"),
    "caption_earring": MetricInfo("Images with an earring, caption with minus without", "", "higher", "Earring"),
    "caption_necklace": MetricInfo("Images with a necklace, caption with minus without", "", "higher", "Necklace"),
    "caption_hair": MetricInfo("Share of hair, much minus little in the caption", "", "higher", "Hair"),
    "caption_glasses_real": MetricInfo("The same of real images: glasses", "", "neither", "Glasses real"),
    "caption_hat_real": MetricInfo("The same of real images: hat", "", "neither", "Hat real"),
    "caption_earring_real": MetricInfo("The same of real images: earring", "", "neither", "Earring real"),
    "caption_necklace_real": MetricInfo("The same of real images: necklace", "", "neither", "Necklace real"),
    "caption_hair_real": MetricInfo("The same of real images: hair", "", "neither", "Hair real"),
    "segmenter_miou": MetricInfo("mIoU of our own segmenter", "", "higher", "mIoU own"),
    "segmenter_accuracy": MetricInfo("Pixel accuracy of our own segmenter", "", "higher", "Accuracy own"),
    "segmenter_accuracy_including": MetricInfo(
        "The same, pixels without a class wrong", "", "higher", "Accuracy own, all"
    ),
    "segmenter_miou_real": MetricInfo("mIoU of real images", "", "neither", "mIoU real"),
    "segmenter_miou_blurred": MetricInfo("mIoU of real images, blurred 3x3", "", "neither", "mIoU blurred"),
    "segmenter_miou_grey": MetricInfo("mIoU of real images, grey", "", "neither", "mIoU grey"),
    "segmenter_miou_mean_colours": MetricInfo("mIoU of mean colours of classes", "", "neither", "mIoU colours"),
    "segmenter_miou_other": MetricInfo("mIoU of images of others", "", "neither", "mIoU others"),
    "segmenter_accuracy_real": MetricInfo("Pixel accuracy of real images", "", "neither", "Accuracy real"),
    "segmenter_accuracy_blurred": MetricInfo(
        "Pixel accuracy of real images, blurred 3x3", "", "neither", "Accuracy blurred"
    ),
    "segmenter_accuracy_grey": MetricInfo("Pixel accuracy of real images, grey", "", "neither", "Accuracy grey"),
    "segmenter_accuracy_mean_colours": MetricInfo(
        "Pixel accuracy of mean colours of classes", "", "neither", "Accuracy colours"
    ),
    "segmenter_accuracy_other": MetricInfo("Pixel accuracy of images of others", "", "neither", "Accuracy others"),
    "miou": MetricInfo("mIoU", "%", "higher"),
    "accuracy": MetricInfo("Pixel accuracy", "%", "higher", "Accuracy"),
    "accuracy_including": MetricInfo("Pixel accuracy, pixels without a class wrong", "%", "higher", "Accuracy, all"),
    "fd_squeezenet": MetricInfo("Frechet distance (SqueezeNet features)", "", "lower", "FD Squeeze"),
    "fd_randconv": MetricInfo("Frechet distance (random convolutions)", "", "lower", "FD random"),
    "fid_vs_all": MetricInfo("FID against all images", "", "lower", "FID all"),
    "fd_squeezenet_vs_all": MetricInfo(
        "Frechet distance against all images (SqueezeNet features)", "", "lower", "FD Squeeze all"
    ),
    "fd_randconv_vs_all": MetricInfo(
        "Frechet distance against all images (random convolutions)", "", "lower", "FD random all"
    ),
}


def describe(name: str) -> MetricInfo:
    """Title, unit and direction of a metric named with its split, as `psnr_test`. Raises ValueError if unknown."""
    base, _, split = name.rpartition("_")
    if base not in _INFO or split not in ("train", "val", "test"):
        raise ValueError(f"unknown metric {name!r}: expected <metric>_<split> with a metric of {', '.join(_INFO)}")
    return _INFO[base]


def metric_names() -> list[str]:
    """Names of all metrics, without their split."""
    return list(_INFO)


def frechet_metric(network: FeatureNetworkName, images: Images, against: Against = "split") -> str:
    """Name, without the split, of the Frechet distance on a network's features."""
    prefix, suffix = "r" if images == "reconstruction" else "", "_vs_all" if against == "all" else ""
    return (f"{prefix}fid" if network == "inception" else f"{prefix}fd_{network}") + suffix


def kernel_metric(network: FeatureNetworkName, images: Images) -> str:
    """Name, without the split, of the kernel distance on a network's features."""
    base = "rkid" if images == "reconstruction" else "kid"
    return base if network == "inception" else f"{base}_{network}"


def metric_bases(protocol: EvaluationConfig, images: Images) -> list[str]:
    """Names, without the split, of all metrics that an evaluation under `protocol` reports, measured or not, in the
    order of tables."""
    groups = {
        "log_spectral_error": [f"log_spectral_error_{band}" for band in BANDS],
        "codebook": ["codebook_usage", "codebook_perplexity"],
        "lpips": [f"lpips_{net}" for net in protocol.lpips_nets],
        "frechet": [frechet_metric(network, images) for network in protocol.feature_networks],
        "kid": [kernel_metric(network, images) for network in protocol.feature_networks],
    }
    pairwise = images != "generation"  # a generated image without condition has no original
    return [base for m in protocol.metrics if pairwise or m in ("frechet", "kid") for base in groups.get(m, [m])]


def metric_protocol(protocol: EvaluationConfig, base: str, **seen: Any) -> dict[str, Any]:
    """What the value of one metric depends on: the common part, the metric's own settings, and what was `seen` in the
    evaluation."""
    record = {"split": protocol.split, "n": protocol.n, "quantize": protocol.quantize, **seen}
    if protocol.latent != "mean":
        record["latent"] = protocol.latent
    if base == "ssim":
        record["ssim"] = protocol.ssim.model_dump()
    if base.startswith("log_spectral_error"):
        record["spectrum"] = protocol.spectrum.model_dump()
    if base == "checkerboard":
        record["checkerboard"] = protocol.checkerboard.model_dump()
    return record


def measured(value: float, n: int, record: dict[str, Any], note: str | None = None) -> MetricResult:
    """A result with a value. JSON has no infinity, so a non-finite value becomes a note."""
    if not math.isfinite(value):
        return MetricResult(value=None, n=n, protocol=record, note=f"not finite: {value}")
    return MetricResult(value=value, n=n, protocol=record, note=note)


def not_measured(reason: str, record: dict[str, Any]) -> MetricResult:
    """A result without a value, with the reason."""
    return MetricResult(value=None, n=0, protocol=record, note=f"not measured: {reason}")


def weights_record(weights: WeightsFileConfig | None) -> dict[str, Any]:
    """The file from which a network was loaded, as part of a metric's protocol."""
    return {} if weights is None else {"weights": {"file": weights.file, "sha256": weights.sha256}}
