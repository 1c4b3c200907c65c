"""Training StyleGAN2: steps of D and G in either order, lazy regularisation in steps of its own, moving averages."""

import copy

import torch
from torch import Tensor

from favae.config.errors import blaming
from favae.config.stylegan2 import StyleGan2Config
from favae.data.batches import Batch
from favae.data.pixels import side_by_side, to_float
from favae.losses.gan_regularization import PathLengthPenalty, lazy_adam, r1_penalty
from favae.models.style_discriminator import StyleDiscriminator
from favae.models.stylegan2 import StyleGenerator, average_decay
from favae.training.distributed import Ranks
from favae.training.gan import SAMPLES, GanNetworks, GanTask, TrainingData, adam, adversarial_loss, frozen

_ROWS = 4


def build_networks(config: StyleGan2Config) -> GanNetworks:
    """Both networks with fresh weights. Raises BadKey if a constructor refuses its parameters."""
    shared = {name: name for name in ("image_size", "image_channels")}
    return GanNetworks.build(config.model.given(), StyleDiscriminator, config.discriminator.given(), shared)


def build_path_length(config: StyleGan2Config) -> PathLengthPenalty:
    """The path length penalty. Raises BadKey if its constructor refuses the parameters."""
    with blaming("objective", "path_length"):
        given = {k: v for k, v in config.objective.path_length.given().items() if k != "batch_divisor"}
        return PathLengthPenalty(**{"interval": config.objective.path_length.interval, **given})


class StyleGan2Task(GanTask):
    """L_D and L_G non-saturating logistic, + terms between generated and real batch; every k-th step also R1 or path length.

    The moving average of G is exported. It, the mean path length and the average w are modules or buffers, so that a
    resumed run is the same.
    """

    generator: StyleGenerator
    discriminator: StyleDiscriminator

    def __init__(self, config: StyleGan2Config, data: TrainingData, ranks: Ranks) -> None:
        super().__init__(config, build_networks(config), data, ranks)
        self.config, objective, optimizer = config, config.objective, config.optimizer
        self.game = adversarial_loss(objective.adversarial)
        self.penalty = build_path_length(config).to(ranks.device)
        self.average = copy.deepcopy(self.generator).requires_grad_(False).eval()
        self.modules |= {"average": self.average, "path_length": self.penalty}
        intervals = {"generator": objective.path_length.interval, "discriminator": objective.r1.interval}
        constants = {name: lazy_adam(optimizer.lr, k, beta2=optimizer.beta2) for name, k in intervals.items()}
        self.optimizers = {name: adam(self.modules[name], c.lr, c.betas) for name, c in constants.items()}
        self.decay = average_decay(self.batch_size, optimizer.average_half_life)

    def train_step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Main and, when due, lazy steps of both networks, then the moving averages."""
        self.draws.start_step(step)
        self.generator.train()
        real = self.real(batch)
        if self.config.optimizer.order == "d_then_g":
            losses = self._discriminator_steps(real, step) | self._generator_steps(real, step)
        else:
            losses = self._generator_steps(real, step) | self._discriminator_steps(real, step)
        self._follow()
        return {name: loss.detach() for name, loss in losses.items()}

    def _discriminator_steps(self, real: Tensor, step: int) -> dict[str, Tensor]:
        """The main step and, every `interval`-th time, R1 in a step of its own."""
        with torch.no_grad():
            fake = self.generator.synthesis(self._styles("discriminator", step, len(real)))
        losses = {"discriminator": self.game.discriminator(self.discriminator(real), self.discriminator(fake))}
        self.update("discriminator", losses["discriminator"])
        r1 = self.config.objective.r1
        if step % r1.interval == 0:
            seen = real.clone().requires_grad_()
            losses["r1"] = r1_penalty(self.discriminator(seen), seen, r1.gamma, r1.interval)
            self.update("discriminator", losses["r1"])
        return losses

    def _generator_steps(self, real: Tensor, step: int) -> dict[str, Tensor]:
        """The main step and, every `interval`-th time, path length in a step of its own. Terms compare with D's real batch."""
        with frozen(self.discriminator):
            w = self._styles("generator", step, len(real))
            fake = self.generator.synthesis(w)
            losses = {"generator": self.game.generator(self.discriminator(fake))} | self.term_losses(fake, real)
            self.update("generator", torch.stack(list(losses.values())).sum())
        self.generator.mapping.follow(w[:, 0].detach())
        path = self.config.objective.path_length
        if step % path.interval == 0:
            w = self._styles("path", step, max(len(real) // path.batch_divisor, 1))
            fake = self.generator.synthesis(w)
            noise = self.draws.normal("path noise", step, *fake.shape)
            losses["path_length"] = self.penalty(fake, w, noise)
            self.update("generator", losses["path_length"])
        return losses

    def _styles(self, purpose: str, step: int, images: int) -> Tensor:
        """w of each layer, [B,L,W], mixed from two latents with the probability `mixing`."""
        first = self.draws.normal(purpose, step, images, self.generator.z)
        chance, where = self.draws.uniform(f"{purpose} mixing", step, 2)
        if chance >= self.config.objective.mixing:
            return self.generator.styles(first)
        second = self.draws.normal(f"{purpose} second", step, images, self.generator.z)
        return self.generator.styles(first, second, 1 + int(where * (self.generator.layers - 1)))

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the averaged generator towards the trained one; buffers, such as the average w, are copied."""
        for ours, theirs in zip(self.average.parameters(), self.generator.parameters(), strict=True):
            ours.lerp_(theirs, 1.0 - self.decay)
        for mine, other in zip(self.average.buffers(), self.generator.buffers(), strict=True):
            mine.copy_(other)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Distance of the mean images, and ratio of the variances, of as many generated images as val has; empty without
        val. The ratio falls if the generator collapses."""
        rows = self.validation_rows()
        if len(rows) < 2:
            return {}
        generator = torch.Generator().manual_seed(0)
        z = torch.randn(len(rows), self.generator.z, generator=generator).to(self.ranks.device)
        fake = torch.cat([self.average(part, noise="fixed") for part in z.split(self.batch_size)]).clamp(-1, 1)
        assert self.data.val is not None
        real = to_float(self.data.val.images(rows).to(self.ranks.device))
        distance = (fake.mean(0) - real.mean(0)).square().mean()
        return {"mean_distance": float(distance), "variance_ratio": float(fake.var(0).mean() / real.var(0).mean())}

    @torch.no_grad()
    def sample(self) -> Tensor:
        """Images of fixed latents, by the moving average."""
        z = torch.randn(_ROWS * SAMPLES, self.generator.z, generator=torch.Generator().manual_seed(0))
        return side_by_side([self.average(row.to(self.ranks.device), noise="fixed") for row in z.split(SAMPLES)])

    def exported(self) -> dict[str, Tensor]:
        """Weights and buffers of the moving average."""
        return self.average.state_dict()
