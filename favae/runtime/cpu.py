"""How a process uses its CPU cores and its memory, and which device it computes on."""

import ctypes
import sys

import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_VECTOR_FUNCTIONS = (
    torch.acos,
    torch.asin,
    torch.atan,
    torch.cos,
    torch.erf,
    torch.erfc,
    torch.exp,
    torch.expm1,
    torch.lgamma,
    torch.log,
    torch.log10,
    torch.log1p,
    torch.log2,
    torch.sin,
    torch.sqrt,
    torch.tan,
    torch.tanh,
)


def use_threads(threads: int) -> None:
    """Compute with that many threads, the same numbers in every run.

    MKL chooses a vector function's implementation at its first call. Two threads that make it at once may get one with
    12 bits of precision, silently and for that call only (pytorch issue 188792), so the first call is made here, in one.
    """
    for dtype in (torch.float32, torch.float64):
        for function in _VECTOR_FUNCTIONS:
            function(torch.full((1,), 0.5, dtype=dtype))
    torch.set_num_threads(threads)


def keep_freed_memory() -> None:
    """Let this process keep memory that a CPU's tensors free, up to 1 GiB, instead of handing it back after each operation.

    glibc maps every tensor above some 100 kB anew, and the kernel clears its pages: at small batches that is a
    quarter of a training step. Other C libraries are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for parameter in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            mallopt(parameter, 1 << 30)


def use_cpu_for_training(threads: int) -> None:
    """Threads, memory and numbers of a process that trains."""
    use_threads(threads)
    keep_freed_memory()
    torch.set_flush_denormal(True)  # tiny Adam moments would be a hundred times slower on a CPU


def choose_device(threads: int) -> torch.device:
    """The device of a job in one process: CUDA where available, else the CPU with that many threads."""
    use_threads(threads)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name(device: torch.device) -> str:
    """The GPU's name, or `cpu`: what a run record says."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
