"""Training the autoencoders of the companion papers: learning rate, objective, an interrupted run, a data set without val."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import CyclicLR

from favae.config.companions import CompanionConfig, ConstantRateConfig, CyclicRateConfig
from favae.data.batches import Batch, TrainingBatches
from favae.data.dataset import PreparedSplit
from favae.data.shards import ShardWriter
from favae.jobs.facts import facts, training_request
from favae.losses import SSIMLoss
from favae.training.companions import VaeTask, drawn_latents, learning_rate
from favae.training.distributed import Ranks
from favae.training.loop import Interrupted, Loop, Plan, Result

RANKS = Ranks(0, 1, torch.device("cpu"))


TRAINING = {
    "seed": 0,
    "batch_size": 8,
    "length": "6 steps",
    "validate_every": "3 steps",
    "checkpoint_every": "2 steps",
    "selection": "last",
    "threads": 1,
}


def config(**training: Any) -> CompanionConfig:
    tree = {
        "model": {"kind": "stft_vae", "image_size": 16},
        "objective": {
            "scale": "unit",
            "kl": 0.005,
            "terms": {"mse": {"kind": "mse"}, "ssim": {"kind": "ssim", "weight": 2.0}},
        },
        "optimizer": {"schedule": {"kind": "constant", "rate": 2.0e-3}, "epsilon": 1.0e-7},
        "training": TRAINING | training,
    }
    return CompanionConfig.model_validate(tree)


@pytest.fixture
def split(tmp_path: Path) -> Callable[[str], PreparedSplit]:
    folder = tmp_path / "shards"
    folder.mkdir()
    rng = np.random.default_rng(0)
    index = ["split,shard,row,id,source,sha256,label,box"]
    for name, n in (("train", 32), ("val", 12)):
        with ShardWriter(folder, name, 100, (16, 16, 1)) as writer:  # type: ignore[arg-type]
            for i in range(n):
                square = np.zeros((16, 16, 1), np.uint8)
                y, x = rng.integers(0, 9, 2)
                square[y : y + 7, x : x + 7] = 255
                shard, row = writer.append(square)
                index.append(f"{name},{shard},{row},{name}{i},s,0,,")
    (folder / "index.csv").write_text("\n".join(index) + "\n")
    (folder / "captions.csv").write_text("id,caption\n")
    return lambda name: PreparedSplit(folder, name)  # type: ignore[arg-type]


def test_cyclic_rate_is_torchs_triangular2() -> None:
    schedule = CyclicRateConfig(kind="cyclic", minimum=1e-4, maximum=1e-3, step_size=5)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = CyclicLR(optimizer, 1e-4, 1e-3, step_size_up=5, mode="triangular2", cycle_momentum=False)
    for step in range(45):
        assert learning_rate(schedule, step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        reference.step()
    undamped = schedule.model_copy(update={"decay": "none"})
    assert learning_rate(undamped, 5) == learning_rate(undamped, 35) == pytest.approx(1e-3)
    assert learning_rate(ConstantRateConfig(kind="constant", rate=0.1), 7) == 0.1


def test_the_objective_is_the_sum_of_the_terms_and_the_weighted_kl(split: Callable[[str], PreparedSplit]) -> None:
    torch.manual_seed(0)
    task = VaeTask(config(), split("train"), split("val"), RANKS)
    found = task.validate()
    image = split("val").images(range(12)).float() / 255
    restored, posterior = task.model(2 * image - 1)
    assert posterior is not None
    mse = (((restored + 1) / 2) - image).square().mean().item()
    similarity = SSIMLoss()((restored + 1) / 2, image).item()
    assert found["mse"] == pytest.approx(mse, rel=1e-5)
    assert found["ssim"] == pytest.approx(2 * similarity, rel=1e-4)
    assert found["kl"] == pytest.approx(posterior.kl().mean().item(), rel=1e-5)
    assert found["objective"] == pytest.approx(mse + 2 * similarity + 0.005 * found["kl"], rel=1e-4)


def test_a_step_moves_all_weights_and_training_lowers_the_objective(split: Callable[[str], PreparedSplit]) -> None:
    torch.manual_seed(0)
    task = VaeTask(config(memory_format="channels_last", precision="bf16"), split("train"), split("val"), RANKS)
    before = {name: p.detach().clone() for name, p in task.model.named_parameters()}
    first = task.validate()["objective"]
    batches = TrainingBatches(split("train"), 8, seed=0, prefetch=0)
    for step in range(60):
        task.train_step(batches.batch(step), step)
    assert all(not torch.equal(p, before[name]) for name, p in task.model.named_parameters())
    assert task.validate()["objective"] < first - 0.05


def run(task: VaeTask, train: PreparedSplit, state: Path) -> Result:
    batches = TrainingBatches(train, 8, seed=0, prefetch=0)
    return Loop(task, Plan.of(config().training, 32), state, RANKS, config().training, "t").run(batches.iter_from)


def test_an_interrupted_training_ends_with_the_same_weights(
    split: Callable[[str], PreparedSplit], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    whole = run(VaeTask(config(), split("train"), split("val"), RANKS), split("train"), tmp_path / "whole").exported
    torch.manual_seed(0)
    with pytest.raises(Interrupted):
        run(_Stopped(config(), split("train"), split("val"), RANKS), split("train"), tmp_path / "parts")
    torch.manual_seed(1)
    parts = run(VaeTask(config(), split("train"), split("val"), RANKS), split("train"), tmp_path / "parts").exported
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


class _Stopped(VaeTask):
    def train_step(self, batch: Batch, step: int) -> dict[str, torch.Tensor]:
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().train_step(batch, step)


def test_without_val_the_last_step_is_exported_and_no_metric_is_reported(
    split: Callable[[str], PreparedSplit], tmp_path: Path
) -> None:
    task = VaeTask(config(), split("train"), None, RANKS)
    result = run(task, split("train"), tmp_path / "state")
    assert (result.step, result.best_step, result.metrics) == (6, 6, {})
    assert not any(name.startswith("val/") for name in result.curves.table())
    assert torch.equal(result.exported["to_posterior.weight"], task.model.state_dict()["to_posterior.weight"])
    assert result.image is not None
    assert result.image.shape == (3 * 16, 8 * 16, 3)
    with pytest.raises(ValueError, match="set it to 'last'"):
        VaeTask(config(selection="best"), split("train"), None, RANKS)


def test_drawn_latents_are_the_same_every_time_and_standard_normal() -> None:
    assert torch.equal(drawn_latents(4, 2), drawn_latents(4, 2))
    drawn = drawn_latents(20_000, 2)
    assert drawn.mean().abs() < 0.02
    assert abs(drawn.std() - 1) < 0.02


def test_a_window_larger_than_the_image_is_refused() -> None:
    tree = config().given()
    tree["training"] = TRAINING
    tree["objective"]["terms"]["stft"] = {
        "kind": "stft",
        "weight": 1,
        "amplitude": 1,
        "phase": 1,
        "window": 20,
        "stride": 4,
    }
    problem = facts(training_request(CompanionConfig.model_validate(tree))).problem
    assert problem and problem[0] == ("objective", "terms", "stft") and "at least 20 pixels" in problem[1]


def test_a_plain_autoencoder_shows_images_without_val(split: Callable[[str], PreparedSplit]) -> None:
    tree = {k: v for k, v in config().given().items() if k != "training"}
    tree["training"] = TRAINING
    tree["model"] = {"kind": "ffl_ae", "image_size": 16, "image_channels": 1, "hidden": 4}
    tree["objective"] |= {"kl": 0.0, "scale": "signed"}
    task = VaeTask(CompanionConfig.model_validate(tree), split("train"), None, RANKS)
    assert task.sample().shape == (2 * 16, 8 * 16, 3)
    losses = task.train_step(TrainingBatches(split("train"), 8, seed=0, prefetch=0).batch(0), 0)
    assert set(losses) == {"mse", "ssim", "objective"}


def test_options_that_this_task_does_not_have_are_refused() -> None:
    with pytest.raises(ValueError, match="accumulation"):
        config(accumulation=2)
