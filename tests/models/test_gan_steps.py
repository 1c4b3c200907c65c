"""Steps of the three systems in their published order: they learn, and everything needed to resume is saved."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from favae.losses import FocalFrequencyLoss
from favae.losses.batch_spectrum import BatchFrequencyLoss
from favae.losses.gan import build_gan_loss, feature_matching_loss, mean_over_scales
from favae.losses.gan_regularization import PathLengthPenalty, lazy_adam, r1_penalty
from favae.models.pix2pix import PairDiscriminator, UnetGenerator
from favae.models.spade import MultiscaleDiscriminator, SpadeGenerator
from favae.models.style_discriminator import StyleDiscriminator
from favae.models.stylegan2 import StyleGenerator, average_decay

RealStep = Callable[[int], float]


@dataclass
class System:
    """Networks, optimisers, and a step that returns how far generated images are from their targets."""

    modules: dict[str, nn.Module]
    optimizers: dict[str, Optimizer]
    step: RealStep

    def saved(self) -> bytes:
        """The saved state of a run: modules, optimisers, and the random state."""
        parts = self.modules | self.optimizers
        buffer = io.BytesIO()
        torch.save({name: part.state_dict() for name, part in parts.items()} | {"rng": torch.get_rng_state()}, buffer)
        return buffer.getvalue()

    def restore(self, saved: bytes) -> None:
        state = torch.load(io.BytesIO(saved), weights_only=True)
        torch.set_rng_state(state.pop("rng"))
        for name, part in (self.modules | self.optimizers).items():
            part.load_state_dict(state[name])


def pix2pix() -> System:
    """One forward pass of G; D with the generated image detached; G through the updated D with the same image."""
    torch.manual_seed(0)
    generator, discriminator = UnetGenerator(32, base_channels=8), PairDiscriminator(base_channels=4, layers=2)
    of_g, of_d = (Adam(m.parameters(), lr=2e-3, betas=(0.5, 0.999)) for m in (generator, discriminator))
    game, ffl = build_gan_loss("vanilla", "half"), FocalFrequencyLoss()
    condition, real = torch.rand(4, 3, 32, 32) * 2 - 1, (torch.rand(4, 3, 1, 1) * 2 - 1).expand(4, 3, 32, 32)

    def step(_number: int) -> float:
        fake = generator(condition)
        of_d.zero_grad()
        game.discriminator(discriminator(condition, real), discriminator(condition, fake.detach())).backward()
        of_d.step()
        of_g.zero_grad()
        discriminator.requires_grad_(False)
        l1 = F.l1_loss(fake, real)
        (game.generator(discriminator(condition, fake)) + 100 * l1 + 10 * ffl(fake, real)).backward()
        discriminator.requires_grad_(True)
        of_g.step()
        return l1.item()

    return System({"generator": generator, "discriminator": discriminator}, {"of_g": of_g, "of_d": of_d}, step)


def spade() -> System:
    """G first; then D on an image that the updated G generates anew."""
    torch.manual_seed(0)
    generator = SpadeGenerator(4, base_channels=2, hidden=8)
    discriminator = MultiscaleDiscriminator(4, base_channels=4, layers=3)
    of_g = Adam(generator.parameters(), lr=1e-3, betas=(0.0, 0.9))
    of_d = Adam(discriminator.parameters(), lr=4e-3, betas=(0.0, 0.9))
    game, ffl = build_gan_loss("hinge", "whole"), FocalFrequencyLoss()
    labels = torch.randint(4, (4, 4, 4)).repeat_interleave(8, 1).repeat_interleave(8, 2)
    maps = F.one_hot(labels, 4).permute(0, 3, 1, 2).float()
    real = (torch.rand(4, 3) * 2 - 1)[labels].permute(0, 3, 1, 2).contiguous()

    def step(_number: int) -> float:
        of_g.zero_grad()
        fake = generator(maps)
        of_fake, of_real = discriminator.both(maps, fake, real)
        loss = mean_over_scales(game.generator, [scale[-1] for scale in of_fake])
        (loss + 10 * feature_matching_loss(of_real, of_fake) + 10 * ffl(fake, real)).backward()
        of_g.step()
        of_d.zero_grad()
        with torch.no_grad():
            again = generator(maps)
        of_fake, of_real = discriminator.both(maps, again, real)
        logits = [[scale[-1] for scale in found] for found in (of_real, of_fake)]
        mean_over_scales(game.discriminator, *logits).backward()
        of_d.step()
        return F.l1_loss(fake, real).item()

    return System({"generator": generator, "discriminator": discriminator}, {"of_g": of_g, "of_d": of_d}, step)


def stylegan2() -> System:
    """D, R1 every second step, G, path length every second step, moving averages of w and of G."""
    torch.manual_seed(0)
    generator = StyleGenerator(8, z=8, w=8, mapping_layers=2, base_channels=64, max_channels=8)
    average, penalty = (
        StyleGenerator(8, z=8, w=8, mapping_layers=2, base_channels=64, max_channels=8),
        PathLengthPenalty(),
    )
    average.load_state_dict(generator.state_dict())
    discriminator = StyleDiscriminator(8, base_channels=64, max_channels=8)
    optimizers: dict[str, Any] = {}
    for name, module, interval in (("of_g", generator, 4), ("of_d", discriminator, 16)):
        constants = lazy_adam(0.01, interval)
        optimizers[name] = Adam(module.parameters(), lr=constants.lr, betas=constants.betas)
    game, spectrum = build_gan_loss("vanilla", "whole"), BatchFrequencyLoss()
    real = torch.rand(8, 3, 1, 1).expand(8, 3, 8, 8) * 0.2 + 0.7

    def update(name: str, loss: Tensor) -> None:
        optimizers[name].zero_grad()
        loss.backward()
        optimizers[name].step()

    def step(number: int) -> float:
        fake = generator(torch.randn(8, 8)).detach()
        update("of_d", game.discriminator(discriminator(real), discriminator(fake)))
        if number % 2 == 0:
            seen = real.clone().requires_grad_()
            update("of_d", r1_penalty(discriminator(seen), seen, gamma=1.0, interval=2))
        w = generator.styles(torch.randn(8, 8), torch.randn(8, 8), cut=1 + int(torch.randint(3, ())))
        fake = generator.synthesis(w)
        update("of_g", game.generator(discriminator(fake)) + spectrum(fake, real))
        generator.mapping.follow(w[:, 0].detach())
        if number % 2 == 0:
            w = generator.styles(torch.randn(4, 8))
            update("of_g", penalty(generator.synthesis(w), w))
        with torch.no_grad():
            for ours, theirs in zip(average.parameters(), generator.parameters(), strict=True):
                ours.lerp_(theirs, 1 - average_decay(8, 0.1))
        return (fake.mean() - real.mean()).abs().item()

    modules = {"generator": generator, "discriminator": discriminator, "average": average, "penalty": penalty}
    return System(modules, optimizers, step)


@pytest.mark.parametrize(("build", "steps", "share"), [(pix2pix, 40, 0.5), (spade, 60, 0.7), (stylegan2, 60, 0.5)])
def test_generated_images_approach_their_targets(build: Callable[[], System], steps: int, share: float) -> None:
    system = build()
    distances = [system.step(number) for number in range(steps)]
    assert sum(distances[-5:]) < share * sum(distances[:5]), distances
    assert all(p.isfinite().all() for module in system.modules.values() for p in module.parameters())


@pytest.mark.parametrize("build", [pix2pix, spade, stylegan2])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(build: Callable[[], System]) -> None:
    uninterrupted = build()
    for number in range(3):
        uninterrupted.step(number)
    saved = uninterrupted.saved()
    for number in range(3, 6):
        uninterrupted.step(number)
    expected = torch.get_rng_state(), uninterrupted.saved()
    resumed = build()
    resumed.restore(saved)
    for number in range(3, 6):
        resumed.step(number)
    assert torch.equal(torch.get_rng_state(), expected[0])
    states = [torch.load(io.BytesIO(s), weights_only=True) for s in (expected[1], resumed.saved())]
    for name in uninterrupted.modules:
        assert states[0][name].keys() == states[1][name].keys()
        for key, value in states[0][name].items():
            assert torch.equal(value, states[1][name][key]), f"{name}: {key}"
