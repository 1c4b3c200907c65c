"""Parameters of an evaluation (everything that a metric's value depends on), and declared pretrained weights."""

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from favae.config.base import Positive, Probability, Schema, Seed

Metric = Literal[
    "l1", "mse", "psnr", "ssim", "lfd", "log_spectral_error", "checkerboard", "codebook", "lpips", "frechet", "kid"
]
FeatureNetworkName = Literal["inception", "squeezenet", "randconv"]
LpipsNet = Literal["vgg", "alex", "squeeze"]
LabelNetworkName = Literal["drn_d_105", "drn_d_105_as_generated", "upernet_101"]
# Classes of the label maps that a network can judge: Cityscapes has ids 0 to 34, ADE20K 0 (unknown) to 150.
LABELLED_CLASSES: dict[LabelNetworkName, int] = {"drn_d_105": 35, "drn_d_105_as_generated": 35, "upernet_101": 151}
# Pixels on a side below which a network has a layer without any position.
LPIPS_SMALLEST: dict[LpipsNet, int] = {"vgg": 16, "alex": 31, "squeeze": 17}
FEATURES_SMALLEST: dict[FeatureNetworkName, int] = {"inception": 1, "squeezenet": 1, "randconv": 16}
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class SsimMetricConfig(Schema):
    """Structural similarity (Wang et al. 2004): Gaussian window of `sigma` pixels, cut at 3.5 sigma (11x11 at 1.5).

    `border: valid` averages only over positions where the window fits into the image (Wang et al., scikit-image, the
    focal frequency loss paper); `reflect` pads by reflection and averages over all pixels (torchmetrics).
    """

    sigma: Annotated[float, Field(gt=0)] = 1.5
    k1: Annotated[float, Field(gt=0)] = 0.01
    k2: Annotated[float, Field(gt=0)] = 0.03
    border: Literal["valid", "reflect"] = "valid"

    @property
    def margin(self) -> int:
        """Pixels of the window on each side of its centre."""
        return int(3.5 * self.sigma + 0.5)


class SpectrumMetricConfig(Schema):
    """Rings and bands of the radial power spectrum, in spatial frequency relative to Nyquist (0.5 cycles per pixel).

    Rings are evenly spaced over [0, sqrt 2], so the corners, where checkerboard artefacts appear, are included.
    Bands are [0, low_below), [low_below, high_from), [high_from, sqrt 2], without the DC term; a ring belongs to the
    band that contains its middle.
    """

    rings: Positive = 24
    low_below: Annotated[float, Field(gt=0, lt=1)] = 0.25
    high_from: Annotated[float, Field(gt=0, lt=1)] = 0.5

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low_below >= self.high_from:
            raise ValueError(f"low_below {self.low_below} must be smaller than high_from {self.high_from}")
        return self


class CheckerboardConfig(Schema):
    """Period in pixels of the patterns that up-sampling leaves: a decoder that up-samples n times by 2 can leave 2^n."""

    period: Annotated[int, Field(ge=2, le=64)] = 4


class EvaluationConfig(Schema):
    """Which images are compared, how they are prepared, and what is measured.

    Images have the size and crop with which the data set was prepared. `quantize: uint8` clamps a network's output to
    [-1, 1] and rounds it to the 256 levels of a stored image; `none` only clamps; `raw` does neither (STFT-VAE, whose
    decoder has no activation). `latent` of a variational autoencoder: the `mean` of the posterior, or one `sample` per
    image, as in the official STFT-VAE code. `synthesis: prior` additionally measures the same number of images decoded
    from samples of the prior. `batch_size` affects speed and memory, not values.
    """

    split: Literal["train", "val", "test"] = "test"
    n: Positive | Literal["all"] = "all"
    quantize: Literal["uint8", "none", "raw"] = "uint8"
    latent: Literal["mean", "sample"] = "mean"
    synthesis: Literal["none", "prior"] = "none"
    metrics: tuple[Metric, ...] = (
        "l1",
        "mse",
        "psnr",
        "ssim",
        "lfd",
        "log_spectral_error",
        "codebook",
        "lpips",
        "frechet",
    )
    lpips_nets: tuple[LpipsNet, ...] = ("vgg",)
    feature_networks: tuple[FeatureNetworkName, ...] = ("inception",)
    ssim: SsimMetricConfig = SsimMetricConfig()
    spectrum: SpectrumMetricConfig = SpectrumMetricConfig()
    checkerboard: CheckerboardConfig = CheckerboardConfig()
    batch_size: Positive = 32

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for name in ("metrics", "lpips_nets", "feature_networks"):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ValueError(f"{name} has duplicates: {list(values)}")
        needs = (("lpips", "lpips_nets"), ("frechet", "feature_networks"), ("kid", "feature_networks"))
        for metric, name in needs:
            if metric in self.metrics and not getattr(self, name):
                raise ValueError(f"metrics has {metric!r}, but {name} is empty: add a network or remove {metric!r}")
        return self


