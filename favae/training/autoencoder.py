"""Training FA-VAE and VQ-GAN: the total objective of the paper, with G step and D step from one forward pass."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.swa_utils import AveragedModel

from favae.config.errors import blaming
from favae.config.favae import FavaeConfig
from favae.data.batches import Batch
from favae.data.dataset import PreparedSplit, iterate_batches
from favae.data.pixels import side_by_side, to_float
from favae.losses import FocalFrequencyLoss, adaptive_weight, build_adversarial_loss, build_spectrum_loss
from favae.models import FAVAE, PatchDiscriminator
from favae.models.favae import FAVAEOutput
from favae.training.distributed import ImageMeans, Ranks, average, average_gradients

_SAMPLES = 8


class Networks(NamedTuple):
    """The networks and losses that the parameters of a training describe."""

    model: FAVAE
    discriminator: PatchDiscriminator
    spectrum: nn.Module
    image_ffl: FocalFrequencyLoss


def build_networks(config: FavaeConfig) -> Networks:
    """Networks and losses with fresh weights, on the default device.

    Raises:
        BadKey: a constructor refuses a block of the parameters.
    """
    model, objective = config.model.given(), config.objective
    del model["kind"]
    with blaming("model"):
        favae = FAVAE.from_config(model)
    with blaming("objective", "adversarial", "discriminator"):
        judge = PatchDiscriminator(favae.config["image_channels"], **objective.adversarial.discriminator.given())
    with blaming("objective", "spectrum"):
        spectrum = build_spectrum_loss(**objective.spectrum.given())
    with blaming("objective", "image_ffl"):
        image_ffl = FocalFrequencyLoss(**objective.image_ffl.given())
    return Networks(favae, judge, spectrum, image_ffl)


def adaptive_bounds(config: FavaeConfig) -> dict[str, float]:
    """Those arguments of `adaptive_weight` that the parameters set."""
    names = {"adaptive_maximum": "maximum", "adaptive_epsilon": "eps"}
    given = config.objective.adversarial.given()
    return {argument: given[name] for name, argument in names.items() if name in given}


class MovingAverage(AveragedModel):
    """average <- decay average + (1 - decay) weights, with the state of torch's class; buffers are copied.

    torch's own update copies its counter to the device at each step, and so waits for the device.
    """

    def __init__(self, model: FAVAE, decay: float) -> None:
        super().__init__(model)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Follow the weights of `model`; the first call copies them."""
        averages = [average.detach() for average in self.module.parameters()]
        weights = [weight.detach() for weight in model.parameters()]
        if int(self.n_averaged) == 0:
            torch._foreach_copy_(averages, weights)
        else:
            torch._foreach_lerp_(averages, weights, 1 - self.decay)
        for ours, theirs in zip(self.module.buffers(), model.buffers(), strict=True):
            ours.copy_(theirs)
        self.n_averaged += 1


