"""Training the autoencoders of the companion papers: one network, one optimiser, a sum of terms and the KL divergence."""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from favae.config.companions import (
    CompanionConfig,
    ConstantRateConfig,
    CyclicRateConfig,
)
from favae.config.errors import blaming
from favae.data.batches import Batch
from favae.data.dataset import PreparedSplit, iterate_batches
from favae.data.pixels import side_by_side, to_float
from favae.models import LatentModel, build_autoencoder
from favae.pretrained.stft_vae import load_stft_vae
from favae.training.distributed import ImageMeans, Ranks, average_gradients
from favae.training.terms import build_terms

_SAMPLES = 8


def learning_rate(schedule: ConstantRateConfig | CyclicRateConfig, step: int) -> float:
    """Learning rate of step 0, 1, 2, ...: constant, or a triangle whose height is halved in each cycle (Smith 2017,
    "triangular2")."""
    if isinstance(schedule, ConstantRateConfig):
        return schedule.rate
    cycle, position = divmod(step, 2 * schedule.step_size)
    height = 1 - abs(position / schedule.step_size - 1)
    scale = 0.5**cycle if schedule.decay == "halving" else 1.0
    return schedule.minimum + (schedule.maximum - schedule.minimum) * height * scale


def drawn_latents(n: int, size: int, seed: int = 0) -> Tensor:
    """n latents from N(0, 1), [n, size], the same on every machine and for every model with this latent size."""
    return torch.randn(n, size, generator=torch.Generator().manual_seed(seed))


def build_model(config: CompanionConfig) -> LatentModel:
    """The network with fresh weights, on the default device. Raises BadKey if its constructor refuses the parameters."""
    with blaming("model"):
        return cast(LatentModel, build_autoencoder(config.model.given()))


def data_range(config: CompanionConfig) -> float:
    """Range of the scale on which the objective compares images: 1 for [0, 1], 2 for [-1, 1]."""
    return 1.0 if config.objective.scale == "unit" else 2.0


class VaeTask:
    """L = sum of terms(output, image) + kl KL(q(z|x) || N(0, 1)), with one sample of z per image.

    `val` is None if a paper has no validation set; then there is no validation, and samples show training images.
    """

    def __init__(self, config: CompanionConfig, train: PreparedSplit, val: PreparedSplit | None, ranks: Ranks) -> None:
        if val is None and config.training.selection == "best":
            raise ValueError("the data set has no val split, which training.selection 'best' needs: set it to 'last'")
        self.config, self.val, self.ranks = config, val, ranks
        self.shown = train if val is None else val
        self.model = build_model(config).to(ranks.device)
        if config.weights is not None:
            self.model.load_state_dict(load_stft_vae(config.weights))
        if config.training.memory_format == "channels_last":
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.terms = nn.ModuleDict(build_terms(config.objective.terms, data_range(config))).to(ranks.device)
        self.modules: Mapping[str, nn.Module] = {"model": self.model}
        self.forward = torch.compile(self.model) if config.training.compile else self.model
        adam = Adam(
            self.model.parameters(),
            lr=learning_rate(config.optimizer.schedule, 0),
            betas=config.optimizer.betas,
            eps=config.optimizer.epsilon,
            fused=True,
        )
        self.optimizers: Mapping[str, Optimizer] = {"adam": adam}

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.ranks.device.type, torch.bfloat16, enabled=self.config.training.precision == "bf16")

    def _on_scale(self, image: Tensor) -> Tensor:
        """Convert images in [-1, 1] to the scale of the objective."""
        return (image + 1) / 2 if self.config.objective.scale == "unit" else image

    def _objective(self, image: Tensor, noise: Tensor | None) -> dict[str, Tensor]:
        """All terms of L and, as `objective`, their sum."""
        with self._autocast():
            output, posterior = self.forward(image, noise)
        ours, theirs = self._on_scale(output.float()), self._on_scale(image)
        losses: dict[str, Tensor] = {name: term(ours, theirs) for name, term in self.terms.items()}
        total = torch.stack(list(losses.values())).sum()
        if posterior is not None:
            losses["kl"] = posterior.kl().mean()  # in nats, unweighted
            total = total + self.config.objective.kl * losses["kl"]
        return losses | {"objective": total}

    def _noise(self, n: int) -> Tensor | None:
        return torch.randn(n, self.model.latent, device=self.ranks.device) if self.model.latent else None

    def train_step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """One Adam step."""
        optimizer = self.optimizers["adam"]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(self.config.optimizer.schedule, step)
        self.model.train()
        image = to_float(batch.images.to(self.ranks.device, non_blocking=True))
        losses = self._objective(image, self._noise(len(image)))
        optimizer.zero_grad()
        losses["objective"].backward()
        average_gradients(self.model.parameters())
        optimizer.step()
        return {name: loss.detach() for name, loss in losses.items()}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """All terms on val, with the mean of z; empty without val."""
        if self.val is None:
            return {}
        self.model.eval()
        means, size = ImageMeans(), self.config.training.batch_size
        for _, stored in iterate_batches(self.val, size, self.ranks.rank, self.ranks.world_size):
            means.add(self._objective(to_float(stored.to(self.ranks.device)), None), len(stored))
        return means.result()

    @torch.no_grad()
    def sample(self) -> Tensor:
        """Images above their reconstructions, and above images of latents drawn from N(0, 1) if the model is variational."""
        self.model.eval()
        chosen = torch.linspace(0, len(self.shown) - 1, min(_SAMPLES, len(self.shown))).long().tolist()
        image = to_float(self.shown.images(chosen).to(self.ranks.device))
        rows = [image, self.model.reconstruct(image)]
        if self.model.latent:
            rows.append(self.model.decode(drawn_latents(len(chosen), self.model.latent).to(self.ranks.device)))
        return side_by_side(rows)

    def exported(self) -> dict[str, Tensor]:
        """The model's weights."""
        return self.model.state_dict()
