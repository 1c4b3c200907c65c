"""bf16 on a processor that has no instructions for it.

There, oneDNN and MKL compute convolutions, matrix products and attention of bf16 tensors in software, many times slower than
in fp32 (`favae bench bf16`). A product of two bf16 numbers is exact in fp32, and processors with such instructions sum in
fp32 too. So the same operation on operands widened to fp32, with its result rounded to bf16, gives what these processors
give, up to the order of the sums.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

NOTE = "bf16 products computed in fp32"  # in the device of run records
_aten = torch.ops.aten
# Operation: which of its results are in the type of its operands; the others are in fp32 in any case.
_PRODUCTS: dict[Any, slice] = {
    _aten.convolution.default: slice(None),
    _aten.convolution_backward.default: slice(None),
    _aten.mm.default: slice(None),
    _aten.addmm.default: slice(None),
    _aten.bmm.default: slice(None),
    _aten.baddbmm.default: slice(None),
    _aten._scaled_dot_product_flash_attention_for_cpu.default: slice(1),
    _aten._scaled_dot_product_flash_attention_for_cpu_backward.default: slice(None),
}


class ProductsInFp32(TorchDispatchMode):
    """Compute products of bf16 tensors in fp32 and round the results to bf16. Also holds in the backward pass on a CPU."""

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Called by torch for each operation."""
        kwargs = kwargs or {}
        rounded = _PRODUCTS.get(func)
        if rounded is None or not _is_bf16(args[0]):
            return func(*args, **kwargs)
        result = func(*map(_widened, args), **{name: _widened(value) for name, value in kwargs.items()})
        if isinstance(result, torch.Tensor):
            return result.bfloat16()
        results = list(result)
        results[rounded] = [None if one is None else one.bfloat16() for one in results[rounded]]
        return tuple(results)


def _is_bf16(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype is torch.bfloat16


def _widened(value: Any) -> Any:
    return value.float() if _is_bf16(value) else value
