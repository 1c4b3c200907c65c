"""Description of the machine of a measurement."""

import datetime
import os
import platform
from importlib.metadata import version
from pathlib import Path

import psutil
import torch

from favae.bench.section import Settings
from favae.results.git import read_git_record, working_tree
from favae.runtime.cpu import use_threads

_PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "pillow",
    "torchmetrics",
    "focal-frequency-loss",
    "vector-quantize-pytorch",
)


def use(settings: Settings) -> None:
    """Set the number of threads, and check that the device is available.

    Raises:
        ValueError: a CUDA device was requested and none is available.
    """
    if settings.device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("torch finds no CUDA device on this machine; remove --device cuda")
    use_threads(settings.threads)
    torch.set_flush_denormal(True)  # as in training


def describe(settings: Settings) -> dict[str, str]:
    """Date, commit, machine and software, as (heading, text) of a table."""
    tree = working_tree()
    if tree["commit"] is None:  # a compute node without git: the head process has written it down
        tree |= read_git_record()
    changes = f", {len(tree['dirty'])} files changed since" if tree["dirty"] else ""
    gpu = _card(settings.device) if settings.on_gpu else "none used"
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": f"{tree['commit'] or 'unknown'}{changes}",
        "processor": f"{_processor()}, {os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB",
        "GPU": gpu,
        "CPU threads used": str(settings.threads),
        "load when started": f"{os.getloadavg()[0]:.1f} (other programs; 0 is a quiet machine)",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "versions": ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
        "sizes": settings.size,
    }


def _card(device: torch.device) -> str:
    """Name, memory and driver of a GPU, and the CUDA and cuDNN of torch."""
    found = torch.cuda.get_device_properties(device)
    version_file = Path("/proc/driver/nvidia/version")
    told = version_file.read_text(encoding="utf-8").splitlines()[0].split() if version_file.exists() else []
    driver = next((word for word in told if word[:1].isdigit() and "." in word), "unknown")
    cudnn = torch.backends.cudnn.version()
    return (
        f"{found.name}, {found.total_memory / 2**30:.0f} GiB, {found.multi_processor_count} multiprocessors, driver {driver}, "
        f"CUDA {torch.version.cuda}, cuDNN {cudnn}"
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
