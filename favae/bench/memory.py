"""Peak memory of one piece of work: a process of its own a variant, so that neither finds what the other left.

On a CPU it is the peak of the resident set while the work runs, above the resident set before, after one run to warm up:
everything counts, also what libraries below torch allocate (FFT buffers, packed weights), which torch's profiler does not
see. Freed blocks go back to the system at once (a fixed mmap threshold, no pool of MKL's), else the first run would hide
what the second takes.
On a GPU it is torch's own peak of allocated memory.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

import torch

from favae.bench.section import Settings, sections

Who = Literal["ours", "peer"]
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RETURN_BLOCKS = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MKL_DISABLE_FAST_MM": "1"}


def peak_of(number: int, case: str, who: Who, settings: Settings) -> int | None:
    """Bytes above the resting state at the worst moment of a case's work; None where the system cannot say (no Linux).

    Raises:
        RuntimeError: the process failed, with its message.
    """
    if settings.device.type == "cpu" and not _CLEAR.exists():
        return None
    order = {"number": number, "case": case, "who": who, "size": settings.size, "threads": settings.threads}
    order["device"] = str(settings.device)
    done = subprocess.run(
        [sys.executable, "-m", "favae.bench.memory", json.dumps(order)],
        env=os.environ | _RETURN_BLOCKS,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"memory of {case}, {who}: {done.stderr.strip()}")
    return int(done.stdout.split()[-1])


def resident(field: Literal["VmRSS", "VmHWM"]) -> int:
    """Resident set of this process in bytes, now (VmRSS) or at its largest since `forget_peak` (VmHWM)."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def forget_peak() -> None:
    """Set VmHWM to the present resident set."""
    _CLEAR.write_text("5")


def _measure(order: dict[str, str | int]) -> int:
    torch.set_num_threads(int(order["threads"]))
    device = torch.device(str(order["device"]))
    settings = Settings(size=str(order["size"]), threads=int(order["threads"]), device=device)
    section = next(s for s in sections().values() if s.number == order["number"])
    case = next(c for c in section.cases if c.name == order["case"])
    with case.build(settings) as work:
        run = work.ours if order["who"] == "ours" else work.peer
        work.agree()
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


if __name__ == "__main__":
    sys.stdout.write(f"{_measure(json.loads(sys.argv[1]))}\n")
