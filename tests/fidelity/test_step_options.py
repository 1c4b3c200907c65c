"""Options of a training step change its cost, not its mathematics; and nothing in a step synchronises the device."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils._python_dispatch import TorchDispatchMode

from favae.bench.official import OfficialStep
from favae.config.cat import CatConfig
from favae.config.errors import ConfigError
from favae.config.favae import FavaeConfig
from favae.config.load import validate
from favae.config.training import TrainingConfig
from favae.data.batches import Batch
from favae.data.dataset import PreparedSplit
from favae.data.pixels import to_float
from favae.models import FAVAE
from favae.training.autoencoder import AutoencoderTask
from favae.training.distributed import Ranks

Specs = Callable[..., FavaeConfig]
ALONE = Ranks(0, 1, torch.device("cpu"))
NEVER = 10**9
WAITING_METHODS = ("item", "cpu", "numpy", "tolist", "__bool__", "__float__", "__int__", "__index__")
WAITING_OPERATORS = {"_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique_dim", "_unique2"}


def task_of(config: FavaeConfig, val: PreparedSplit, start: int = 0) -> AutoencoderTask:
    torch.manual_seed(0)
    return AutoencoderTask(config, val, ALONE, start, None)


def step(task: AutoencoderTask, images: Tensor) -> dict[str, Tensor]:
    return task.train_step(Batch(images, np.arange(len(images)), []), 0)


def state(task: AutoencoderTask) -> dict[str, Tensor]:
    return {f"{m}.{k}": v for m, module in task.modules.items() for k, v in module.state_dict().items()}


def gradients(task: AutoencoderTask) -> list[Tensor]:
    parameters = [*task.model.parameters(), *task.spectrum.parameters(), *task.discriminator.parameters()]
    return [p.grad for p in parameters if p.grad is not None]


@pytest.mark.parametrize("parts", [2, 3, 4])
def test_a_batch_in_parts_gives_the_gradient_of_the_whole(
    tiny_spec: Specs, val: PreparedSplit, images: Tensor, parts: int
) -> None:
    """Three parts of four images: their sizes differ. Codebook: once, from all parts. Before the discriminator starts."""
    whole = task_of(tiny_spec(), val, NEVER)
    losses = step(whole, images)
    in_parts = task_of(tiny_spec(training={"accumulation": parts}), val, NEVER)
    torch.testing.assert_close(step(in_parts, images), losses)
    torch.testing.assert_close(gradients(in_parts), gradients(whole), rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(in_parts.model.quantizer.codebook, whole.model.quantizer.codebook)


def test_equal_parts_are_one_batch_to_the_discriminator_too(
    tiny_spec: Specs, val: PreparedSplit, images: Tensor
) -> None:
    """The same images in every part: batch statistics and adaptive weight of the parts are those of the batch."""
    twice = torch.cat([images[:2], images[:2]])
    whole, in_parts = (task_of(tiny_spec(training={"accumulation": parts}), val) for parts in (1, 2))
    torch.testing.assert_close(step(in_parts, twice), step(whole, twice), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(gradients(in_parts), gradients(whole), rtol=1e-3, atol=1e-6)


def test_the_moving_average_is_that_of_torch(tiny_spec: Specs, val: PreparedSplit, images: Tensor) -> None:
    """To the bit, after steps of the network; without the copy of a counter to the device at each of them."""
    task = task_of(tiny_spec(optimizer={"ema_decay": 0.9}), val)
    expected = AveragedModel(task.model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    for _ in range(3):
        step(task, images)
        expected.update_parameters(task.model)
    averaged = task.modules["averaged"].state_dict()
    assert averaged.keys() == expected.state_dict().keys()
    assert all(torch.equal(averaged[name], value) for name, value in expected.state_dict().items())


def test_more_parts_than_images_are_refused() -> None:
    config = {
        "seed": 0,
        "batch_size": 2,
        "length": "1 steps",
        "validate_every": "1 steps",
        "checkpoint_every": "1 steps",
    }
    with pytest.raises(ConfigError, match="accumulation 3 must not exceed batch_size 2"):
        validate(TrainingConfig, config | {"accumulation": 3}, "here")


@pytest.mark.parametrize("fcm", ["conv", "attention"])  # attention has dropout: the same numbers must be drawn again
def test_recomputed_activations_give_the_same_step_bit_for_bit(
    tiny_spec: Specs, val: PreparedSplit, images: Tensor, fcm: str
) -> None:
    kept = task_of(tiny_spec(model={"fcm": fcm}), val)
    again = task_of(tiny_spec(model={"fcm": fcm}, training={"recompute_activations": "last_level"}), val)
    for task in (kept, again):
        torch.manual_seed(1)
        step(task, images)
    assert all(torch.equal(a, b) for a, b in zip(gradients(kept), gradients(again), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(state(kept).values(), state(again).values(), strict=True))


def test_recomputing_saves_fewer_activations() -> None:
    torch.manual_seed(0)
    model = FAVAE(image_size=64, base_channels=32, channel_multipliers=(1, 1, 1), latent_channels=32)
    kept = {}
    for which in ("none", "last_level"):
        model.recompute_activations(which)
        sizes: list[int] = []

        def keep(saved: Tensor, sizes: list[int] = sizes) -> Tensor:
            sizes.append(saved.numel())
            return saved

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            model(torch.zeros(1, 3, 64, 64))
        kept[which] = sum(sizes)
    assert kept["last_level"] < 0.6 * kept["none"]
    with pytest.raises(ValueError, match="'all'; expected one of"):
        model.recompute_activations("all")


@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_memory_format_and_precision_change_rounding_only(
    tiny_spec: Specs, val: PreparedSplit, images: Tensor, memory_format: str, precision: str
) -> None:
    plain = step(task_of(tiny_spec(), val), images)
    other = step(task_of(tiny_spec(training={"memory_format": memory_format, "precision": precision}), val), images)
    tolerance = 1e-4 if precision == "fp32" else 0.1
    for name in ("l1", "image_ffl", "spectrum", "commitment"):
        torch.testing.assert_close(other[name], plain[name], rtol=tolerance, atol=0)


def test_compiling_changes_rounding_only(
    tiny_spec: Specs, val: PreparedSplit, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traced and differentiated as by default, run without generated code, which needs a C++ compiler here."""
    plain = task_of(tiny_spec(), val)
    expected = [step(plain, images) for _ in range(2)]
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    compiled = task_of(tiny_spec(training={"compile": True}), val)
    for losses in expected:
        torch.testing.assert_close(step(compiled, images), losses, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(compiled.model.quantizer.codebook, plain.model.quantizer.codebook)


def test_the_backward_pass_of_a_compiled_network_runs_once_in_a_step(
    tiny_spec: Specs, val: PreparedSplit, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gradient with respect to one weight of it would run all of it; the adaptive weight needs two of these."""
    # Here, as these take seconds to import, in each process that collects the tests.
    from functorch.compile import make_boxed_func
    from torch._dynamo.backends.common import aot_autograd

    passes: list[str] = []

    def counted(graph: torch.fx.GraphModule, _: object) -> Any:
        run = make_boxed_func(graph.forward)

        def counting(arguments: list[Any]) -> Any:
            passes.append("backward")
            return run(arguments)

        counting._boxed_call = True  # type: ignore[attr-defined]
        return counting

    backend = aot_autograd(fw_compiler=lambda graph, _: make_boxed_func(graph.forward), bw_compiler=counted)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    compiled = task_of(tiny_spec(training={"compile": True}), val)
    for _ in range(2):
        passes.clear()
        assert "adaptive_weight" in step(compiled, images)
        assert len(passes) == 1


def test_compiled_cat_has_the_same_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = _Codes.task(1)
    torch.manual_seed(2)
    expected = plain.train_step(_Codes.batch, 0)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    compiled = _Codes.task(1, True)
    torch.manual_seed(2)
    torch.testing.assert_close(compiled.train_step(_Codes.batch, 0), expected)


def test_the_official_order_gives_the_step_of_the_official_code(
    tiny_spec: Specs, val: PreparedSplit, images: Tensor
) -> None:
    """Every weight, the codebook and both optimisers' effect after two steps, against the step as released."""
    official = {"reconstruction": "recompute", "codebook_update": "official"}
    task = task_of(tiny_spec(objective={"adversarial": official}, optimizer={"sigma_lr": "main"}), val)
    released = task_of(tiny_spec(), val)
    no_lpips = torch.nn.Module()
    no_lpips.forward = lambda first, second: torch.zeros(len(first))  # type: ignore[method-assign]
    peer = OfficialStep(
        released.model,
        released.discriminator,
        no_lpips,
        kernel_size=3,
        rate=1e-3,
        betas=(0.5, 0.9),
        adversarial_weight=0.75,
    )
    for _ in range(2):
        mine, theirs = step(task, images), peer.train_step(to_float(images))
        assert {name: pytest.approx(float(mine[name]), rel=1e-3) for name in mine if name in theirs} == {
            name: value for name, value in theirs.items() if name in mine
        }
    for one, other in ((task.model, released.model), (task.discriminator, released.discriminator)):
        torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=1e-3, atol=2e-4)
    torch.testing.assert_close(task.spectrum.sigma_taps, peer.spectrum.sigmas, rtol=0, atol=1e-5)


class _Watch(TorchDispatchMode):
    """Collects operators that synchronise the host with the device."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in WAITING_OPERATORS:
            self.seen.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@contextmanager
def nothing_waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Context manager: reading the value of a tensor is an error."""

    def refuse(name: str) -> Callable[..., Any]:
        def method(*_: Any, **__: Any) -> Any:
            raise AssertionError(f"Tensor.{name} waits for the device")

        return method

    with monkeypatch.context() as patch, _Watch() as watch:
        for name in WAITING_METHODS:
            patch.setattr(Tensor, name, refuse(name))
        yield
    assert watch.seen == []


def test_the_watch_detects_synchronisation(monkeypatch: pytest.MonkeyPatch) -> None:
    for wait in (lambda x: x.item(), lambda x: x.cpu(), bool, float):
        with pytest.raises(AssertionError, match="waits for the device"), nothing_waits(monkeypatch):
            wait(torch.ones(()))
    with pytest.raises(AssertionError, match="masked_select"), nothing_waits(monkeypatch):
        torch.masked_select(torch.ones(3), torch.ones(3, dtype=torch.bool))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"objective": {"adversarial": {"reconstruction": "recompute", "codebook_update": "official"}}},
        {"model": {"quantizer": {"dead_code_threshold": 0.1}}},
        {"training": {"precision": "bf16", "accumulation": 2, "recompute_activations": "last_level"}},
    ],
    ids=["default", "official order", "dead codes", "bf16 in parts"],
)
def test_no_value_is_read_in_a_step_of_the_autoencoder(
    tiny_spec: Specs, val: PreparedSplit, images: Tensor, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(tiny_spec(**changes), val)
    step(task, images)  # optimisers allocate their state
    with nothing_waits(monkeypatch):
        step(task, images)


class _Codes:
    """The parts of a text-to-image model that `CatTask` needs: a network, and text embeddings of captions."""

    @staticmethod
    def task(accumulation: int, compile_: bool = False) -> Any:
        from favae.models import CAT
        from favae.training.cat import CatTask

        class Model(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.cat = CAT(codes=16, grid=(2, 2), layers=1, dim=16, heads=2, head_dim=8, text_dim=8, dropout=0.0)

            def embed(self, captions: list[str]) -> tuple[Tensor, Tensor]:
                lengths = [len(caption) for caption in captions]
                text = torch.tensor([[[length / 8.0] * 8] * 3 for length in lengths])
                return text, torch.ones(len(captions), 3, dtype=torch.bool)

        torch.manual_seed(0)
        config = CatConfig.model_validate(
            {
                "model": {"layers": 1},
                "text": {"kind": "learned"},
                "optimizer": {"base_lr": 1e-3, "scaling": "none", "warmup": "0 steps"},
                "training": {
                    "seed": 0,
                    "batch_size": 4,
                    "length": "4 steps",
                    "validate_every": "4 steps",
                    "checkpoint_every": "4 steps",
                    "accumulation": accumulation,
                    "compile": compile_,
                },
            }
        )
        model: Any = Model()
        no_val: Any = None
        return CatTask(config, model, no_val, ALONE, 0, 4)

    batch = (torch.arange(16).view(4, 4), ["a", "bc", "def", "ghij"])


@pytest.mark.parametrize("parts", [2, 3])
def test_cat_in_parts_gives_the_gradient_of_the_whole(parts: int) -> None:
    whole, in_parts = _Codes.task(1), _Codes.task(parts)
    losses = []
    for task in (whole, in_parts):
        torch.manual_seed(2)
        losses.append(task.train_step(_Codes.batch, 0))
    torch.testing.assert_close(losses[1], losses[0])
    for one, other in zip(whole.parameters, in_parts.parameters, strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-4, atol=1e-7)


def test_no_value_is_read_in_a_step_of_cat(monkeypatch: pytest.MonkeyPatch) -> None:
    task = _Codes.task(1)
    task.train_step(_Codes.batch, 0)
    with nothing_waits(monkeypatch):
        task.train_step(_Codes.batch, 1)
