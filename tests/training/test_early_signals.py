"""A signal to stop that comes before a training has begun."""

import subprocess
import sys

import pytest

from favae.runtime import cpu
from favae.runtime.cpu import GpuUnusable, choose_device

PROGRAM = """
import os, signal
from favae.runtime.early import note_signals, noted_signal
note_signals()
assert noted_signal() is None
try:
    os.kill(os.getpid(), signal.{name})
    print("goes on")
except KeyboardInterrupt:  # as modules do that try an optional import
    print("ends")
print(noted_signal().name)
"""


@pytest.mark.parametrize(("name", "then"), [("SIGTERM", "goes on"), ("SIGUSR1", "goes on"), ("SIGINT", "ends")])
def test_a_signal_before_the_training_is_noted_and_only_ctrl_c_ends_it(name: str, then: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(name=name)], capture_output=True, text=True, check=False
    )
    assert done.stdout == f"{then}\n{name}\n", done.stderr


@pytest.fixture
def booked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A SLURM job with a GPU, which torch cannot use."""
    monkeypatch.setattr(cpu.torch.cuda, "is_available", lambda: False)
    for name in ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS", "FAVAE_COUNTED_GPUS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")


@pytest.mark.usefixtures("booked")
def test_a_booked_gpu_that_torch_cannot_use_stops_the_job_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GpuUnusable, match=r"this job has GPU 0 of \S+, and torch \S+ finds none: .*; install") as error:
        choose_device(1)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("booked")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLURM_JOB_ID", None),
        ("CUDA_VISIBLE_DEVICES", ""),
        ("CUDA_VISIBLE_DEVICES", "NoDevFiles"),
        ("FAVAE_COUNTED_GPUS", "yes"),
    ],
)
def test_without_a_booked_gpu_the_cpu_is_used(monkeypatch: pytest.MonkeyPatch, name: str, value: str | None) -> None:
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    assert choose_device(1).type == "cpu"
