"""What the trainings of pix2pix, SPADE and StyleGAN2 share.

Everything that a resumed run needs is a parameter or buffer of `modules`, or a function of the step: random numbers are
drawn anew from (seed, step) in each step, so that ranks draw different ones and a resumed run draws the same.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from favae.config.errors import blaming
from favae.config.gan import GanLossConfig, GeneratorTrainingConfig, LinearDecayConfig, PairOptimizerConfig
from favae.config.pairs import ConditionConfig
from favae.data.batches import Batch
from favae.data.conditions import network_input
from favae.data.dataset import PreparedSplit
from favae.data.pixels import to_float
from favae.losses.adversarial import AdversarialLoss
from favae.losses.gan import build_gan_loss
from favae.models.generators import build_generator, complete
from favae.training.decay import linear_decay
from favae.training.distributed import Ranks, average_gradients
from favae.training.terms import build_terms

SAMPLES = 8


class GanNetworks(NamedTuple):
    """The networks that the parameters of a training describe."""

    generator: nn.Module
    discriminator: nn.Module

    @classmethod
    def build(
        cls,
        model: Mapping[str, Any],
        discriminator: Callable[..., nn.Module],
        given: Mapping[str, Any],
        shared: Mapping[str, str],
    ) -> "GanNetworks":
        """Both networks with fresh weights.

        Args:
            model: the block `model`.
            discriminator: its class.
            given: the block `discriminator`.
            shared: arguments of the discriminator that follow from the generator, by its name of them.

        Raises:
            BadKey: a constructor refuses its parameters.
        """
        complete_model = complete(model)
        with blaming("model"):
            generator = build_generator(model)
        with blaming("discriminator"):
            follows = {name: complete_model[of_generator] for name, of_generator in shared.items()}
            return cls(generator, discriminator(**follows, **given))


@dataclass(frozen=True)
class TrainingData:
    """Splits of the data set, and the condition of its pairs (None: images alone). `val` is None if there is none.

    `size` is that of the network's images, None if the stored ones have it; larger ones are cut in the middle to be shown.
    """

    train: PreparedSplit
    val: PreparedSplit | None = None
    condition: ConditionConfig | None = None
    size: tuple[int, int] | None = None

    @property
    def shown(self) -> PreparedSplit:
        """The split of which samples show images."""
        return self.train if self.val is None else self.val

    @property
    def sample_rows(self) -> list[int]:
        """Rows of that split, evenly spaced."""
        count = len(self.shown)
        return torch.linspace(0, count - 1, min(SAMPLES, count)).long().tolist()

    def pairs(self, split: PreparedSplit, rows: list[int], device: torch.device) -> tuple[Tensor, Tensor]:
        """Network input and real images of some rows of a paired split."""
        stored = self.stored(split, rows).to(device)
        channels = split.planes["image"]
        return self.input_of(stored[:, channels:]), to_float(stored[:, :channels])

    def stored(self, split: PreparedSplit, rows: list[int]) -> Tensor:
        """All planes of some rows at the network's size."""
        stored = split.stored(rows)
        height, width = self.size or stored.shape[2:]
        top, left = (stored.shape[2] - height) // 2, (stored.shape[3] - width) // 2
        return stored[:, :, top : top + height, left : left + width]

    def input_of(self, stored_BKHW: Tensor) -> Tensor:
        """Stored planes of conditions as network input."""
        assert self.condition is not None
        return network_input(stored_BKHW, self.condition)


class Draws:
    """Random numbers as functions of (seed, purpose, step), drawn for the batch of all ranks, of which each takes its part."""

    def __init__(self, seed: int, ranks: Ranks) -> None:
        self._seed, self._ranks = seed, ranks

    def start_step(self, step: int) -> None:
        """Seed what layers draw by themselves (dropout, noise): differently on each rank."""
        torch.manual_seed(self._number("step", step, self._ranks.rank))

    def normal(self, purpose: str, step: int, *shape: int) -> Tensor:
        """N(0, 1) of `shape`, whose first axis is this rank's images. Drawn on the device: a copy from the host would wait for
        it, and the noise of a path length has as many numbers as the images."""
        device = self._ranks.device
        generator = torch.Generator(device).manual_seed(self._number(purpose, step))
        drawn = torch.randn(shape[0] * self._ranks.world_size, *shape[1:], generator=generator, device=device)
        return drawn.chunk(self._ranks.world_size)[self._ranks.rank]

    def uniform(self, purpose: str, step: int, count: int) -> list[float]:
        """`count` numbers in [0, 1), the same on every rank."""
        generator = torch.Generator().manual_seed(self._number(purpose, step))
        return torch.rand(count, generator=generator, dtype=torch.float64).tolist()

    def _number(self, *key: str | int) -> int:
        words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in key]
        return int(np.random.SeedSequence([self._seed, *words]).generate_state(1, np.uint64)[0] >> np.uint64(1))


