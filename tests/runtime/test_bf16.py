"""On a processor without bf16, products of bf16 tensors are computed in fp32; the reference is fp64, rounded once."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from favae.fingerprint.job import code_of
from favae.jobs.grid import load_grid
from favae.results.publish import Outcome
from favae.runtime.bf16 import NOTE, ProductsInFp32
from favae.runtime.cpu import emulates_bf16
from favae.stages.context import Context, run_stage

ROUNDING = 2.0**-8  # largest relative error of rounding to bf16, half of the spacing of its numbers


def _draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).bfloat16().requires_grad_()


PRODUCTS: dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...]]] = {
    "convolution": (lambda x, w, b: F.conv2d(x, w, b, stride=2), (_draw(2, 3, 9, 9), _draw(5, 3, 3, 3), _draw(5))),
    "transposed": (lambda x, w: F.conv_transpose2d(x, w, stride=2), (_draw(2, 3, 5, 5), _draw(3, 4, 3, 3))),
    "linear": (F.linear, (_draw(6, 7), _draw(5, 7), _draw(5))),
    "matrices": (torch.matmul, (_draw(3, 4, 5), _draw(3, 5, 6))),
    "attention": (F.scaled_dot_product_attention, (_draw(2, 3, 8, 16), _draw(2, 3, 8, 16), _draw(2, 3, 8, 16))),
}


@pytest.mark.parametrize("product", PRODUCTS)
def test_values_and_gradients_are_those_of_exact_products_rounded_once(product: str) -> None:
    function, operands = PRODUCTS[product]
    with ProductsInFp32():
        value = function(*operands)
        gradients = torch.autograd.grad(value.square().sum(), operands)
    exact = [operand.detach().double().requires_grad_() for operand in operands]
    # The gradient of a square sum takes the rounded value, as in the computation above.
    exact_value = function(*exact)
    exact_gradients = torch.autograd.grad(exact_value, exact, 2 * value.detach().double())
    roundings = 4 if product == "attention" else 1  # its backward pass starts from the rounded value
    for got, expected in zip((value, *gradients), (exact_value, *exact_gradients), strict=True):
        assert got.dtype is torch.bfloat16
        assert (got.double() - expected).abs().max() <= roundings * ROUNDING * expected.abs().max()


def test_other_types_are_computed_as_without() -> None:
    x, w = torch.randn(4, 4), torch.randn(4, 4)
    with ProductsInFp32():
        inside = x.double() @ w.double(), x @ w, x.bfloat16() + w.bfloat16()
    for one, other in zip(inside, (x.double() @ w.double(), x @ w, x.bfloat16() + w.bfloat16()), strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("capability", "cuda", "emulated"),
    [("AVX2", False, True), ("AVX2", True, False), ("AVX512", False, False), ("DEFAULT", False, False)],
)
def test_only_a_processor_without_avx_512_emulates_bf16(
    capability: str, cuda: bool, emulated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    assert emulates_bf16() == emulated


@pytest.mark.parametrize(
    ("cell", "capability", "widened"),
    [("mnist-ssim-s0", "AVX2", True), ("mnist-ssim-s0", "AVX512", False), ("mnist-ssim-s0-fp32", "AVX2", False)],
)
def test_a_training_in_bf16_takes_fp32_products_only_where_bf16_is_emulated_and_its_record_says_so(
    cell: str, capability: str, widened: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = load_grid("stft").job("train_autoencoder", cell)
    active: list[bool] = []

    def stage(*_: object) -> Outcome:
        active.append(torch.utils._python_dispatch._get_current_dispatch_mode() is not None)
        return Outcome({})

    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("favae.stages.train_autoencoder.run", stage)
    outcome = run_stage(job, Context(tmp_path, tmp_path, 1))
    assert active == [widened]
    assert outcome.device == (f"cpu, {NOTE}" if widened else "cpu")
    assert ("favae.runtime.bf16" in code_of(job).units) == widened  # its code is part of the result
