"""`favae reconstruct` on photographs of several sizes, as a user runs it: time, and memory that must not grow with the image."""

import os
import resource
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
from PIL import Image

from favae.bench.networks import demo_model
from favae.bench.section import Row, Section, Settings
from favae.bench.suite.overheads import FAVAE
from favae.inference.export import save_weights

# (f, width, height): 3, 12 and 49 megapixels; phones take those of 12.
_PHOTOGRAPHS: tuple[tuple[Literal[2, 4], int, int], ...] = (
    (4, 2048, 1536),
    (4, 4032, 3024),
    (2, 4032, 3024),
    (4, 8064, 6048),
)
_PHONE = 12
_SECONDS = 60


def _rows(settings: Settings) -> Iterator[Row]:
    """Raises RuntimeError with the message of a command that fails."""
    with TemporaryDirectory() as name:
        for factor, width, height in ((4, 700, 600),) if settings.quick else _PHOTOGRAPHS:
            folder, photo = Path(name, f"f{factor}"), Path(name, f"{width}.jpg")
            if not folder.exists():
                _save_model(folder, settings.quick, factor)
            smooth = np.random.default_rng(0).integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
            Image.fromarray(smooth).resize((width, height)).save(photo)
            seconds, usage = _reconstruct(photo, folder, Path(name, f"out-f{factor}"), settings.threads)
            megapixels = round(width * height / 1e6)
            goal = f"{_SECONDS} s on 2 cores" if megapixels == _PHONE else ""
            processor = usage.ru_utime + usage.ru_stime
            memory = usage.ru_maxrss / 1024
            size = f"{width} x {height}", str(megapixels), str(factor)
            yield *size, f"{seconds:.1f}", goal, f"{processor:.1f}", f"{memory:.0f}"


def _save_model(folder: Path, quick: bool, factor: Literal[2, 4]) -> None:
    model = demo_model(quick, factor)
    folder.mkdir()
    save_weights(folder, model.state_dict(), {"kind": "autoencoder", "model": {"kind": model.kind, **model.config}})


def _reconstruct(photo: Path, model: Path, out: Path, threads: int) -> tuple[float, resource.struct_rusage]:
    """Seconds, and what the process used."""
    start = time.perf_counter()
    command = [*FAVAE, "reconstruct", str(photo), "--model", str(model), "--out", str(out)]
    with open(out.with_name("said"), "w+b") as said:  # noqa: PTH123  (a pipe could fill up while the process is waited for)
        process = subprocess.Popen(
            command, stdout=said, stderr=said, env=os.environ | {"OMP_NUM_THREADS": str(threads)}
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - start
        if process.returncode or Image.open(out / f"{photo.stem}.png").size != Image.open(photo).size:
            said.seek(0)
            raise RuntimeError(f"favae reconstruct failed: {said.read().decode(errors='replace').strip()}")
    return seconds, usage


SECTION = Section(
    33,
    "Reconstruction of a user's photographs",
    ("pixels", "megapixels", "f", "seconds", "goal", "CPU seconds", "peak memory, MiB"),
    _rows,
    "The command `favae reconstruct` with the demo's models (random weights), from its start to its end. Larger images are "
    "cut into overlapping tiles, so memory grows only with the pixels of the decoded photograph and its result.",
    devices=("cpu",),
)
