"""Threads: vector functions are first called in one thread, which decides how precise they are."""

import subprocess
import sys

import torch

_FIRST_CALLS = """
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from favae.runtime.cpu import use_threads

class Watch(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in ("sqrt", "exp", "log"):
            print(name, args[0].dtype, args[0].numel())
        return function(*args, **(kwargs or {}))

with Watch():
    use_threads(2)
print(torch.get_num_threads())
"""


def test_each_vector_function_is_called_once_on_one_number_before_any_thread_starts() -> None:
    said = subprocess.run(
        [sys.executable, "-c", _FIRST_CALLS], capture_output=True, text=True, check=True
    ).stdout.split("\n")
    for name in ("sqrt", "exp", "log"):
        for dtype in (torch.float32, torch.float64):
            assert said.count(f"{name} {dtype} 1") == 1
    assert said[-2] == "2"
