"""One full training step, generator and discriminator, compared with the same step as in the official code."""

from collections.abc import Iterator
from contextlib import contextmanager

from favae.bench.compare import Case, Disagreement, Work, comparison, largest_difference
from favae.bench.networks import random_batch, training_spec, training_task, twin
from favae.bench.official import OfficialStep
from favae.bench.section import Settings
from favae.config.favae import DynamicSpectrumConfig, FavaeConfig
from favae.data.pixels import to_float
from favae.training.autoencoder import AutoencoderTask

_COMPARED = ("l1", "lpips", "image_ffl", "spectrum", "commitment", "adversarial", "adaptive_weight")
_OF_THE_IMAGE = ("l1", "lpips", "image_ffl")
_ROUNDING = 5e-2  # of a loss in 16 bits, which also gives some latents to other codes
_BATCH = 8
FAST = {"precision": "bf16", "memory_format": "channels_last", "compile": True}


def official(task: AutoencoderTask, config: FavaeConfig) -> OfficialStep:
    """The official step from the weights of a task."""
    model, discriminator = twin(task)
    spectrum, optimizer = config.objective.spectrum, config.optimizer
    assert isinstance(spectrum, DynamicSpectrumConfig) and task.lpips is not None
    return OfficialStep(
        model,
        discriminator,
        task.lpips,
        kernel_size=spectrum.kernel_size,
        rate=optimizer.learning_rate(config.training.batch_size),
        betas=optimizer.betas,
        adversarial_weight=config.objective.adversarial.weight,
    )


def _check(mine: float, theirs: float, tolerance: float, name: str) -> None:
    if not abs(mine - theirs) <= tolerance * max(abs(theirs), 1e-6):
        raise Disagreement(f"{name} is {mine} against {theirs}")


@contextmanager
def _build(settings: Settings) -> Iterator[Work]:
    config = training_spec(settings.quick)
    task = training_task(config, settings.device)
    peer, side = official(task, config), config.model.image_size
    batch, small = random_batch(1, side), random_batch(1, max(side // 2, 32))
    image, small_image = (to_float(b.images.to(settings.device)) for b in (batch, small))

    def agree() -> str:
        """The first step from the same weights on a smaller image: losses and gradients of the generator."""
        mine, theirs = task.train_step(small, 0), peer.train_step(small_image)
        for name in _COMPARED:
            _check(float(mine[name]), theirs[name], 1e-3, name)
        ours, official = ([p.grad for p in m.parameters() if p.grad is not None] for m in (task.model, peer.model))
        return "losses within 1e-3, " + largest_difference(ours, official, 2e-2, "gradients")

    yield Work(lambda: task.train_step(batch, 0), lambda: peer.train_step(image), agree)


@contextmanager
def _build_fast(settings: Settings) -> Iterator[Work]:
    count = 2 if settings.quick else _BATCH
    config = training_spec(settings.quick, training=FAST | {"batch_size": count})
    task = training_task(config, settings.device)
    peer, batch = official(task, config), random_batch(count, config.model.image_size)
    image = to_float(batch.images.to(settings.device))

    def agree() -> str:
        """Losses on the image in the first step from the same weights, in 16 bits against fp32."""
        mine, theirs = task.train_step(batch, 0), peer.train_step(image)
        for name in _OF_THE_IMAGE:
            _check(float(mine[name]), theirs[name], _ROUNDING, name)
        return f"losses on the image within {_ROUNDING:g}, as 16 bits allow"

    yield Work(lambda: task.train_step(batch, 0), lambda: peer.train_step(image), agree)


SECTION = comparison(
    4,
    "Training step of FA-VAE f = 16 at 256 pixels",
    [
        Case("generator and discriminator, batch 1, fp32", _build, faster=1.3),
        Case(
            f"the same, batch {_BATCH}: ours in bf16, channels last, compiled",
            _build_fast,
            faster_on_gpu=3,
            devices=("cuda",),
        ),
    ],
    "Peer: `favae.bench.official.OfficialStep` with the same networks, and LPIPS-VGG with random weights in both. Agreement is "
    "that of the generator's losses and gradients in the first step. The discriminators differ by design, because the peer computes "
    "the reconstruction again after the generator's update (here an option, `adversarial.reconstruction: recompute`). "
    "Two thirds or more of either step are convolutions of the same networks; see the profile below.",
)
