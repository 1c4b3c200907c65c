"""A training in bf16 warns on a processor that computes it in software."""

import logging
from pathlib import Path

import pytest
import torch

from favae.jobs.grid import load_grid
from favae.results.publish import Outcome
from favae.runtime.cpu import emulates_bf16
from favae.stages import runner
from favae.stages.context import Context


@pytest.mark.parametrize(
    ("capability", "cuda", "emulated"),
    [("AVX2", False, True), ("AVX2", True, False), ("AVX512", False, False), ("DEFAULT", False, False)],
)
def test_only_a_processor_without_avx_512_emulates_bf16(
    capability: str, cuda: bool, emulated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    assert emulates_bf16() == emulated


@pytest.mark.parametrize(("cell", "warned"), [("mnist-ssim-s0", True), ("mnist-ssim-s0-fp32", False)])
def test_a_training_in_emulated_bf16_is_warned_of(
    cell: str,
    warned: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    job = load_grid("stft").job("train_autoencoder", cell)
    monkeypatch.setattr("favae.runtime.cpu.emulates_bf16", lambda: True)
    monkeypatch.setattr(runner, "run_stage", lambda *_: Outcome({}))
    monkeypatch.setattr(runner.paths, "usage", lambda *_: tmp_path / "usage.csv")
    with caplog.at_level(logging.WARNING):
        runner._work(job, Context(tmp_path, tmp_path, 1))
    assert ("computes bf16 in software" in caplog.text) == warned
