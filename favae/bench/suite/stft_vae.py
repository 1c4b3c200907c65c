"""Training the STFT-VAE on digits, compared with a plain PyTorch loop over a DataLoader."""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from PIL import Image
from torch import Tensor
from torch.optim import Adam
from torch.utils.data import DataLoader, TensorDataset

from favae.bench.compare import Case, Work, comparison, largest_difference
from favae.bench.networks import random_digits, stft_vae_spec, stft_vae_task
from favae.bench.plain_vae import PlainStftVae, negative_ssim, stft_distance
from favae.bench.section import Settings
from favae.config.companions import CompanionConfig
from favae.config.dataset import DatasetConfig
from favae.config.kinds.stft_vae import SsimConfig, StftConfig
from favae.data.batches import TrainingBatches
from favae.data.dataset import PreparedSplit
from favae.data.prepare import prepare
from favae.runtime import paths
from favae.runtime.cpu import use_cpu_for_training
from favae.training.companions import learning_rate

_BATCH = 50


def _prepare(digits: Tensor, folder: Path) -> PreparedSplit:
    for split, chosen in (("train", digits), ("val", digits[:1])):
        part = folder / "images" / split
        part.mkdir(parents=True)
        for i, pixels in enumerate(chosen.numpy()):
            Image.fromarray(pixels[0]).save(part / f"{i:06d}.png")
    shards = folder / paths.SHARDS
    shards.mkdir()
    config = {"layout": {"kind": "folder", "root": "images"}, "image_size": 28, "channels": 1}
    prepare(DatasetConfig.model_validate(config), folder, shards, workers=1)
    return PreparedSplit(shards, "train")


class _PlainLoop:
    """Training as in a tutorial: fp32, Adam, a DataLoader in this process, losses read at every step."""

    def __init__(self, config: CompanionConfig, weights: dict[str, Tensor], digits: Tensor) -> None:
        self.config = config
        self.model = PlainStftVae()
        self.model.load_state_dict(weights)
        self.optimizer = Adam(self.model.parameters(), eps=config.optimizer.epsilon)
        images = digits.float() / 255
        self.loader = DataLoader(TensorDataset(images), _BATCH, shuffle=True, drop_last=True)

    def objective(self, image: Tensor, noise: Tensor) -> Tensor:
        """The objective for a batch of images in [0, 1]."""
        restored, kl = self.model(image, noise)
        total = self.config.objective.kl * kl.mean()
        for term in self.config.objective.terms.values():
            if isinstance(term, StftConfig):
                total = total + term.weight * stft_distance(restored, image, term.amplitude, term.phase)
            elif isinstance(term, SsimConfig):
                total = total + term.weight * negative_ssim(restored, image)
            else:
                total = total + term.given().get("weight", 1.0) * (restored - image).square().mean()
        return total

    def epoch(self) -> float:
        """Train on every digit once; returns the mean loss."""
        losses = []
        for step, (image,) in enumerate(self.loader):
            self.optimizer.param_groups[0]["lr"] = learning_rate(self.config.optimizer.schedule, step)
            self.optimizer.zero_grad()
            loss = self.objective(image, torch.randn(len(image), 2))
            loss.backward()
            self.optimizer.step()
            losses.append(loss.item())
        return sum(losses) / len(losses)


class _Ours:
    """One of several trainings that run in parallel with one core each, as `snakemake -c 2` runs the scale."""

    def __init__(self, config: CompanionConfig, shards: Path, device: torch.device) -> None:
        use_cpu_for_training(1)
        torch.manual_seed(0)
        split = PreparedSplit(shards, "train")
        self.task = stft_vae_task(config, device)
        self.batches = TrainingBatches(split, _BATCH, seed=0)

    def epoch(self) -> None:
        """Train on every digit once."""
        source = self.batches.iter_from(0)
        for step in range(self.batches.steps_per_epoch):
            self.task.train_step(next(source), step)
        source.close()  # type: ignore[attr-defined]


_ours: _Ours  # of a worker process


def _start(config: CompanionConfig, shards: Path, device: torch.device) -> None:
    global _ours
    _ours = _Ours(config, shards, device)


def _epoch(_: int) -> None:
    _ours.epoch()


def _case(row: str, precision: str) -> Callable[[Settings], AbstractContextManager[Work]]:
    @contextmanager
    def build(settings: Settings) -> Iterator[Work]:
        digits = random_digits(100 if settings.quick else 2000).images
        trainings = settings.threads if settings.device.type == "cpu" else 1
        with TemporaryDirectory() as name:
            split = _prepare(digits, Path(name))
            torch.manual_seed(1)  # with seed 0 one unit is so close to 0 that rounding decides its sign
            exact = stft_vae_task(stft_vae_spec(row, "fp32"), settings.device)
            weights = {name: value.clone() for name, value in exact.model.state_dict().items()}
            plain = _PlainLoop(exact.config, weights, digits)
            given = (stft_vae_spec(row, precision), Path(name) / paths.SHARDS, settings.device)
            with ProcessPoolExecutor(trainings, get_context("spawn"), _start, given) as workers:

                def run_ours() -> None:
                    list(workers.map(_epoch, range(trainings)))

                def run_peer() -> None:
                    for _ in range(trainings):
                        plain.epoch()

                def agree() -> str:
                    """Gradients of the first step in fp32, from the same weights and noise."""
                    batch = TrainingBatches(split, _BATCH, seed=0).batch(0)
                    torch.manual_seed(1)
                    exact.train_step(batch, 0)
                    torch.manual_seed(1)
                    plain.objective(batch.images.float() / 255, torch.randn(_BATCH, 2)).backward()
                    named = [dict(model.named_parameters()) for model in (exact.model, plain.model)]
                    pairs = [[parameters[key].grad for key in sorted(named[1])] for parameters in named]
                    # A phase jumps by 2 pi where the imaginary part changes its sign, so rounding may change it by 2 pi.
                    rounding = 1e-2 if "stft" in exact.terms else 1e-4
                    said = largest_difference(pairs[0], pairs[1], rounding, "gradients in fp32")  # type: ignore[arg-type]
                    run_ours()
                    return said

                yield Work(run_ours, run_peer, agree)

    return build


SECTION = comparison(
    8,
    "STFT-VAE on digits, one epoch of 2000 images per core",
    [
        Case("mean squared error, bf16", _case("l2", "bf16"), faster=3, measures_memory=False),
        Case("mean squared error, fp32", _case("l2", "fp32"), faster=3, measures_memory=False),
        Case("SSIM and short-time Fourier loss, bf16", _case("stft-ssim", "bf16"), faster=3, measures_memory=False),
    ],
    "Peer: `favae.bench.plain_vae`: transposed convolutions and full complex spectra, fp32, a loop over a `DataLoader`, one training "
    "after the other on all cores. Ours: one training per core, in parallel, as in the scale `stft`, with its bf16 (convolutions "
    "only; losses are fp32). Batch 50, the learning rates of the paper.",
    devices=("cpu",),
)
