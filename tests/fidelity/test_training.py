"""The training step against its equations: one process, two processes, and the official variants of the D step."""

import copy
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from favae.config.favae import FavaeConfig
from favae.data.batches import Batch
from favae.data.dataset import PreparedSplit
from favae.data.pixels import to_float
from favae.losses.adversarial import hinge_discriminator_loss
from favae.training.autoencoder import AutoencoderTask
from favae.training.distributed import Ranks

Specs = Callable[..., FavaeConfig]
ALONE = Ranks(0, 1, torch.device("cpu"))


def make(config: FavaeConfig, val: PreparedSplit, start: int = 0) -> AutoencoderTask:
    torch.manual_seed(0)
    return AutoencoderTask(config, val, ALONE, start, None)


def batch(images: torch.Tensor) -> Batch:
    return Batch(images, np.arange(len(images)), [])


def test_adaptive_weight_of_a_step_is_the_ratio_of_gradients_at_the_last_layer(
    tiny_spec: Specs, val: PreparedSplit, images: torch.Tensor
) -> None:
    """VQ-GAN, equation 7, with gradients taken by autograd through the whole graph."""
    task = make(tiny_spec(), val)
    model, judge = copy.deepcopy(task.model), copy.deepcopy(task.discriminator)
    losses = task.train_step(batch(images), 0)
    fake = model(to_float(images)).reconstruction
    reconstruction, adversarial = (fake - to_float(images)).abs().mean(), -judge(fake).mean()
    weight = model.last_layer_weight
    at_weight = [torch.autograd.grad(loss, weight, retain_graph=True)[0] for loss in (reconstruction, adversarial)]
    expected = at_weight[0].norm() / (at_weight[1].norm() + 1e-4)
    torch.testing.assert_close(losses["adaptive_weight"], expected, rtol=1e-4, atol=0)


