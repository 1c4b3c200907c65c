"""On a GPU every loss and step computes what the CPU computes, no step waits for the device, and a resumed run is the same."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from gan_support import CLASSES, TREES, config_of, data_of, task_of, write_pairs
from torch import Tensor, nn

from favae.bench.compare import in_fp32
from favae.bench.networks import random_batch, random_digits, random_lpips, stft_vae_spec, stft_vae_task, training_spec
from favae.config.cat import CatConfig
from favae.config.load import validate
from favae.config.segmentation import SegmenterConfig
from favae.data.batches import Batch, TrainingBatches
from favae.inference.export import TextToImage
from favae.losses import DynamicSpectrumLoss, FocalFrequencyLoss
from favae.losses.batch_spectrum import BatchFrequencyLoss
from favae.losses.spectral_regularization import SpectralRegularization
from favae.losses.ssim import SSIMLoss
from favae.losses.stft import STFTLoss
from favae.models import CAT
from favae.models.quantizers import CosineQuantizer
from favae.text import build_text_encoder
from favae.training.autoencoder import AutoencoderTask
from favae.training.cat import CatTask
from favae.training.distributed import Ranks
from favae.training.gan import TrainingData
from favae.training.loop import Loop, Plan
from favae.training.segmenter import SegmenterTask
from favae.training.task import Task

# Read when a process first uses cuBLAS: with it, matrix products give the same bits each time.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
pytestmark = pytest.mark.gpu

GPU = torch.device("cuda")
KINDS = list(TREES)
FAST = {"training": {"precision": "bf16", "memory_format": "channels_last"}}


@pytest.fixture(autouse=True)
def _products_in_fp32() -> Iterator[None]:
    with in_fp32():
        yield


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], TrainingData]:
    root = tmp_path_factory.mktemp("pairs")
    for kind in KINDS:
        write_pairs(root / kind, kind)
    return lambda kind: data_of(root / kind, kind)


def close(found: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    distance = (found.detach().cpu().double() - expected.detach().cpu().double()).norm() / expected.double().norm()
    assert distance <= tolerance, f"{what}: {distance:.1e}"


LOSSES: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "ffl": (FocalFrequencyLoss(), (3, 3, 64, 48)),
    "ffl of odd sizes": (FocalFrequencyLoss(), (2, 5, 33, 47)),
    "ffl of patches": (FocalFrequencyLoss(patch_factor=2, log_matrix=True), (2, 3, 34, 50)),
    "ffl of the batch": (BatchFrequencyLoss(), (4, 3, 32, 31)),
    "ssim": (SSIMLoss(), (2, 1, 28, 28)),
    "short-time fourier": (STFTLoss(), (2, 1, 28, 28)),
    "spectral regularisation": (SpectralRegularization(), (3, 3, 33, 33)),
}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_and_its_gradient_are_those_of_the_cpu(name: str, layout: torch.memory_format) -> None:
    loss, shape = LOSSES[name]
    torch.manual_seed(1)
    images = torch.rand(2, *shape)

    def measured(device: torch.device) -> tuple[Tensor, Tensor]:
        pred, target = (x.to(device).contiguous(memory_format=layout) for x in images)
        pred.requires_grad_()
        value = loss.to(device)(pred, target)
        return value, torch.autograd.grad(value, pred)[0]

    expected, found = measured(torch.device("cpu")), measured(GPU)
    assert found[0].device.type == "cuda" and found[0].dtype == torch.float32
    for mine, theirs, what in zip(found, expected, ("value", "gradient"), strict=True):
        # The phase of a frequency near zero is rounding.
        close(mine, theirs, 1e-2 if name == "short-time fourier" else 1e-4, f"{name}, {what}")


@pytest.mark.parametrize("side", [17, 32])
def test_spectra_of_16_bit_features_are_computed_in_32(side: int) -> None:
    torch.manual_seed(2)
    features = [torch.randn(2, 4, side, side).bfloat16() for _ in range(8)]

    def measured(device: torch.device, dtype: torch.dtype) -> list[Tensor]:
        moved = [x.to(device, dtype).requires_grad_() for x in features]
        loss = DynamicSpectrumLoss(kernel_size=9).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
            value = loss(list(zip(moved[::2], moved[1::2], strict=True)))
        return [value, *torch.autograd.grad(value, [*moved, loss.sigma_taps])]

    expected, found = measured(torch.device("cpu"), torch.float32), measured(GPU, torch.bfloat16)
    assert found[0].dtype == torch.float32
    close(found[0], expected[0], 1e-5, "value")
    close(found[-1], expected[-1], 1e-4, "gradient of the sigmas")
    for mine, theirs in zip(found[1:-1], expected[1:-1], strict=True):
        close(mine.float(), theirs, 5e-3, "gradient of a feature, in 16 bits")


def test_codes_are_chosen_and_learned_in_32_bits() -> None:
    torch.manual_seed(3)
    ours, theirs = CosineQuantizer(64, 512), CosineQuantizer(64, 512).double()
    theirs.load_state_dict(ours.state_dict())
    z = torch.randn(4, 64, 16, 16)
    with torch.autocast("cuda", torch.bfloat16):
        found = ours.to(GPU).train()(z.to(GPU))
    expected = theirs.train()(z.double())
    assert (found.indices.cpu() == expected.indices).float().mean() > 0.999
    close(ours.codebook, theirs.codebook, 1e-2, "codebook")  # one vector that rounding gave to another code


def task_on(device: torch.device, data: TrainingData | None = None, **changes: Any) -> AutoencoderTask:
    torch.manual_seed(0)
    config = training_spec(True, **changes)
    val: Any = None if data is None else data.val
    return AutoencoderTask(config, val, Ranks(0, 1, device), 0, random_lpips().to(device))


@pytest.mark.parametrize(
    ("changes", "losses", "gradients"),
    [
        ({}, 1e-4, 1e-3),
        ({"training": {"memory_format": "channels_last"}}, 1e-4, 1e-3),
        ({"training": {"compile": True}}, 1e-4, 1e-3),
        (FAST, 3e-2, None),
        ({"training": FAST["training"] | {"compile": True}}, 3e-2, None),
    ],
    ids=["fp32", "channels_last", "compiled", "bf16", "bf16 compiled"],
)
def test_a_step_computes_what_the_cpu_computes(changes: dict[str, Any], losses: float, gradients: float | None) -> None:
    batch = random_batch(4, 32)
    with torch.random.fork_rng():
        one, other = task_on(torch.device("cpu")), task_on(GPU, **changes)
        other.model.load_state_dict(one.model.state_dict())
        other.discriminator.load_state_dict(one.discriminator.state_dict())
        assert one.lpips is not None and other.lpips is not None
        other.lpips.load_state_dict(one.lpips.state_dict())
        expected, found = one.train_step(batch, 0), other.train_step(batch, 0)
    for name, value in expected.items():
        if name not in ("adaptive_weight", "logits_real", "logits_fake"):
            close(found[name], value, losses, name)
    if gradients is not None:  # in 16 bits a tiny network chooses other codes
        mine, theirs = (
            torch.cat([p.grad.flatten().cpu() for p in task.model.parameters() if p.grad is not None])
            for task in (other, one)
        )
        close(mine, theirs, gradients, "gradients")


def cat_task(device: torch.device) -> CatTask:
    torch.manual_seed(0)
    tree = {
        "model": {"layers": 2, "dim": 32, "heads": 2, "head_dim": 8},
        "text": {"kind": "learned", "dim": 16, "layers": 1, "heads": 2, "max_tokens": 8},
        "optimizer": {"base_lr": 1e-3, "scaling": "none", "warmup": "2 steps"},
        "training": {
            "seed": 0,
            "batch_size": 4,
            "length": "6 steps",
            "validate_every": "6 steps",
            "checkpoint_every": "3 steps",
            "precision": "bf16",
            "threads": 1,
        },
    }
    config = validate(CatConfig, tree, "test")
    text = build_text_encoder(config.text.given(), ["a red square", "a blue square"])
    model = CAT(codes=16, grid=(4, 4), text_dim=text.dim, **config.model.given())
    return CatTask(config, TextToImage(model, text), None, Ranks(0, 1, device), 2, 6)  # type: ignore[arg-type]


def segmenter_task(device: torch.device, data: TrainingData) -> SegmenterTask:
    tree = {
        "model": {"classes": CLASSES, "base_channels": 4},
        "lr": 1e-3,
        "training": {
            "seed": 0,
            "batch_size": 4,
            "length": "6 steps",
            "validate_every": "6 steps",
            "checkpoint_every": "3 steps",
            "threads": 1,
        },
    }
    return SegmenterTask(validate(SegmenterConfig, tree, "test"), data, Ranks(0, 1, device))


@contextmanager
def no_waiting() -> Iterator[None]:
    """An operation that waits for the device raises."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def assert_runs_ahead(task: Task, batch: Any) -> None:
    for step in range(2):  # the first steps allocate, and choose algorithms
        task.train_step(batch, step)
    with no_waiting():
        for step in range(2, 8):
            task.train_step(batch, step)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        FAST,
        {"training": {"accumulation": 2, "recompute_activations": "last_level"}, "optimizer": {"ema_decay": 0.9}},
        {
            "model": {"quantizer": {"dead_code_threshold": 0.1}},
            "objective": {"adversarial": {"reconstruction": "recompute"}},
        },
        {"model": {"fcm": "residual"}, "objective": {"image_ffl": {"weight": 0.0}}},
    ],
    ids=["fp32", "bf16", "parts and average", "dead codes, official order", "residual"],
)
def test_no_step_of_an_autoencoder_waits_for_the_device(changes: dict[str, Any]) -> None:
    assert_runs_ahead(task_on(GPU, **changes), random_batch(4, 32))


