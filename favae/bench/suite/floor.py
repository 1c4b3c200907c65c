"""Lower bounds of the benchmarks' times on this machine (roofline), and how far each benchmark is from them."""

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from favae.bench.networks import (
    random_batch,
    random_digits,
    stft_vae_spec,
    stft_vae_task,
    training_spec,
    training_task,
)
from favae.bench.section import Row, Section, Settings
from favae.losses import DynamicSpectrumLoss, FocalFrequencyLoss
from favae.models import CAT
from favae.models.quantizers import CosineQuantizer
from favae.training.task import Task

_GIGA = 1e9
_SHORT = {torch.float32: "fp32", torch.bfloat16: "bf16"}


class Operations(TorchDispatchMode):
    """Adds up torch's own counts of all that runs. (Its FlopCounterMode hooks modules, which gradients at one weight forbid.)"""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if count := flop_registry.get(func.overloadpacket):
            self.total += count(*args, **(kwargs or {}), out_val=out)
        return out


def _seconds(run: Callable[[], Any], settings: Settings) -> float:
    """Median time of the runs within two seconds (on a GPU: of five runs in a row, within one), after a warm-up run."""
    run()
    seconds: list[float] = []
    runs, limit = (5, 1) if settings.on_gpu else (1, 2)
    settings.wait()
    begin = time.perf_counter()
    while not seconds or (time.perf_counter() - begin < limit and not settings.quick):
        start = time.perf_counter()
        for _ in range(runs):
            run()
        settings.wait()
        seconds.append((time.perf_counter() - start) / runs)
    return statistics.median(seconds)


def _peaks(settings: Settings) -> tuple[dict[torch.dtype, float], float]:
    """FLOP/s of a large matrix product in fp32 and in bf16, and bytes/s of a copy (read and written)."""
    full = (8192, 1 << 30) if settings.on_gpu else (3072, 1 << 26)
    side, numbers = (128, 1 << 16) if settings.quick else full
    a = torch.randn(side, side, device=settings.device)
    source = torch.rand(numbers, device=settings.device)
    target = torch.empty_like(source)
    products = (a, a.bfloat16())
    rates = {x.dtype: 2 * side**3 / _seconds(partial(torch.mm, x, x), settings) for x in products}
    return rates, 2 * source.nbytes / _seconds(lambda: target.copy_(source), settings)


def _works(settings: Settings) -> Iterator[tuple[str, Callable[[], Any], float | None, float, torch.dtype]]:
    """Name, work, FLOPs (None: to be counted), least bytes to move (inputs, outputs and weights, once each), and the data type
    whose peak rate is the bound."""
    quick, device = settings.quick, settings.device
    shape = (1, 3, 32, 32) if quick else (8, 3, 256, 256)
    pred, target = (torch.randn(shape, device=device) for _ in range(2))
    pred.requires_grad_()
    ffl = FocalFrequencyLoss()
    # Two real transforms of n points with 2.5 n log2 n operations each (half of a complex transform).
    transforms = 2 * 2.5 * pred.numel() * torch.tensor(shape[-1] * shape[-2]).log2().item()
    yield (
        "focal frequency loss, 8x3x256x256",
        lambda: ffl(pred, target).backward(),
        transforms,
        3 * pred.nbytes,
        torch.float32,
    )

    sizes = [(4, 32), *[(4, 16)] * 3] if quick else [(128, 256), (512, 16), (512, 16), (256, 16)]
    pairs = [[torch.randn(1, c, s, s, device=device, requires_grad=True) for _ in range(2)] for c, s in sizes]
    dsl = DynamicSpectrumLoss().to(device)
    moved = 2 * sum(x.nbytes for pair in pairs for x in pair)
    yield "dynamic spectrum loss, f = 16", lambda: dsl(tuple(map(tuple, pairs))).backward(), None, moved, torch.float32

    codes, dim, side = (32, 8, 4) if quick else (16384, 256, 16)
    quantizer, z = CosineQuantizer(dim, codes).to(device).train(), torch.randn(8, dim, side, side, device=device)
    yield (
        "quantiser, 16384 codes",
        lambda: quantizer(z),
        None,
        2 * z.nbytes + 3 * quantizer.codebook.nbytes,
        torch.float32,
    )

    fast = {"precision": "bf16", "batch_size": 8}
    config = training_spec(quick, training=fast if settings.on_gpu else {})
    task, side = training_task(config, device), config.model.image_size
    batch = random_batch(8, side) if settings.on_gpu else random_batch(1, max(side // 2, 32))
    yield (
        "training step, f = 16 at 256 pixels, batch 8, bf16"
        if settings.on_gpu
        else "training step, f = 16 at 128 pixels",
        lambda: task.train_step(batch, 0),
        None,
        _moved_by_adam(task),
        torch.bfloat16 if settings.on_gpu else torch.float32,
    )

    vae, digits = stft_vae_task(stft_vae_spec("l2", "bf16"), device), random_digits(50)
    yield (
        "training step, STFT-VAE, batch 50, bf16",
        lambda: vae.train_step(digits, 0),
        None,
        _moved_by_adam(vae),
        torch.bfloat16,
    )

    toy = {"dim": 16, "heads": 2, "head_dim": 8, "text_dim": 8, "grid": (4, 4)}
    cat = CAT(layers=1, **(toy if quick else {})).to(device).eval()  # type: ignore[arg-type]
    text = torch.randn(8, 77, cat.text_dim, device=device)
    mask = torch.ones(8, 77, dtype=torch.bool, device=device)
    read = 4.0 * cat.tokens * sum(p.numel() for p in cat.parameters())
    yield "CAT sampling, 1 layer, batch 8, guided", lambda: cat.generate(text, mask), None, read, torch.float32


def _moved_by_adam(task: Task) -> float:
    """Bytes: weights forward and back, gradients written and read, both moments of Adam and the weights read and written."""
    return 4 * 10.0 * sum(p.numel() for module in task.modules.values() for p in module.parameters())


def _rows(settings: Settings) -> Iterator[Row]:
    peaks, bandwidth = _peaks(settings)
    for dtype, rate in peaks.items():
        yield f"peak: matrix product, {_SHORT[dtype]}", f"{rate / _GIGA:.0f} GFLOP/s", "", "", "", "", ""
    yield "peak: copy", "", f"{bandwidth / _GIGA:.1f} GB/s", "", "", "", ""
    for name, run, operations, moved, dtype in _works(settings):
        if operations is None:
            with Operations() as counter:
                run()
            operations = counter.total
        seconds = _seconds(run, settings)
        by_operations, by_bytes = operations / peaks[dtype], moved / bandwidth
        yield (
            name,
            f"{operations / _GIGA:.3g} GFLOP",
            f"{moved / _GIGA:.3g} GB",
            f"{by_operations * 1e3:.3g} ms",
            f"{by_bytes * 1e3:.3g} ms",
            f"{seconds * 1e3:.3g} ms",
            f"{seconds / max(by_operations, by_bytes):.1f}",
        )


SECTION = Section(
    20,
    "Floor",
    ("work", "operations", "bytes", "floor by operations", "floor by bytes", "measured", "times the floor"),
    _rows,
    "Peak rates are measured on this machine: a product of 3072x3072 matrices and a copy of 256 MiB on a CPU, of 8192x8192 matrices "
    "and 4 GiB on a GPU. Operations are counted by torch "
    "(matrix products and convolutions) or computed (2.5 n log2 n per transform); bytes are inputs, outputs, weights and optimiser "
    "state, each moved as often as necessary. The larger of the two times is the floor. Convolutions are at best as fast as a large "
    "matrix product.",
)
