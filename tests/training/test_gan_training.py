"""pix2pix, SPADE and StyleGAN2 in the one training loop: order of steps, resuming, several ranks, learning rates."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gan_support import SIDE, TREES, config_of, data_of, task_of, write_pairs
from torch import Tensor, nn

from favae.config.errors import ConfigError
from favae.data.batches import Batch, TrainingBatches
from favae.jobs.facts import facts, training_request
from favae.models.generators import build_generator, complete
from favae.training.distributed import Ranks
from favae.training.gan import GanTask, TrainingData
from favae.training.loop import Loop, Plan, Result
from favae.training.pix2pix import Pix2PixTask
from favae.training.spade import SpadeTask
from favae.training.stylegan2 import StyleGan2Task

RANKS = Ranks(0, 1, torch.device("cpu"))
KINDS = list(TREES)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], TrainingData]:
    root = tmp_path_factory.mktemp("pairs")
    for kind in KINDS:
        write_pairs(root / kind, kind)
    return lambda kind: data_of(root / kind, kind)


class Killed(BaseException):
    """Stands for a process that is gone: nothing may catch it."""


def run(
    kind: str, data: TrainingData, state: Path, kill_at: int | None = None, **changes: Any
) -> tuple[GanTask, Result]:
    config = config_of(kind, changes)
    torch.manual_seed(config.training.seed)
    task = task_of(config, data, RANKS)
    step_of = task.train_step

    def step(batch: Batch, number: int) -> dict[str, Tensor]:
        if number == kill_at:
            raise Killed
        return step_of(batch, number)  # type: ignore[attr-defined]

    task.train_step = step  # type: ignore[attr-defined]
    batches = TrainingBatches(data.train, 4, 5, augment="flip", prefetch=0)
    plan = Plan.of(config.training, len(data.train))
    return task, Loop(task, plan, state, RANKS, config.training, kind).run(batches.iter_from)  # type: ignore[arg-type]


def states(task: GanTask) -> dict[str, Tensor]:
    return {f"{name}/{key}": v for name, module in task.modules.items() for key, v in module.state_dict().items()}


@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_any_step_and_resumed_the_weights_are_the_same_bit_for_bit(
    kind: str, shards: Callable[[str], TrainingData], tmp_path: Path
) -> None:
    data = shards(kind)
    whole, result = run(kind, data, tmp_path / "whole")
    for step in range(1, 6):
        with pytest.raises(Killed):
            run(kind, data, tmp_path / str(step), kill_at=step)
        torch.manual_seed(99)  # another process would not have the state of this generator
        resumed, again = run(kind, data, tmp_path / str(step))
        for name, value in states(whole).items():
            assert torch.equal(value, states(resumed)[name]), (step, name)
        assert all(torch.equal(value, again.exported[name]) for name, value in result.exported.items())
        assert again.curves.table().equals(result.curves.table())


@pytest.mark.parametrize("kind", KINDS)
def test_all_networks_learn_and_a_saved_generator_makes_the_same_images(
    kind: str, shards: Callable[[str], TrainingData], tmp_path: Path
) -> None:
    data, config = shards(kind), config_of(kind)
    torch.manual_seed(config.training.seed)
    before = {name: value.clone() for name, value in states(task_of(config, data, RANKS)).items()}
    task, result = run(kind, data, tmp_path)
    unchanged = [n for n, v in states(task).items() if torch.equal(v, before[n]) and v.is_floating_point()]
    fixed = ("noise_map", "kernel", "._u", "._v")  # of one channel, a singular vector is 1
    assert not [name for name in unchanged if not name.endswith(fixed)], unchanged
    model = complete(config.given()["model"])
    loaded = build_generator(model)
    loaded.load_state_dict(result.exported)
    kept = task.average if isinstance(task, StyleGan2Task) else task.generator
    inputs = torch.randn(2, 8) if kind == "stylegan2" else torch.rand(2, model.get("map_channels", 3), SIDE, SIDE)
    options = {"noise": "fixed"} if kind == "stylegan2" else {}
    assert torch.equal(loaded.eval()(inputs, **options), kept.eval()(inputs, **options))
    assert (result.image is not None and result.image.shape[1] == 8 * SIDE) or len(data.shown) < 8
    assert {"l1"} <= result.metrics.keys() or {"variance_ratio", "mean_distance"} == result.metrics.keys()


@pytest.mark.parametrize("world", [2])
def test_two_ranks_equal_one_on_the_union_batch(world: int, tmp_path: Path) -> None:
    for kind in KINDS:
        write_pairs(tmp_path / kind, kind)
    script, support = Path(__file__).with_name("gan_rank.py"), Path(__file__).parents[1] / "support"
    path = os.pathsep.join([str(support), os.environ.get("PYTHONPATH", "")])
    processes = [
        subprocess.Popen(
            [sys.executable, script, str(rank), str(size), tmp_path, *KINDS], env=os.environ | {"PYTHONPATH": path}
        )
        for size in (1, world)
        for rank in range(size)
    ]
    assert [process.wait(timeout=300) for process in processes] == [0] * len(processes)
    one, *ranks = (torch.load(tmp_path / name) for name in ("1-0.pt", "2-0.pt", "2-1.pt"))
    for kind in KINDS:
        for name, value in one[kind].items():
            for other in ranks:
                assert torch.allclose(other[kind][name].double(), value.double(), rtol=1e-6, atol=1e-9), (kind, name)


def calls_of(task: GanTask, monkeypatch: pytest.MonkeyPatch, steps: int, data: TrainingData) -> list[list[str]]:
    """The names of the optimisers that step, for each training step."""
    batches = TrainingBatches(data.train, 4, 5, prefetch=0)
    found: list[list[str]] = []
    update = task.update

    def counted(name: str, loss: Tensor) -> None:
        found[-1].append(name)
        update(name, loss)

    monkeypatch.setattr(task, "update", counted)
    for number in range(steps):
        found.append([])
        task.train_step(batches.batch(number), number)  # type: ignore[attr-defined]
    return found


def test_pix2pix_steps_d_first_and_spade_g_first(
    shards: Callable[[str], TrainingData], monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind, order in (("pix2pix", ["discriminator", "generator"]), ("spade", ["generator", "discriminator"])):
        data = shards(kind)
        assert calls_of(task_of(config_of(kind), data, RANKS), monkeypatch, 2, data) == [order, order]


@pytest.mark.parametrize("order", ["d_then_g", "g_then_d"])
def test_stylegan2_regularises_lazily_in_steps_of_their_own(
    order: str, shards: Callable[[str], TrainingData], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = shards("stylegan2")
    objective = {"r1": {"interval": 4}, "path_length": {"interval": 2}}
    task = task_of(config_of("stylegan2", {"optimizer": {"order": order}, "objective": objective}), data, RANKS)
    d, g = "discriminator", "generator"
    first = {
        "d_then_g": [[d, d, g, g], [d, g], [d, g, g], [d, g]],
        "g_then_d": [[g, g, d, d], [g, d], [g, g, d], [g, d]],
    }
    assert calls_of(task, monkeypatch, 4, data) == first[order]
    constants = {name: (o.param_groups[0]["lr"], o.param_groups[0]["betas"]) for name, o in task.optimizers.items()}
    assert constants["generator"] == (pytest.approx(2e-3 * 2 / 3), (0.0, pytest.approx(0.99 ** (2 / 3))))
    assert constants["discriminator"] == (pytest.approx(2e-3 * 4 / 5), (0.0, pytest.approx(0.99 ** (4 / 5))))


def test_stylegan2_compares_with_the_discriminator_s_batch_of_the_same_step(
    shards: Callable[[str], TrainingData], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = shards("stylegan2")
    task = task_of(config_of("stylegan2"), data, RANKS)
    judged, compared = [], []
    terms = task.term_losses
    monkeypatch.setattr(task, "term_losses", lambda fake, real: (compared.append(real), terms(fake, real))[1])
    task.discriminator.register_forward_pre_hook(lambda _module, inputs: judged.append(inputs[0].detach()))
    batch = TrainingBatches(data.train, 4, 5, augment="flip", prefetch=0).batch(1)
    task.train_step(batch, 1)  # type: ignore[attr-defined]
    expected = batch.images / 127.5 - 1
    assert torch.allclose(judged[0], expected) and torch.equal(compared[0], judged[0])


def test_spade_updates_running_statistics_twice_a_step(shards: Callable[[str], TrainingData]) -> None:
    data = shards("spade")
    task = task_of(config_of("spade"), data, RANKS)
    task.train_step(TrainingBatches(data.train, 4, 5, prefetch=0).batch(0), 0)  # type: ignore[attr-defined]
    counts = [b for name, b in task.generator.named_buffers() if name.endswith("num_batches_tracked")]
    assert counts and all(int(count) == 2 for count in counts)


def test_the_moving_average_of_the_generator_is_its_closed_form(shards: Callable[[str], TrainingData]) -> None:
    data = shards("stylegan2")
    task = task_of(config_of("stylegan2"), data, RANKS)
    assert isinstance(task, StyleGan2Task)
    decay = 0.5 ** (4 / (1000 * 0.01))
    expected = {name: p.detach().clone() for name, p in task.generator.named_parameters()}
    batches = TrainingBatches(data.train, 4, 5, prefetch=0)
    for step in range(3):
        task.train_step(batches.batch(step), step)
        for name, p in task.generator.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * p.detach()
    for name, p in task.average.named_parameters():
        assert torch.allclose(p, expected[name], atol=1e-6), name
    assert torch.equal(task.average.mapping.average, task.generator.mapping.average)
    assert task.penalty.mean_length > 0


def test_learning_rates_decay_by_epoch(shards: Callable[[str], TrainingData]) -> None:
    """Two steps per epoch, one constant epoch, one of decay; advanced after the epoch: 1, 1, 1/2, 1/2, then 0."""
    data = shards("pix2pix")
    task = task_of(config_of("pix2pix"), data, RANKS)
    batches, rates = TrainingBatches(data.train, 4, 5, prefetch=0), []
    for step in range(6):
        task.train_step(batches.batch(step), step)  # type: ignore[attr-defined]
        rates.append(task.optimizers["generator"].param_groups[0]["lr"] / 2e-3)
    assert rates == pytest.approx([1, 1, 0.5, 0.5, 0, 0])


def test_draws_are_the_same_in_every_run_and_differ_between_steps_and_ranks(
    shards: Callable[[str], TrainingData],
) -> None:
    task = task_of(config_of("stylegan2"), shards("stylegan2"), RANKS)
    draws = task.draws
    assert torch.equal(draws.normal("a", 1, 2, 3), draws.normal("a", 1, 2, 3))
    assert not torch.equal(draws.normal("a", 1, 2, 3), draws.normal("a", 2, 2, 3))
    assert not torch.equal(draws.normal("a", 1, 2, 3), draws.normal("b", 1, 2, 3))
    many = draws.normal("c", 0, 4000, 8)
    assert abs(float(many.mean())) < 0.02 and abs(float(many.std()) - 1) < 0.02
    chances = [draws.uniform("d", step, 1)[0] for step in range(2000)]
    assert abs(sum(c < 0.9 for c in chances) / 2000 - 0.9) < 0.03


def test_without_val_there_is_no_metric(shards: Callable[[str], TrainingData]) -> None:
    for kind, task_type in (("pix2pix", Pix2PixTask), ("spade", SpadeTask), ("stylegan2", StyleGan2Task)):
        data = shards(kind)
        task = task_type(config_of(kind), TrainingData(data.train, None, data.condition), RANKS)  # type: ignore[arg-type]
        assert task.validate() == {} and task.sample().dtype == torch.uint8


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("pix2pix", {"training": {"selection": "best"}}, "no loss says which generator is best; set it to last"),
        ("spade", {"training": {"precision": "bf16"}}, "training.precision is not supported for a generator"),
        ("stylegan2", {"objective": {"mixing": 1.5}}, "mixing"),
        ("stylegan2", {"model": {"kind": "stylegan3"}}, "did you mean 'stylegan2'"),
    ],
)
def test_what_a_generator_does_not_support_is_refused(kind: str, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_of(kind, change)


@pytest.mark.parametrize(
    ("kind", "change", "block"),
    [
        ("pix2pix", {"model": {"image_size": 48}}, ("model",)),
        ("pix2pix", {"discriminator": {"layers": 4}}, ("discriminator",)),
        ("spade", {"model": {"image_size": 40}}, ("model",)),
        ("spade", {"discriminator": {"layers": 1}}, ("discriminator",)),
        ("stylegan2", {"model": {"base_channels": 16}}, ("model",)),
        ("stylegan2", {"objective": {"path_length": {"decay": 2}}}, ("objective", "path_length")),
        ("stylegan2", {"objective": {"terms": {"ffl": {"alpha": -1}}}}, ("objective", "terms", "ffl")),
    ],
)
def test_check_refuses_what_the_constructors_refuse(kind: str, change: dict[str, Any], block: tuple[str, ...]) -> None:
    problem = facts(training_request(config_of(kind, change))).problem
    assert problem is not None and problem[0] == block, problem


@pytest.mark.parametrize("kind", KINDS)
def test_costs_are_counted_from_the_networks(kind: str) -> None:
    config = config_of(kind)
    found = facts(training_request(config))
    assert found.problem is None
    network = build_generator(config.given()["model"])
    assert found.costs["generator"].parameters == sum(p.numel() for p in network.parameters())
    assert found.costs["generator"].macs > 0 and found.costs["discriminator"].kept > 0
    assert found.sizes["image_size"] == SIDE


def test_batch_norm_of_a_single_rank_is_unchanged() -> None:
    from favae.models.sync_batch_norm import SyncBatchNorm2d, synchronised

    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.BatchNorm2d(4), nn.ReLU()))
    expected = network(x := torch.rand(2, 3, 8, 8))
    other = synchronised(network)
    assert isinstance(other.get_submodule("1.0"), SyncBatchNorm2d) and torch.equal(other(x), expected)