@pytest.mark.parametrize("kind", KINDS)
def test_no_step_of_a_gan_waits_for_the_device(kind: str, pairs: Callable[[str], TrainingData]) -> None:
    data = pairs(kind)
    batch = TrainingBatches(data.train, 4, 5, prefetch=0).batch(0)
    assert_runs_ahead(task_of(config_of(kind), data, Ranks(0, 1, GPU)), pinned(batch))


def test_no_step_of_the_other_networks_waits_for_the_device(pairs: Callable[[str], TrainingData]) -> None:
    data = pairs("spade")
    assert_runs_ahead(segmenter_task(GPU, data), pinned(TrainingBatches(data.train, 4, 5, prefetch=0).batch(0)))
    assert_runs_ahead(stft_vae_task(stft_vae_spec("stft-ssim", "bf16"), GPU), random_digits(8))
    captions = ["a red square", "a blue square", "red", "blue"]
    assert_runs_ahead(cat_task(GPU), (torch.randint(16, (4, 16)).pin_memory(), captions))


def pinned(batch: Batch) -> Batch:
    return TrainingBatches._pinned(batch)


class Killed(BaseException):
    """Stands for a process that is gone."""


def train(task: Task, data: TrainingData, state: Path, kill_at: int | None = None) -> dict[str, Tensor]:
    config = config_of("pix2pix").training
    step_of = task.train_step

    def step(batch: Any, number: int) -> dict[str, Tensor]:
        if number == kill_at:
            raise Killed
        return step_of(batch, number)

    task.train_step = step  # type: ignore[method-assign]
    batches = TrainingBatches(data.train, 4, 5, augment="flip", prefetch=0)
    Loop(task, Plan.of(config, len(data.train)), state, Ranks(0, 1, GPU), config, "toy").run(batches.iter_from)
    return {f"{name}/{key}": v for name, module in task.modules.items() for key, v in module.state_dict().items()}


@pytest.fixture
def _same_bits() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("_same_bits")
@pytest.mark.parametrize("kind", ["fp32", "bf16", *KINDS])
def test_a_resumed_run_ends_with_the_same_bits(kind: str, pairs: Callable[[str], TrainingData], tmp_path: Path) -> None:
    data = pairs(kind if kind in KINDS else "pix2pix")

    def fresh() -> Task:
        if kind in KINDS:
            torch.manual_seed(5)
            return task_of(config_of(kind), data, Ranks(0, 1, GPU))
        return task_on(GPU, data, optimizer={"ema_decay": 0.9}, **(FAST if kind == "bf16" else {}))

    whole = train(fresh(), data, tmp_path / "whole")
    again = train(fresh(), data, tmp_path / "again")
    with pytest.raises(Killed):
        train(fresh(), data, tmp_path / "parts", kill_at=4)
    torch.manual_seed(99)  # another process would not have the state of this generator
    resumed = train(fresh(), data, tmp_path / "parts")
    for name, value in whole.items():
        assert torch.equal(value, again[name]), f"{name}: two runs differ"
        assert torch.equal(value, resumed[name]), f"{name}: the resumed run differs"
