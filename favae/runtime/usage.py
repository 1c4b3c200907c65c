"""What a job uses while it runs: processor time, memory and GPUs, sampled by a thread, a line of JSON each.

The names are those of MLflow's system metrics. They count the processes of the job on this machine, not the machine: 100 % of
the processor are all threads that the job was given. Ranks on other machines are not seen.
"""

import json
import logging
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

# (seconds of processor time, resident bytes) of this process and those below it, by number and start.
Processes = dict[tuple[int, float], tuple[float, int]]

log = logging.getLogger(__name__)
EVERY = 15.0  # seconds between samples; one takes some milliseconds
_ASK = ["nvidia-smi", "--query-gpu=index,utilization.gpu,memory.used", "--format=csv,noheader,nounits"]
_PATIENCE = 10.0  # seconds for an answer of nvidia-smi
_MEGABYTE = 1_000_000
_MEBIBYTE = 1 << 20  # the unit of nvidia-smi


@contextmanager
def sampled(path: Path, threads: int, *, resumed: bool, every: float = EVERY) -> Iterator[None]:
    """Context manager: append what this process and those below it use to `path` until the end; `resumed` keeps earlier lines.

    Nothing in it stops the job: a file that cannot be written is reported once, and sampling ends.
    """
    end = threading.Event()
    thread = threading.Thread(target=_sample, args=(path, threads, resumed, every, end), daemon=True, name="usage")
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join(_PATIENCE)


def read_samples(path: Path, after: int = 0) -> list[dict[str, float]]:
    """The samples after the first `after` lines; a line that is not whole is left out."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[after:]
    except OSError:
        return []
    return [sample for line in lines if (sample := _sample_of(line)) is not None]


def _sample_of(line: str) -> dict[str, float] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    whole = isinstance(found, dict) and "time" in found and all(type(v) in (int, float) for v in found.values())
    return found if whole else None


def _sample(path: Path, threads: int, resumed: bool, every: float, end: threading.Event) -> None:
    at, before = time.monotonic(), _processes()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a" if resumed else "w", encoding="utf-8") as file:
            while True:
                last = end.wait(every)
                now, used = time.monotonic(), _processes()
                file.write(json.dumps(_values(before, used, (now - at) * threads)) + "\n")
                file.flush()
                if last:
                    return
                before, at = used, now
    except OSError as error:
        log.warning("%s: what the job uses is not written: %s", path, error)


def _values(before: Processes, used: Processes, offered: float) -> dict[str, float]:
    """A sample; `offered` are the seconds of processor time that the job could have used since `before`."""
    seconds = sum(spent - before.get(process, (0.0, 0))[0] for process, (spent, _) in used.items())
    return {
        "time": round(time.time(), 3),
        "cpu_utilization_percentage": round(100 * seconds / max(offered, 1e-3), 1),
        "system_memory_usage_megabytes": round(sum(size for _, size in used.values()) / _MEGABYTE, 1),
        **_gpus(),
    }


def _processes() -> Processes:
    own = psutil.Process()
    found: Processes = {}
    for process in [own, *own.children(recursive=True)]:
        try:
            with process.oneshot():
                spent = process.cpu_times()
                resident = process.memory_info().rss
                found[process.pid, process.create_time()] = (spent.user + spent.system, resident)
        except psutil.Error:  # it ended in the meantime
            continue
    return found


def _gpus() -> dict[str, float]:
    """Use and memory of each GPU that the job may see; nothing without nvidia-smi, or where it does not answer."""
    if shutil.which(_ASK[0]) is None:
        return {}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible in ("", "-1"):
        return {}
    try:
        chosen = ["-i", visible] if visible else []
        said = subprocess.run(
            [*_ASK, *chosen], capture_output=True, text=True, timeout=_PATIENCE, check=True, encoding="utf-8"
        ).stdout
        rows = [[float(word) for word in line.split(",")] for line in said.splitlines() if line.strip()]
    except (OSError, subprocess.SubprocessError, ValueError):  # no driver, a share of a GPU, "[N/A]"
        return {}
    values: dict[str, float] = {}
    for index, percent, memory in rows:
        values[f"gpu_{index:.0f}_utilization_percentage"] = percent
        values[f"gpu_{index:.0f}_memory_usage_megabytes"] = round(memory * _MEBIBYTE / _MEGABYTE, 1)
    return values
