"""Peak memory of one piece of work, with each variant in its own process, so that neither reuses memory of the other.

On a CPU it is the peak of the resident set during the work, minus the resident set before it, after one warm-up run. This
includes memory of the libraries below torch (FFT buffers, packed weights), which torch's profiler does not see. Freed blocks
are returned to the system at once (a fixed mmap threshold, no memory pool in MKL); otherwise memory kept from the warm-up run
would hide the needs of the second. On a GPU it is torch's peak of allocated memory.
"""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from favae.bench.section import Settings
from favae.runtime.cpu import use_threads

Who = Literal["ours", "peer"]
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RETURN_BLOCKS = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MKL_DISABLE_FAST_MM": "1"}


def peak_of(section: str, case: str, who: Who, settings: Settings) -> int | None:
    """Peak memory in bytes of a case's work, above the memory before it; None on systems other than Linux.

    Args:
        section: name of the module in `favae.bench.suite`.
        case, who: name of the case, and the implementation.
        settings: as for the times.

    Raises:
        RuntimeError: the process failed; with its message.
    """
    if settings.device.type == "cpu" and not _CLEAR.exists():
        return None
    order = {"section": section, "case": case, "who": who, "size": settings.size, "threads": settings.threads}
    return int(in_own_process("favae.bench.memory", order | {"device": str(settings.device)})["bytes"])


def in_own_process(module: str, order: Mapping[str, Any]) -> dict[str, float]:
    """Run `python -m module ORDER` (JSON in, JSON out), with freed memory returned to the system at once.

    Raises:
        RuntimeError: the process failed; with its message.
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", module, json.dumps(order)],
        env=os.environ | _RETURN_BLOCKS,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{module} {dict(order)} failed: {done.stderr.strip()}")
    return json.loads(done.stdout.splitlines()[-1])


def peak_while(run: Callable[[], Any], device: torch.device) -> int:
    """Peak memory in bytes during `run()`, above the memory before it."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return torch.cuda.max_memory_allocated() - before
    forget_peak()
    before = resident("VmRSS")
    run()
    return resident("VmHWM") - before


def resident(field: Literal["VmRSS", "VmHWM"]) -> int:
    """Resident set of this process in bytes: current (VmRSS), or the peak since `forget_peak` (VmHWM)."""
    line = next(line for line in _STATUS.read_text(encoding="utf-8").splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def forget_peak() -> None:
    """Reset VmHWM to the current resident set."""
    _CLEAR.write_text("5", encoding="utf-8")


def _measure(order: Mapping[str, Any]) -> int:
    settings = Settings(size=order["size"], threads=order["threads"], device=torch.device(order["device"]))
    use_threads(settings.threads)
    cases = importlib.import_module(f"favae.bench.suite.{order['section']}").SECTION.cases
    case = next(c for c in cases if c.name == order["case"])
    with case.build(settings) as work:
        work.agree()
        return peak_while(work.ours if order["who"] == "ours" else work.peer, settings.device)


if __name__ == "__main__":
    sys.stdout.write(json.dumps({"bytes": _measure(json.loads(sys.argv[1]))}) + "\n")
