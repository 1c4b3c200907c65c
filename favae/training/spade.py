"""Training SPADE: a step of G, then a step of D on an image that the updated G generates anew."""

import torch
from torch import Tensor

from favae.config.errors import blaming
from favae.config.spade import SpadeConfig
from favae.data.batches import Batch
from favae.data.conditions import shown
from favae.data.pixels import side_by_side
from favae.losses.gan import feature_matching_loss, mean_over_scales
from favae.models.generators import build_generator, complete
from favae.models.spade import MultiscaleDiscriminator
from favae.training.distributed import ImageMeans, Ranks
from favae.training.gan import (
    SAMPLES,
    GanNetworks,
    GanTask,
    TrainingData,
    adam,
    adversarial_loss,
    decay_at,
    frozen,
    set_rates,
)


def build_networks(config: SpadeConfig) -> GanNetworks:
    """Both networks with fresh weights. Raises BadKey if a constructor refuses its parameters."""
    model = complete(config.model.given())
    with blaming("model"):
        generator = build_generator(config.model.given())
    with blaming("discriminator"):
        channels = {"map_channels": model["map_channels"], "image_channels": model["out_channels"]}
        discriminator = MultiscaleDiscriminator(**channels, **config.discriminator.given())
    return GanNetworks(generator, discriminator)


class SpadeTask(GanTask):
    """L_D = hinge, L_G = L_GAN + feature_matching L_FM + sum of terms(G(map), image), each averaged over scales."""

    discriminator: MultiscaleDiscriminator

    def __init__(self, config: SpadeConfig, data: TrainingData, ranks: Ranks) -> None:
        super().__init__(config, build_networks(config), data, ranks)
        self.config, optimizer = config, config.optimizer
        self.game = adversarial_loss(config.objective.adversarial)
        self.rates = {"generator": optimizer.generator_lr, "discriminator": optimizer.discriminator_lr}
        self.optimizers = {name: adam(self.modules[name], rate, optimizer.betas) for name, rate in self.rates.items()}

    def train_step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """A step of G, then a step of D. Running statistics of G are updated twice, as in the released code."""
        factor = decay_at(self.config.optimizer.schedule, step, len(self.data.train), self.batch_size)
        set_rates(self.optimizers, self.rates, factor)
        self.draws.start_step(step)
        self.generator.train()
        maps, real = self.condition(batch), self.real(batch)
        losses = self._generator_step(maps, real)
        with torch.no_grad():
            fake = self.generator(maps)
        of_fake, of_real = self.discriminator.both(maps, fake, real)
        logits = [[layers[-1] for layers in scales] for scales in (of_real, of_fake)]
        losses["discriminator"] = mean_over_scales(self.game.discriminator, *logits)
        self.update("discriminator", losses["discriminator"])
        return {name: loss.detach() for name, loss in losses.items()}

    def _generator_step(self, maps: Tensor, real: Tensor) -> dict[str, Tensor]:
        with frozen(self.discriminator):
            fake = self.generator(maps)
            of_fake, of_real = self.discriminator.both(maps, fake, real)
            losses = {"generator": mean_over_scales(self.game.generator, [layers[-1] for layers in of_fake])}
            if weight := self.config.objective.feature_matching:
                losses["feature_matching"] = weight * feature_matching_loss(of_real, of_fake)
            losses |= self.term_losses(fake, real)
            self.update("generator", torch.stack(list(losses.values())).sum())
        return losses

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """L1 and the terms on val, with running statistics, as the published code tests; empty without val."""
        if not (rows := self.validation_rows()):
            return {}
        self.generator.eval()
        means = ImageMeans()
        for first in range(0, len(rows), self.batch_size):
            chosen = rows[first : first + self.batch_size]
            maps, real = self.data.pairs(self.data.shown, chosen, self.ranks.device)
            fake = self.generator(maps)
            means.add({"l1": (fake - real).abs().mean()} | self.term_losses(fake, real), len(chosen))
        return means.result()

    @torch.no_grad()
    def sample(self) -> Tensor:
        """Some label maps, above what is generated from them, above the real images."""
        split = self.data.shown
        rows = torch.linspace(0, len(split) - 1, min(SAMPLES, len(split))).long().tolist()
        stored = self.data.stored(split, rows)[:, split.planes["image"] :].to(self.ranks.device)
        maps, real = self.data.pairs(split, rows, self.ranks.device)
        self.generator.eval()
        assert self.data.condition is not None
        return side_by_side([shown(stored, self.data.condition), self.generator(maps), real])