def too_small(
    side: int, networks: tuple[FeatureNetworkName, ...], protocol: EvaluationConfig | None = None
) -> Iterator[tuple[str, str]]:
    """(key, problem) for each metric that does not exist for images of `side` pixels, with the smallest size for which it does.

    `networks` are feature networks; `protocol` adds the metrics of an evaluation of reconstructions.
    """
    needed = [("feature_networks", f"{name} features need", FEATURES_SMALLEST[name]) for name in networks]
    if protocol is not None and "lpips" in protocol.metrics:
        needed += [("lpips_nets", f"LPIPS with {name} needs", LPIPS_SMALLEST[name]) for name in protocol.lpips_nets]
    if protocol is not None and "ssim" in protocol.metrics:
        needed.append(("ssim.sigma", f"SSIM with sigma {protocol.ssim.sigma:g} needs", 2 * protocol.ssim.margin + 1))
    if protocol is not None and "checkerboard" in protocol.metrics:
        period = protocol.checkerboard.period
        needed.append(("checkerboard.period", f"the checkerboard of period {period} needs", 4 * period))
        if side % period:
            text = f"the checkerboard of period {period} needs sides that are multiples of it, these images have {side} pixels"
            yield "checkerboard.period", f"{text}; choose a period that divides {side}, or leave it out"
    for key, who, smallest in needed:
        if side < smallest:
            text = f"{who} images of at least {smallest} x {smallest} pixels, these are {side} x {side}"
            yield key, f"{text}; leave it out, or prepare larger images"


class GeneratorEvaluationConfig(EvaluationConfig):
    """Protocol for images of pix2pix, SPADE or StyleGAN2.

    With conditions, each image is generated from that of a real image of the split, with which it is compared; `n` is
    their number. Without, `n` images are drawn, and compared with all real images of the split.

    - `test_mode: train`: batch statistics and dropout as in training, one image at a time (pix2pix as released);
      `eval`: running statistics, no dropout.
    - `truncation` of StyleGAN2's w towards its average; 1 for none, as in the papers' metrics.
    - `noise` of StyleGAN2: drawn for each image, the model's own, or none.
    - `seed` of latents, noise and dropout.
    - `sets`: further metrics of all images together: `moments` (mean images, variances, average spectra), `real`
      (distance of real training images from the split, for which the reference needs `train`), `inception_score`, and for
      images that are generated from label maps one network that finds labels in them (mIoU and pixel accuracy):
      `drn_d_105` for Cityscapes, images enlarged to 1,024 rows, or `drn_d_105_as_generated`; `upernet_101` for ADE20K.
    """

    sets: tuple[Literal["moments", "real", "inception_score"] | LabelNetworkName, ...] = (
        "moments",
        "real",
        "inception_score",
    )
    test_mode: Literal["train", "eval"] = "eval"
    truncation: Probability = 1.0
    noise: Literal["random", "fixed", "none"] = "random"
    seed: Seed = 0

    @property
    def label_network(self) -> LabelNetworkName | None:
        """The network of `sets` that finds labels in images."""
        return next((name for name in LABELLED_CLASSES if name in self.sets), None)

    @model_validator(mode="after")
    def _one_label_network(self) -> Self:
        if len(named := [name for name in self.sets if name in LABELLED_CLASSES]) > 1:
            raise ValueError(f"sets names the label networks {', '.join(named)}; expected at most one")
        return self


class ReferenceConfig(Schema):
    """Real images whose feature statistics are computed once, for all evaluations that compare with them.

    Each of `images` is a split or `all`, the union of the splits. The first `n` images of each split are used, as in an
    evaluation. `batch_size` affects speed and memory, and values only by rounding.
    """

    images: Annotated[tuple[Literal["train", "val", "test", "all"], ...], Field(min_length=1)] = ("test",)
    n: Positive | Literal["all"] = "all"
    feature_networks: Annotated[tuple[FeatureNetworkName, ...], Field(min_length=1)] = ("inception",)
    batch_size: Positive = 32


class WeightsFileConfig(Schema):
    """One accepted file of a network's pretrained weights, identified by its content."""

    file: str
    sha256: Sha256
    source: str


class WeightsEntryConfig(Schema):
    """Pretrained weights that the user must provide: `files` are alternatives, of which the first one found is used."""

    purpose: str
    files: Annotated[tuple[WeightsFileConfig, ...], Field(min_length=1)]


class WeightsConfig(Schema):
    """`params/weights.yaml`. `folder` is searched first, then `$FAVAE_WEIGHTS`, then `$TORCH_HOME/hub/checkpoints`."""

    folder: str | None = None
    weights: dict[str, WeightsEntryConfig]
