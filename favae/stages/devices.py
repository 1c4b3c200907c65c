"""The device of a job that runs in one process."""

import os

import torch

from favae.runtime.cpu import use_threads
from favae.stages.runner import Context


def choose_device(context: Context) -> torch.device:
    """CUDA where there is one, else the CPU with the threads the workflow gave; noted in the run record."""
    use_threads(int(os.environ.get("FAVAE_THREADS", os.cpu_count() or 1)))
    if torch.cuda.is_available():
        context.device = torch.cuda.get_device_name(0)
        return torch.device("cuda")
    return torch.device("cpu")
