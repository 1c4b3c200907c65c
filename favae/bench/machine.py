"""Description of the machine of a measurement."""

import datetime
import os
import platform
from importlib.metadata import version
from pathlib import Path

import psutil
import torch

from favae.bench.section import Settings
from favae.results.git import working_tree
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
    changes = f", {len(tree['dirty'])} files changed since" if tree["dirty"] else ""
    gpu = torch.cuda.get_device_name(settings.device) if settings.device.type == "cuda" else "none used"
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


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
