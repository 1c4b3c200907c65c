"""Evaluation of reconstructions in one pass, compared with tools that each read images from disk."""

import contextlib
import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from favae.bench.compare import Case, Disagreement, Work, comparison
from favae.bench.networks import demo_model, random_batch
from favae.bench.section import Settings
from favae.config.evaluation import EvaluationConfig, Metric
from favae.data.pixels import to_float, to_uint8
from favae.evaluation.evaluators import ReconstructionEvaluator
from favae.evaluation.spectrum import RadialSpectrum
from favae.inference.export import load_autoencoder, save_weights
from favae.models import FAVAE
from favae.pretrained.features import RandomConvFeatures
from favae.runtime.torchvision import ensure_torchvision

_METRICS: tuple[Metric, ...] = ("l1", "mse", "psnr", "ssim", "lfd", "log_spectral_error", "codebook", "frechet")
_BATCH = 8


class _FidNetwork(nn.Module):
    """Features in the form that pytorch-fid expects."""

    def __init__(self) -> None:
        super().__init__()
        self.network = RandomConvFeatures()

    def forward(self, image_BCHW: Tensor) -> list[Tensor]:
        """Images in [0, 1] -> one map [B, D, 1, 1]."""
        return [self.network(image_BCHW)[:, :, None, None]]


