"""CPU threads, memory reuse and device of a process."""

import ctypes
import os
import socket
import sys

import torch

from favae.runtime.slurm import booked_gpus

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
    """Use `threads` CPU threads, with the same numbers in every run.

    MKL chooses the implementation of a vector function at its first call. If two threads make that call at the same time,
    one of them may silently get an implementation with 12 bits of precision, for that call only (pytorch issue 188792).
    So the first calls are made here, in one thread.
    """
    for dtype in (torch.float32, torch.float64):
        for function in _VECTOR_FUNCTIONS:
            function(torch.full((1,), 0.5, dtype=dtype))
    torch.set_num_threads(threads)


def keep_freed_memory() -> None:
    """Keep freed memory of CPU tensors, up to 1 GiB, instead of returning it to the system after each operation.

    By default glibc maps every tensor above about 100 kB anew and the kernel clears its pages: at small batches that
    takes a quarter of a training step. Has no effect with other C libraries.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for parameter in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            mallopt(parameter, 1 << 30)


def use_cpu_for_training(threads: int) -> None:
    """Set threads, memory reuse and flushing of denormal numbers for a training process."""
    use_threads(threads)
    keep_freed_memory()
    torch.set_flush_denormal(True)  # Adam's tiny moments are denormal: a hundred times slower on a CPU


def choose_device(threads: int) -> torch.device:
    """The device of a job in one process: CUDA if available, otherwise the CPU. Also sets the number of CPU threads.

    Raises GpuUnusable.
    """
    use_threads(threads)
    return torch.device("cuda" if uses_cuda() else "cpu")


class GpuUnusable(RuntimeError):
    """SLURM gave this job a GPU, and torch cannot use it."""


def uses_cuda() -> bool:
    """Whether torch can use a GPU. Raises GpuUnusable if it cannot but SLURM gave this job one: a day on the CPU would follow."""
    if torch.cuda.is_available():
        return True
    booked = booked_gpus()
    if booked is None or os.environ.get("FAVAE_COUNTED_GPUS"):  # set where GPUs are only counted, as in tests
        return False
    why = "this torch is built for the CPU" if torch.version.cuda is None else "its driver is missing or too old"
    raise GpuUnusable(
        f"this job has GPU {booked} of {socket.gethostname()}, and torch {torch.__version__} finds none: {why}; "
        "install a torch for the GPUs of this cluster in the project's environment, or ask for no GPU"
    )


def emulates_bf16() -> bool:
    """Whether a training here runs on a CPU that computes bf16 in software (`runtime.bf16`)."""
    return not torch.cuda.is_available() and torch.backends.cpu.get_cpu_capability() in ("AVX2", "NO AVX")


def device_name(device: torch.device) -> str:
    """The GPU's name, or `cpu`, for run records."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