class GanTask:
    """Base of the three tasks: networks, optimisers, terms, and an update that averages gradients over ranks."""

    modules: dict[str, nn.Module]
    optimizers: dict[str, Optimizer]

    def __init__(
        self, config: GeneratorTrainingConfig, networks: GanNetworks, data: TrainingData, ranks: Ranks
    ) -> None:
        self.data, self.ranks = data, ranks
        self.draws = Draws(config.training.seed, ranks)
        self.generator = networks.generator.to(ranks.device)
        self.discriminator = networks.discriminator.to(ranks.device)
        self.terms = nn.ModuleDict(build_terms(config.objective.terms, 2.0)).to(ranks.device)
        self.modules = {"generator": self.generator, "discriminator": self.discriminator}
        self.batch_size = config.training.batch_size
        self.validation_images = config.training.validation_images

    def real(self, batch: Batch) -> Tensor:
        """The batch's images on the device, in [-1, 1]."""
        return to_float(batch.images.to(self.ranks.device, non_blocking=True))

    def condition(self, batch: Batch) -> Tensor:
        """The batch's conditions on the device, as network input."""
        if batch.condition is None:
            raise ValueError("the data set has no conditions; train this model on a data set with layout.kind pairs")
        return self.data.input_of(batch.condition.to(self.ranks.device, non_blocking=True))

    def term_losses(self, fake: Tensor, real: Tensor) -> dict[str, Tensor]:
        """All terms, weighted, by name."""
        return {name: term(fake, real) for name, term in self.terms.items()}

    def update(self, name: str, loss: Tensor) -> None:
        """One step of an optimiser down the gradient of `loss`, averaged over ranks."""
        optimizer = self.optimizers[name]
        optimizer.zero_grad()
        loss.backward()
        average_gradients(p for group in optimizer.param_groups for p in group["params"])
        optimizer.step()

    def validation_rows(self) -> list[int]:
        """The rows of val that are validated; empty without val. Every rank measures all of them, so results agree."""
        if self.data.val is None:
            return []
        return list(range(min(len(self.data.val), self.validation_images or len(self.data.val))))

    def exported(self) -> dict[str, Tensor]:
        """The generator's weights and buffers."""
        return self.generator.state_dict()


class TranslationTask(GanTask):
    """Base of pix2pix and SPADE: Adam with a rate of its own for each network, both rates decayed alike."""

    def __init__(
        self,
        config: GeneratorTrainingConfig,
        networks: GanNetworks,
        data: TrainingData,
        ranks: Ranks,
        adversarial: GanLossConfig,
        optimizer: PairOptimizerConfig,
    ) -> None:
        super().__init__(config, networks, data, ranks)
        self.game = adversarial_loss(adversarial)
        self.schedule = optimizer.schedule
        self.rates = {"generator": optimizer.generator_lr, "discriminator": optimizer.discriminator_lr}
        self.optimizers = {name: adam(self.modules[name], rate, optimizer.betas) for name, rate in self.rates.items()}

    def begin(self, batch: Batch, step: int) -> tuple[Tensor, Tensor]:
        """Set learning rates, random numbers and the generator's mode for a step; conditions and real images of its batch."""
        factor = decay_at(self.schedule, step, len(self.data.train), self.batch_size)
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = factor * self.rates[name]
        self.draws.start_step(step)
        self.generator.train()
        return self.condition(batch), self.real(batch)


def adversarial_loss(config: GanLossConfig) -> AdversarialLoss:
    """The losses of both networks. Raises BadKey if their constructor refuses the parameters."""
    with blaming("objective", "adversarial"):
        return build_gan_loss(**config.given())


def adam(module: nn.Module, lr: float, betas: tuple[float, float]) -> Adam:
    """Adam for all parameters of a network."""
    return Adam(module.parameters(), lr=lr, betas=betas, fused=True)


def decay_at(schedule: LinearDecayConfig, step: int, images: int, batch_size: int) -> float:
    """Factor on the learning rate at a step, with `images` in the training split."""
    return linear_decay(epoch=step // (images // batch_size) + 1, **schedule.given())


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Context manager: no gradients for the parameters of a network, so that they are not computed."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)