class _Tools:
    """Write originals and reconstructions as PNG, then measure with scikit-image, NumPy and pytorch-fid."""

    def __init__(self, folder: Path, protocol: EvaluationConfig, side: int) -> None:
        self.original, self.reconstruction = folder / "original", folder / "reconstruction"
        for part in (self.original, self.reconstruction):
            part.mkdir()
        self.network = _FidNetwork().eval()
        self.rings = RadialSpectrum(side, side, protocol.spectrum)

    def write(self, first: int, images: Tensor, reconstructions: Tensor) -> None:
        """Write both batches as PNG files."""
        stored = images.permute(0, 2, 3, 1).numpy(), to_uint8(reconstructions).numpy()
        for folder, batch in zip((self.original, self.reconstruction), stored, strict=True):
            for i, image in enumerate(batch, first):
                Image.fromarray(image).save(folder / f"{i:06d}.png")

    def _pairs(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for path in sorted(self.original.iterdir()):
            yield tuple(np.asarray(Image.open(f / path.name)) for f in (self.original, self.reconstruction))  # type: ignore[misc]

    def measure(self) -> dict[str, float]:
        """Every metric by its tool; each tool reads the files again."""
        from skimage.metrics import peak_signal_noise_ratio, structural_similarity

        window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        return {
            "l1": self._mean(lambda a, b: np.abs(a / 127.5 - b / 127.5).mean()),
            "mse": self._mean(lambda a, b: np.square(a / 127.5 - b / 127.5).mean()),
            "psnr": self._mean(lambda a, b: peak_signal_noise_ratio(a, b, data_range=255)),
            "ssim": self._mean(lambda a, b: structural_similarity(a, b, channel_axis=2, data_range=255, **window)),
            "lfd": self._mean(self._lfd),
            "log_spectral_error_high": self._mean(self._spectral_error),
            "rfd_randconv": self._frechet(),
        }

    def _mean(self, metric: Callable[[np.ndarray, np.ndarray], float]) -> float:
        return float(np.mean([metric(a, b) for a, b in self._pairs()]))

    @staticmethod
    def _lfd(a: np.ndarray, b: np.ndarray) -> float:
        """LFD as the focal frequency loss paper defines it, from the spectra of both images."""
        distance = np.abs(np.fft.fft2(a, axes=(0, 1)) - np.fft.fft2(b, axes=(0, 1))) ** 2
        return float(np.log(distance.mean() + 1))

    def _spectral_error(self, a: np.ndarray, b: np.ndarray) -> float:
        levels = [torch.from_numpy(np.array(x)).permute(2, 0, 1)[None].float() for x in (a, b)]
        return float(self.rings.update(*levels)["high"])

    def _frechet(self) -> float:
        ensure_torchvision()
        from pytorch_fid.fid_score import calculate_activation_statistics, calculate_frechet_distance

        statistics: list[np.ndarray] = []
        dimension = RandomConvFeatures.dimension
        with contextlib.redirect_stderr(io.StringIO()):  # a progress bar
            for folder in (self.original, self.reconstruction):
                files = sorted(folder.iterdir())
                statistics += calculate_activation_statistics(files, self.network, _BATCH, dimension, "cpu", 0)
        return float(calculate_frechet_distance(*statistics))


def _as_loaded(model: FAVAE) -> FAVAE:
    """The model saved and loaded, as every stage loads it."""
    with TemporaryDirectory() as folder:
        save_weights(
            Path(folder), model.state_dict(), {"kind": "autoencoder", "model": {"kind": model.kind, **model.config}}
        )
        return load_autoencoder(Path(folder))


def _case(
    count: int, side: int, model_of: Callable[[bool], FAVAE] | None
) -> Callable[[Settings], AbstractContextManager[Work]]:
    """`model_of` makes the model, given `quick`. None: only the metrics are measured, on given reconstructions."""

    @contextmanager
    def build(settings: Settings) -> Iterator[Work]:
        model = model_of(settings.quick) if model_of else None
        loaded = None if model is None else _as_loaded(model)
        size = 32 if settings.quick else side
        metrics = _METRICS if model else tuple(m for m in _METRICS if m != "codebook")
        protocol = EvaluationConfig(metrics=metrics, feature_networks=("randconv",), batch_size=_BATCH)
        codes = model.quantizer.codes if model else None
        generator = torch.Generator().manual_seed(0)
        smooth = random_batch(_BATCH, size).images
        given = to_float(smooth) + 0.05 * torch.randn(smooth.shape, generator=generator)

        def stored() -> Iterator[Tensor]:
            """Images as read from a shard; none is cached."""
            for first in range(0, _BATCH if settings.quick else count, _BATCH):
                yield smooth.roll(7 * first, -1)

        @torch.inference_mode()
        def through(model: FAVAE | None, images: Tensor) -> tuple[Tensor, Tensor | None]:
            if model is None:
                return given, None
            quantized = model.quantize(model.encode(to_float(images)).z, update_codebook=False)
            return model.decode(quantized.z).image, quantized.indices

        def run_ours() -> dict[str, float | None]:
            evaluator = ReconstructionEvaluator(protocol, codebook_size=codes)
            for images in stored():
                evaluator.update(images, *through(loaded, images))
            return {name.removesuffix("_test"): result["value"] for name, result in evaluator.result().items()}

        def run_peer() -> dict[str, float]:
            with TemporaryDirectory() as folder:
                tools = _Tools(Path(folder), protocol, size)
                for number, images in enumerate(stored()):
                    tools.write(number * _BATCH, images, through(model, images)[0])
                return tools.measure()

        yield Work(run_ours, run_peer, lambda: _agree(run_ours(), run_peer()))

    return build


def _agree(ours: dict[str, float | None], peer: dict[str, float]) -> str:
    differences = []
    for name, theirs in peer.items():
        mine = ours[name]
        if mine is None:
            raise Disagreement(f"{name} was not measured")
        differences.append(abs(mine - theirs) / max(abs(theirs), 1e-3))
    if not all(difference <= 1e-2 for difference in differences):
        raise Disagreement(f"metrics differ: {ours} against {peer}")
    return f"{len(peer)} metrics within {max(differences):.0e}"


SECTION = comparison(
    6,
    "Evaluation of reconstructions",
    [
        Case("encode, decode, metrics: the demo's model, 48 pixels, 250 images", _case(250, 48, demo_model), faster=2),
        Case("the same, 1000 images", _case(1000, 48, demo_model), faster=2),
        Case("only metrics, 256 pixels, 24 images", _case(24, 256, None), faster=2, measures_memory=False),
    ],
    "Peer: originals and reconstructions are written as PNG and read again by scikit-image, NumPy and pytorch-fid for each metric. "
    "Encoding and decoding are the same in both; with the paper's model, which takes seconds per image on a CPU, they would take "
    "almost all of the time. Networks with pretrained weights (LPIPS, Inception) are left out for the same reason; Frechet distances "
    "use `randconv`. Our memory must not grow with the number of images; the peer keeps its images on disk and processes one at a "
    f"time, ours {_BATCH}.",
    devices=("cpu",),
)