def test_generator_gradient_is_that_of_the_total_objective(
    tiny_spec: Specs, val: PreparedSplit, images: torch.Tensor
) -> None:
    """L1 + commitment L_Q + FFL + DSL + weight omega L_adv, summed and differentiated at once, not term by term."""
    task = make(tiny_spec(objective={"commitment": 0.5}), val)
    model, judge, spectrum = (copy.deepcopy(m) for m in (task.model, task.discriminator, task.spectrum))
    omega = task.train_step(batch(images), 0)["adaptive_weight"]
    x = to_float(images)
    output = model(x)
    total = (output.reconstruction - x).abs().mean() + 0.5 * output.commitment_loss
    total = total + task.image_ffl(output.reconstruction, x) + spectrum(output.pairs())
    (total - 0.75 * omega * judge(output.reconstruction).mean()).backward()
    for ours, theirs in zip(task.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(task.spectrum.sigma_taps.grad, spectrum.sigma_taps.grad, rtol=1e-3, atol=1e-9)


def test_discriminator_learns_from_its_own_loss_only(
    tiny_spec: Specs, val: PreparedSplit, images: torch.Tensor
) -> None:
    """Its gradient contains nothing of the G step; its batch norm has processed all three batches separately."""
    task = make(tiny_spec(), val)
    model, judge = copy.deepcopy(task.model), copy.deepcopy(task.discriminator)
    task.train_step(batch(images), 0)
    x = to_float(images)
    fake = model(x, update_codebook=False).reconstruction.detach()
    hinge_discriminator_loss(judge(x), judge(fake)).backward()
    for ours, theirs in zip(task.discriminator.parameters(), judge.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-7)
    seen = [m.num_batches_tracked.item() for m in task.discriminator.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert seen and set(seen) == {3}


def test_discriminator_waits_for_its_start(tiny_spec: Specs, val: PreparedSplit, images: torch.Tensor) -> None:
    task = make(tiny_spec(), val, start=1)
    before = copy.deepcopy(task.discriminator.state_dict())
    assert "adversarial" not in task.train_step(batch(images), 0)
    assert all(torch.equal(value, before[name]) for name, value in task.discriminator.state_dict().items())
    assert "adversarial" in task.train_step(batch(images), 1)


def official(update: str) -> dict[str, Any]:
    return {"adversarial": {"reconstruction": "recompute", "codebook_update": update}}


def test_the_official_codebook_is_updated_again_in_the_d_step(
    tiny_spec: Specs, val: PreparedSplit, images: torch.Tensor
) -> None:
    once, twice = make(tiny_spec(), val), make(tiny_spec(objective=official("official")), val)
    start = once.model.quantizer.codebook.clone()
    once.train_step(batch(images), 0)
    twice.train_step(batch(images), 0)
    moved = once.model.quantizer.codebook
    assert not torch.equal(moved, start)
    assert not torch.equal(moved, twice.model.quantizer.codebook)
    once.model(to_float(images))  # the encoder after its step, in training mode: the second update of the official code
    torch.testing.assert_close(once.model.quantizer.codebook, twice.model.quantizer.codebook, rtol=0, atol=1e-7)


def test_recomputed_reconstruction_is_the_one_after_the_g_step(
    tiny_spec: Specs, val: PreparedSplit, images: torch.Tensor
) -> None:
    reuse, recompute = make(tiny_spec(), val), make(tiny_spec(objective=official("once")), val)
    first, second = (task.train_step(batch(images), 0)["logits_fake"] for task in (reuse, recompute))
    assert not torch.equal(first, second)
    assert torch.equal(reuse.model.quantizer.codebook, recompute.model.quantizer.codebook)


def test_sigmas_learn_at_their_own_rate(tiny_spec: Specs, val: PreparedSplit, images: torch.Tensor) -> None:
    """Adam's first step has the size of the learning rate: 2e-7 for any batch size (official code), or the main rate."""
    for rate, expected in ((2.0e-7, 2.0e-7), ("main", 4.0e-6)):
        config = tiny_spec(optimizer={"base_lr": 1.0e-6, "scaling": "linear", "sigma_lr": rate})
        task = make(config, val)
        assert [group["lr"] for group in task.optimizers["generator"].param_groups] == [4.0e-6, expected]
        moved = {id(p) for p in task.optimizers["generator"].param_groups[1]["params"]}
        assert moved == {id(task.spectrum.sigma_taps)}


def test_validation_changes_nothing(tiny_spec: Specs, val: PreparedSplit, images: torch.Tensor) -> None:
    task = make(tiny_spec(), val)
    task.train_step(batch(images), 0)
    before = {name: copy.deepcopy(module.state_dict()) for name, module in task.modules.items()}
    task.validate()
    task.sample()
    for name, module in task.modules.items():
        assert all(torch.equal(value, before[name][key]) for key, value in module.state_dict().items())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_spec: Specs, val: PreparedSplit) -> dict[str, Any]:
    """Three steps (the GAN from the second) by one process with batches of four, and by two with two images each."""
    folder, script = tmp_path_factory.mktemp("ranks"), Path(__file__).parent / "rank.py"
    for scope in ("world", "rank"):
        config = tiny_spec(objective={"adversarial": {"adaptive_scope": scope}})
        (folder / f"{scope}.json").write_text(config.model_dump_json(exclude_unset=True))
    processes = [
        subprocess.Popen([sys.executable, script, str(rank), "2", str(folder), str(val.folder)]) for rank in range(2)
    ]
    runpy.run_path(str(script))["train"](0, 1, folder, val.folder)
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    return {name: torch.load(folder / f"{name}.pt", weights_only=True) for name in ("1-0", "2-0", "2-1")}


def test_two_ranks_take_the_step_of_one_process_on_the_union_batch(runs: dict[str, Any]) -> None:
    """Gradients (Adam's first momentum) and codebook. The discriminator, which starts later, has a separate batch norm
    on each rank."""
    alone, first, second = (runs[name]["world"]["first"] for name in ("1-0", "2-0", "2-1"))
    assert torch.equal(first["codebook"], second["codebook"])
    torch.testing.assert_close(first["codebook"], alone["codebook"], rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(first["momentum"], alone["momentum"], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("scope", ["world", "rank"])
def test_ranks_stay_identical(runs: dict[str, Any], scope: str) -> None:
    first, second = (runs[name][scope] for name in ("2-0", "2-1"))
    assert torch.equal(first["codebook"], second["codebook"])
    assert all(torch.equal(a, b) for a, b in zip(first["weights"], second["weights"], strict=True))


def test_adaptive_weight_is_the_same_on_all_ranks_unless_each_uses_its_own(runs: dict[str, Any]) -> None:
    omega = {
        scope: [[step["adaptive_weight"] for step in runs[name][scope]["losses"][1:]] for name in ("2-0", "2-1")]
        for scope in ("world", "rank")
    }
    assert omega["world"][0] == omega["world"][1]
    assert all(a != b for a, b in zip(*omega["rank"], strict=True))


def test_validation_over_ranks_counts_each_image_once(
    runs: dict[str, Any], tiny_spec: Specs, val: PreparedSplit
) -> None:
    """Seven images on two ranks: both report the mean over the seven images."""
    first, second = (runs[name]["world"] for name in ("2-0", "2-1"))
    assert first["validation"] == second["validation"]
    task = make(tiny_spec(), val)
    trained = [p for m in task.modules.values() for p in m.parameters()]
    for parameter, value in zip(trained, first["weights"], strict=True):
        parameter.data.copy_(value)
    task.model.quantizer.codebook.copy_(first["codebook"])
    alone = task.validate()
    assert alone.keys() == first["validation"].keys()
    for name, value in alone.items():
        assert first["validation"][name] == pytest.approx(value, rel=1e-5)
