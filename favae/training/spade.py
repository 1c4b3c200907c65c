"""Training SPADE: a step of G, then a step of D on an image that the updated G generates anew."""

import torch
from torch import Tensor

from favae.config.spade import SpadeConfig
from favae.data.batches import Batch
from favae.data.conditions import shown
from favae.data.pixels import side_by_side
from favae.losses.gan import feature_matching_loss, mean_over_scales
from favae.models.spade import MultiscaleDiscriminator
from favae.training.distributed import ImageMeans, Ranks
from favae.training.gan import GanNetworks, TrainingData, TranslationTask, frozen


def build_networks(config: SpadeConfig) -> GanNetworks:
    """Both networks with fresh weights. Raises BadKey if a constructor refuses its parameters."""
    shared = {"map_channels": "map_channels", "image_channels": "out_channels"}
    return GanNetworks.build(config.model.given(), MultiscaleDiscriminator, config.discriminator.given(), shared)


class SpadeTask(TranslationTask):
    """L_D = hinge, L_G = L_GAN + feature_matching L_FM + sum of terms(G(map), image), each averaged over scales."""

    discriminator: MultiscaleDiscriminator

    def __init__(self, config: SpadeConfig, data: TrainingData, ranks: Ranks) -> None:
        objective = config.objective
        super().__init__(config, build_networks(config), data, ranks, objective.adversarial, config.optimizer)
        self.feature_matching = objective.feature_matching

    def train_step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """A step of G, then a step of D. Running statistics of G are updated twice, as in the released code."""
        maps, real = self.begin(batch, step)
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
            if self.feature_matching:
                losses["feature_matching"] = self.feature_matching * feature_matching_loss(of_real, of_fake)
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
        split, rows = self.data.shown, self.data.sample_rows
        stored = self.data.stored(split, rows)[:, split.planes["image"] :].to(self.ranks.device)
        maps, real = self.data.pairs(split, rows, self.ranks.device)
        self.generator.eval()
        assert self.data.condition is not None
        return side_by_side([shown(stored, self.data.condition), self.generator(maps), real])
