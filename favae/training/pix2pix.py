"""Training pix2pix: one forward pass of G, a step of D, then a step of G through the updated D with the same image."""

import torch
from torch import Tensor

from favae.config.pix2pix import Pix2PixConfig
from favae.data.batches import Batch
from favae.data.pixels import side_by_side
from favae.models.pix2pix import PairDiscriminator, in_test_mode
from favae.models.sync_batch_norm import synchronised
from favae.training.distributed import Ranks
from favae.training.gan import GanNetworks, TrainingData, TranslationTask, frozen


def build_networks(config: Pix2PixConfig) -> GanNetworks:
    """Both networks with fresh weights. Raises BadKey if a constructor refuses its parameters."""
    shared = {name: name for name in ("in_channels", "out_channels")}
    return GanNetworks.build(config.model.given(), PairDiscriminator, config.discriminator.given(), shared)


class Pix2PixTask(TranslationTask):
    """L_D = half of its two terms, L_G = L_GAN + sum of terms(G(A), B). Batch statistics are those of all ranks."""

    def __init__(self, config: Pix2PixConfig, data: TrainingData, ranks: Ranks) -> None:
        networks = GanNetworks(*map(synchronised, build_networks(config)))
        super().__init__(config, networks, data, ranks, config.objective.adversarial, config.optimizer)

    def train_step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """A step of D, then a step of G."""
        condition, real = self.begin(batch, step)
        fake = self.generator(condition)
        judged = self.discriminator(condition, real), self.discriminator(condition, fake.detach())
        losses = {"discriminator": self.game.discriminator(*judged)}
        self.update("discriminator", losses["discriminator"])
        with frozen(self.discriminator):
            losses |= {"generator": self.game.generator(self.discriminator(condition, fake))}
            losses |= self.term_losses(fake, real)
            self.update("generator", torch.stack([v for n, v in losses.items() if n != "discriminator"]).sum())
        return {name: loss.detach() for name, loss in losses.items()}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """L1 and the terms on val, one image at a time and in train mode, as the published code tests; empty without val."""
        rows, sums = self.validation_rows(), dict[str, float]()
        torch.manual_seed(0)  # of dropout; training draws anew in each step
        with in_test_mode(self.generator, "train"):
            for row in rows:
                condition, real = self.data.pairs(self.data.shown, [row], self.ranks.device)
                fake = self.generator(condition)
                for name, loss in ({"l1": (fake - real).abs().mean()} | self.term_losses(fake, real)).items():
                    sums[name] = sums.get(name, 0.0) + float(loss) / len(rows)
        return sums

    @torch.no_grad()
    def sample(self) -> Tensor:
        """Some conditions (if they are images), above what is generated from them, above the real images."""
        condition, real = self.data.pairs(self.data.shown, self.data.sample_rows, self.ranks.device)
        torch.manual_seed(0)
        with in_test_mode(self.generator, "train"):
            fake = torch.cat([self.generator(one) for one in condition.split(1)])
        return side_by_side([condition[:, :3], fake, real])