class AutoencoderTask:
    """Generator, discriminator and sigmas of one FA-VAE.

    L_G = l1 L1 + perceptual + commitment L_Q + image FFL + spectrum + [from `start`] weight * omega * L_adv, where
    omega balances the gradients of reconstruction and adversarial loss at the last layer (VQ-GAN, equation 7; official
    code: eps 1e-4, at most 1e4), and `start` is the step `adversarial_start`.
    """

    def __init__(
        self, config: FavaeConfig, val: PreparedSplit, ranks: Ranks, adversarial_start: int, lpips: nn.Module | None
    ) -> None:
        self.config, self.val, self.ranks, self.adversarial_start, self.lpips = (
            config,
            val,
            ranks,
            adversarial_start,
            lpips,
        )
        objective = config.objective
        networks = build_networks(config)
        self.model = networks.model.to(ranks.device)
        self.discriminator = networks.discriminator.to(ranks.device)
        self.spectrum = networks.spectrum.to(ranks.device)
        self.image_ffl = networks.image_ffl
        # Measured on val with weight 1 for every model, so that baselines can be compared.
        self.measured_ffl = FocalFrequencyLoss()
        self.adversarial = build_adversarial_loss(objective.adversarial.loss)
        modules = {"model": self.model, "discriminator": self.discriminator, "spectrum": self.spectrum}
        self.averaged: MovingAverage | None = None
        if decay := config.optimizer.ema_decay:
            self.averaged = modules["averaged"] = MovingAverage(self.model, decay)
        self.modules: Mapping[str, nn.Module] = modules
        if config.training.memory_format == "channels_last":
            for module in self.modules.values():
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model.recompute_activations(config.training.recompute_activations)
        # Omega needs two gradients with respect to the last convolution. The backward pass of a compiled network cannot be run
        # in part, so that convolution is not compiled.
        most = self.model.unfinished
        self.unfinished = torch.compile(most) if config.training.compile else most
        self.optimizers: Mapping[str, Optimizer] = self._optimizers()

    def _optimizers(self) -> dict[str, Optimizer]:
        optimizer = self.config.optimizer
        rate = optimizer.learning_rate(self.config.training.batch_size)
        sigma_rate = rate if optimizer.sigma_lr == "main" else optimizer.sigma_lr
        groups: list[dict[str, Any]] = [{"params": list(self.model.parameters())}]
        if sigmas := list(self.spectrum.parameters()):
            groups.append({"params": sigmas, "lr": sigma_rate})
        return {
            "generator": Adam(groups, lr=rate, betas=optimizer.betas, fused=True),
            "discriminator": Adam(self.discriminator.parameters(), lr=rate, betas=optimizer.betas, fused=True),
        }

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.ranks.device.type, torch.bfloat16, enabled=self.config.training.precision == "bf16")

    def _forward(self, image: Tensor) -> FAVAEOutput:
        """Everything that the losses need; the codebook is updated later, once."""
        return self.model.finish(self.unfinished(image, update_codebook=False))

    def _to_device(self, image: Tensor) -> Tensor:
        return to_float(image.to(self.ranks.device, non_blocking=True))

    def train_step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """One G step and, from step `adversarial_start` on, one D step."""
        image = self._to_device(batch.images)
        if self.config.training.memory_format == "channels_last":
            image = image.contiguous(memory_format=torch.channels_last)
        self.model.train()
        adversarial = step >= self.adversarial_start
        parts = image.chunk(self.config.training.accumulation)
        fakes, losses = self._generator_step(parts, adversarial)
        if adversarial:
            losses |= self._discriminator_step(parts, fakes)
        for name, sigmas in self.spectrum.named_parameters():
            losses |= {f"{name}_{i}": sigma for i, sigma in enumerate(sigmas.detach().clone())}
        return losses

    def _generator_step(self, parts: Sequence[Tensor], adversarial: bool) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Gradients of all parts, then one update of optimiser, codebook and averages. Returns the detached
        reconstructions and the losses."""
        self.optimizers["generator"].zero_grad()
        fakes, latents, losses = [], [], []
        for image, share in zip(parts, _shares(parts), strict=True):
            output, part_losses = self._generator_backward(image, share, adversarial)
            fakes.append(output.reconstruction.detach())
            latents.append((output.taps[-1].detach(), output.indices))
            losses.append(part_losses)
        self._learn_codebook(latents)
        self._step("generator", [*self.model.parameters(), *self.spectrum.parameters()])
        if self.averaged is not None:
            self.averaged.update_parameters(self.model)  # copies the codebook, which is already a moving average
        return fakes, _mean_losses(losses, parts)

    def _learn_codebook(self, latents: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Update the codebook once, from the latents and codes of all parts."""
        self.model.quantizer.learn(*(torch.cat(tensors) for tensors in zip(*latents, strict=True)))

    def _generator_backward(
        self, image: Tensor, share: float, adversarial: bool
    ) -> tuple[FAVAEOutput, dict[str, Tensor]]:
        """Add the gradient of `share` times the objective on one part."""
        objective = self.config.objective
        with self._autocast():
            output = self._forward(image)
        # Each loss on the reconstruction is differentiated with respect to it, once. The weighted sum of these
        # gradients is then propagated through the decoder once. Omega needs only two more gradients, with respect to
        # the last convolution's weight.
        fake = output.reconstruction.detach().float().requires_grad_()
        reconstruction, losses = self._reconstruction_loss(image, fake)
        (gradient,) = torch.autograd.grad(reconstruction, fake)
        total = gradient.clone()
        if self.image_ffl.weight:
            losses["image_ffl"] = self.image_ffl(fake, image)
            total += torch.autograd.grad(losses["image_ffl"], fake)[0]
        if adversarial:
            with self._autocast():
                losses["adversarial"] = self.adversarial.generator(self.discriminator(fake))
            (push,) = torch.autograd.grad(losses["adversarial"], fake)
            omega = self._adaptive_weight(output.reconstruction, gradient, push)
            total += objective.adversarial.weight * omega * push
            losses["adaptive_weight"] = omega
        losses |= {"commitment": output.commitment_loss, "spectrum": self.spectrum(output.pairs())}
        features = objective.commitment * losses["commitment"] + losses["spectrum"]
        upstream = [(share * total).to(output.reconstruction.dtype), torch.full_like(features, share)]
        torch.autograd.backward([output.reconstruction, features], upstream)
        return output, {name: loss.detach() for name, loss in losses.items()}

    def _reconstruction_loss(self, image: Tensor, fake: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """l1 L1 + weight LPIPS: the part of the objective that enters omega (spectral terms do not)."""
        losses = {"l1": (fake - image).abs().mean()}
        total = self.config.objective.l1 * losses["l1"]
        if self.lpips is not None:
            losses["lpips"] = self.lpips(fake, image).mean()
            total = total + self.config.objective.perceptual.weight * losses["lpips"]
        return total, losses

    def _adaptive_weight(self, reconstruction: Tensor, gradient: Tensor, push: Tensor) -> Tensor:
        """Omega, from the gradients of both losses with respect to the reconstruction; each needs the backward pass of
        one convolution."""
        adversarial, weight = self.config.objective.adversarial, self.model.last_layer_weight
        at_weight = [
            torch.autograd.grad(reconstruction, weight, g.to(reconstruction.dtype), retain_graph=True)[0].float()
            for g in (gradient, push)
        ]
        if adversarial.adaptive_scope == "world":
            at_weight = [average(g) for g in at_weight]
        return adaptive_weight(at_weight[0], at_weight[1], **adaptive_bounds(self.config))

    def _discriminator_step(self, parts: Sequence[Tensor], fakes: Sequence[Tensor]) -> dict[str, Tensor]:
        if self.config.objective.adversarial.reconstruction == "recompute":
            fakes = self._reconstruct_again(parts)
        self.optimizers["discriminator"].zero_grad()
        losses = []
        for image, fake, share in zip(parts, fakes, _shares(parts), strict=True):
            with self._autocast():
                real_logits, fake_logits = self.discriminator(image), self.discriminator(fake)
            loss = self.adversarial.discriminator(real_logits.float(), fake_logits.float())
            (share * loss).backward()
            logits = {"logits_real": real_logits.float().mean(), "logits_fake": fake_logits.float().mean()}
            losses.append({"discriminator": loss.detach()} | {name: value.detach() for name, value in logits.items()})
        self._step("discriminator", list(self.discriminator.parameters()))
        return _mean_losses(losses, parts)

    @torch.no_grad()
    def _reconstruct_again(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """The order of the official code: reconstruct again after the generator's step. With `codebook_update:
        official` this updates the codebook again."""
        with self._autocast():
            outputs = [self._forward(image) for image in parts]
        if self.config.objective.adversarial.codebook_update == "official":
            self._learn_codebook([(output.taps[-1], output.indices) for output in outputs])
        return [output.reconstruction for output in outputs]

    def _step(self, name: str, parameters: list[nn.Parameter]) -> None:
        average_gradients(parameters)
        self.optimizers[name].step()

    @property
    def kept(self) -> FAVAE:
        """The model that is validated, sampled and exported: the moving average of the weights if there is one."""
        return self.model if self.averaged is None else cast(FAVAE, self.averaged.module)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """L1, LPIPS and FFL on val. `objective` is the reconstruction loss, by which the official code selects too (but
        on test)."""
        self.kept.eval()
        means, size = ImageMeans(), self.config.training.batch_size
        for _, stored in iterate_batches(self.val, size, self.ranks.rank, self.ranks.world_size):
            image = self._to_device(stored)
            with self._autocast():
                fake = self.kept.reconstruct(image).float()
            objective, losses = self._reconstruction_loss(image, fake)
            losses |= {"objective": objective, "image_ffl": self.measured_ffl(fake, image)}
            means.add(losses, len(stored))
        return means.result()

    @torch.no_grad()
    def sample(self) -> Tensor:
        """A few val images above their reconstructions."""
        self.kept.eval()
        rows = torch.linspace(0, len(self.val) - 1, min(_SAMPLES, len(self.val))).long().tolist()
        image = self._to_device(self.val.images(rows))
        return side_by_side([image, self.kept.reconstruct(image)])

    def exported(self) -> dict[str, Tensor]:
        """The model's weights; sigmas are recorded in the curves."""
        return self.kept.state_dict()


def _shares(parts: Sequence[Tensor]) -> list[float]:
    """Each part's share of the images: a mean over the batch is the mean of the parts' means with these weights."""
    total = sum(map(len, parts))
    return [len(part) / total for part in parts]


def _mean_losses(losses: Sequence[dict[str, Tensor]], parts: Sequence[Tensor]) -> dict[str, Tensor]:
    """Losses of a batch, from those of its parts."""
    if len(losses) == 1:
        return losses[0]
    shares = _shares(parts)
    return {
        name: torch.stack([share * part[name] for share, part in zip(shares, losses, strict=True)]).sum()
        for name in losses[0]
    }
