"""Metrics of an image and its original, for batches: one value per image, without state.

Legend: B batch, C channels, H W pixels. `levels` are float32 pixel values on the scale 0..255 of stored images.
"""

import math

import torch
from torch import Tensor

from favae.config.evaluation import EvaluationConfig, SsimMetricConfig
from favae.runtime.torchvision import ensure_torchvision

PEAK = 255.0  # largest level; half of it is one unit of the [-1, 1] scale
_UNIT = PEAK / 2


def stored_levels(image_BCHW: Tensor) -> Tensor:
    """Levels of stored uint8 images. Raises ValueError for another dtype."""
    if image_BCHW.dtype != torch.uint8:
        raise ValueError(f"original images must be uint8 as stored, got {image_BCHW.dtype}: pass them unscaled")
    return image_BCHW.float()


def output_levels(image_BCHW: Tensor, quantize: str) -> Tensor:
    """Levels of a network's output in [-1, 1]: clamped, and for `quantize="uint8"` rounded to integers (halves to even).

    `quantize="raw"` neither clamps nor rounds: levels may be outside 0..255.

    Raises:
        ValueError: not floating point, not finite, or an unknown `quantize`.
    """
    if not image_BCHW.is_floating_point():
        raise ValueError(f"reconstructions must be floating point in [-1, 1], got {image_BCHW.dtype}")
    if not torch.isfinite(image_BCHW).all():
        raise ValueError(
            "reconstructions have NaN or infinity: the model diverged, or was loaded from a broken checkpoint"
        )
    if quantize == "raw":
        return (image_BCHW.float() + 1) * _UNIT
    levels = (image_BCHW.float().clamp(-1, 1) + 1) * _UNIT
    if quantize == "none":
        return levels
    if quantize == "uint8":
        return levels.round()
    raise ValueError(f"quantize must be 'uint8', 'none' or 'raw', got {quantize!r}")


def l1(original_BCHW: Tensor, other_BCHW: Tensor) -> Tensor:
    """Mean absolute error of levels on the scale of [-1, 1] images, as in the training loss: [B] float64 in [0, 2]."""
    return (original_BCHW - other_BCHW).abs().double().flatten(1).mean(1) / _UNIT


def mse(original_BCHW: Tensor, other_BCHW: Tensor) -> Tensor:
    """Mean squared error of levels on the scale of [-1, 1] images: [B] float64 in [0, 4]."""
    return (original_BCHW - other_BCHW).double().square().flatten(1).mean(1) / _UNIT**2


def psnr(original_BCHW: Tensor, other_BCHW: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of levels in dB, 10 log10(255^2 / MSE_255): [B] float64, infinite for equal images."""
    ensure_torchvision()
    from torchmetrics.functional.image import peak_signal_noise_ratio

    levels = (other_BCHW.double(), original_BCHW.double())
    return peak_signal_noise_ratio(*levels, data_range=PEAK, dim=(1, 2, 3), reduction="none")


def lfd(mse_B: Tensor, height: int, width: int) -> Tensor:
    """Log frequency distance (focal frequency loss paper) from `mse`: [B].

    Defined as ln(mean over channels and frequencies of |F(original) - F(other)|^2 + 1) with the unnormalised DFT of
    0..255 images. By Parseval's theorem that is ln(H W MSE_255 + 1), so LFD is a function of PSNR and adds no information.
    """
    return torch.log1p(height * width * mse_B * _UNIT**2)


def ssim(original_BCHW: Tensor, other_BCHW: Tensor, settings: SsimMetricConfig) -> Tensor:
    """Structural similarity of levels (Wang et al. 2004), mean over channels and pixels: [B] float64 in [-1, 1].

    Raises:
        ValueError: the window does not fit into the image.
    """
    margin = settings.margin
    height, width = original_BCHW.shape[-2:]
    if min(height, width) < 2 * margin + 1:
        raise ValueError(
            f"SSIM's {2 * margin + 1}x{2 * margin + 1} window does not fit into {height}x{width} images: "
            "leave ssim out of the protocol's metrics or lower its sigma"
        )
    ensure_torchvision()
    from torchmetrics.functional.image import structural_similarity_index_measure

    # The whole batch as the channels of one image, because a depth-wise convolution of many channels is several times
    # as fast.
    _, map_1NHW = structural_similarity_index_measure(
        other_BCHW.flatten(0, 1)[None],
        original_BCHW.flatten(0, 1)[None],
        sigma=settings.sigma,
        k1=settings.k1,
        k2=settings.k2,
        data_range=PEAK,
        reduction="none",
        return_full_image=True,
    )
    map_BCHW = map_1NHW.view_as(original_BCHW)
    if settings.border == "valid":
        map_BCHW = map_BCHW[..., margin : height - margin, margin : width - margin]
    return map_BCHW.double().flatten(1).mean(1)


def pixel_metrics(original_BCHW: Tensor, other_BCHW: Tensor, protocol: EvaluationConfig) -> dict[str, Tensor]:
    """Those of `l1`, `mse`, `psnr`, `ssim`, `lfd` that are in the protocol, for two batches of levels: name -> [B] float64."""
    mse_B = mse(original_BCHW, other_BCHW)
    compute = {
        "l1": lambda: l1(original_BCHW, other_BCHW),
        "mse": lambda: mse_B,
        "psnr": lambda: psnr(original_BCHW, other_BCHW),
        "ssim": lambda: ssim(original_BCHW, other_BCHW, protocol.ssim),
        "lfd": lambda: lfd(mse_B, *original_BCHW.shape[-2:]),
    }
    return {name: compute[name]() for name in protocol.metrics if name in compute}


class CodebookCounts:
    """How often each code was chosen: exact counts over batches in constant memory."""

    def __init__(self, codes: int):
        self.counts_K = torch.zeros(codes, dtype=torch.int64)

    def update(self, indices_Bhw: Tensor) -> None:
        """Count indices of any shape. Raises ValueError outside [0, codes)."""
        counts_K = torch.bincount(indices_Bhw.flatten().long().cpu(), minlength=len(self.counts_K))
        if len(counts_K) > len(self.counts_K):
            raise ValueError(f"code index {len(counts_K) - 1} with a codebook of {len(self.counts_K)} codes")
        self.counts_K += counts_K

    @property
    def usage(self) -> float:
        """Fraction of the codes that were chosen at least once, in (0, 1]."""
        return float((self.counts_K > 0).double().mean())

    @property
    def perplexity(self) -> float:
        """exp of the entropy (in nats) of the chosen codes: the effective number of codes, in [1, codes]."""
        p_K = self.counts_K[self.counts_K > 0].double() / self.counts_K.sum()
        return math.exp(float(-(p_K * p_K.log()).sum()))
