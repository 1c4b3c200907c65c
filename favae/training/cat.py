"""Training CAT on the tokens of a frozen FA-VAE."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from favae.config.cat import CatConfig
from favae.data.tokens import TokenSplit
from favae.inference.export import TextToImage
from favae.models.cat import cat_parameter_groups
from favae.training.distributed import ImageMeans, Ranks, average_gradients


class CatTask:
    """Cross-entropy of the codes given text; the text of a sample is hidden with probability `text_drop`."""

    def __init__(
        self, config: CatConfig, model: TextToImage, val: TokenSplit, ranks: Ranks, warmup: int, length: int
    ) -> None:
        self.config, self.val, self.ranks, self.warmup, self.length = config, val, ranks, warmup, length
        self.model = model.to(ranks.device)
        self.modules: Mapping[str, nn.Module] = {"model": self.model}
        optimizer = config.optimizer
        self.rate = optimizer.learning_rate(config.training.batch_size)
        groups = cat_parameter_groups(self.model, optimizer.weight_decay, optimizer.no_decay)
        self.optimizers: Mapping[str, Optimizer] = {
            "cat": AdamW(groups, lr=self.rate, betas=optimizer.betas, fused=True)
        }
        cat_loss = self.model.cat.loss
        self.loss = torch.compile(cat_loss) if config.training.compile else cat_loss
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.ranks.device.type, torch.bfloat16, enabled=self.config.training.precision == "bf16")

    def learning_rate(self, step: int) -> float:
        """Linear warm-up from zero, then a cosine to zero at the last step."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        progress = (step - self.warmup) / max(self.length - self.warmup, 1)
        return self.rate * 0.5 * (1 + math.cos(math.pi * progress))

    def train_step(self, batch: tuple[Tensor, list[str]], step: int) -> dict[str, Tensor]:
        """One AdamW step on a batch of (tokens, captions)."""
        tokens, captions = batch
        device = self.ranks.device
        self.model.train()
        optimizer = self.optimizers["cat"]
        for group in optimizer.param_groups:
            group["lr"] = self.learning_rate(step)
        keep = (torch.rand(len(captions)) >= self.config.text_drop).to(device, non_blocking=True)
        tokens = tokens.to(device, non_blocking=True)
        optimizer.zero_grad()
        total = torch.zeros((), device=device)
        size = math.ceil(len(captions) / self.config.training.accumulation)
        for part in (slice(first, first + size) for first in range(0, len(captions), size)):
            with self._autocast():
                text, mask = self.model.embed(captions[part])
                loss = self.loss(tokens[part], text, mask, keep[part]) * (len(text) / len(captions))
            loss.backward()
            total += loss.detach()
        average_gradients(self.parameters)
        if self.config.optimizer.clip_norm:
            nn.utils.clip_grad_norm_(self.parameters, self.config.optimizer.clip_norm)
        optimizer.step()
        return {
            "cross_entropy": total,
            # Filled on the device, without synchronisation.
            "learning_rate": torch.full((), self.learning_rate(step), device=device),
        }

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Cross-entropy on val pairs with their text, and without it (the official code drops text in validation too)."""
        self.model.eval()
        limit = min(len(self.val), self.config.training.validation_images or len(self.val))
        first, last = (
            limit * self.ranks.rank // self.ranks.world_size,
            limit * (self.ranks.rank + 1) // self.ranks.world_size,
        )
        means, size = ImageMeans(), self.config.training.batch_size
        for start in range(first, last, size):
            tokens, captions = self.val.batch(range(start, min(start + size, last)))
            tokens = tokens.to(self.ranks.device)
            text, mask = self.model.embed(captions)
            none = torch.zeros(len(captions), dtype=torch.bool, device=self.ranks.device)
            given = self.model.cat.loss(tokens, text, mask)
            hidden = self.model.cat.loss(tokens, text, mask, none)
            losses = {"objective": given, "cross_entropy": given, "cross_entropy_without_text": hidden}
            means.add(losses, len(captions))
        return means.result()

    def sample(self) -> None:
        """None: images need the decoder, which only the sampling stage loads."""

    def exported(self) -> dict[str, Tensor]:
        """Weights of CAT and, if it was trained, of the text encoder."""
        return self.model.kept()
