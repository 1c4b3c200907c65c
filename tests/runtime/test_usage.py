"""What a job uses is written while it runs, and nothing about it can stop the job."""

import json
import os
import threading
import time
from pathlib import Path

import pytest

from favae.runtime import usage
from favae.runtime.usage import read_samples, sampled

MEGABYTES = 100


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def work(seconds: float) -> None:
    """Use one thread for so many seconds of processor time."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


@pytest.mark.usefixtures("no_gpu")
def test_processor_and_memory_are_those_of_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, began, counted = tmp_path / "a" / "usage.jsonl", threading.Event(), usage._processes

    def count() -> usage.Processes:
        found = counted()
        began.set()
        return found

    monkeypatch.setattr(usage, "_processes", count)
    start = time.monotonic()
    with sampled(file, threads=2, resumed=False, every=1e6):
        kept = bytearray(os.urandom(1)) * (MEGABYTES * 10**6)
        assert began.wait(60)
        work(0.3)
    wall = time.monotonic() - start
    (sample,) = read_samples(file)
    assert sample["system_memory_usage_megabytes"] > len(kept) / 10**6
    # 100 % are both threads, and one has worked: no more than half of them, whatever share of the machine it got.
    share = sample["cpu_utilization_percentage"] / 100
    assert share < 0.5 * 1.2
    assert share * 2 * wall > 0.3 - 0.05  # the kernel counts in hundredths of a second
    assert not any(name.startswith("gpu") for name in sample)


@pytest.mark.usefixtures("no_gpu")
def test_samples_are_written_while_the_job_works(tmp_path: Path) -> None:
    file, end = tmp_path / "usage.jsonl", time.monotonic() + 60
    with sampled(file, threads=1, resumed=False, every=0.01):
        while len(read_samples(file)) < 2:
            assert time.monotonic() < end, "no samples came"
            time.sleep(0.01)
    times = [sample["time"] for sample in read_samples(file)]
    assert times == sorted(times)


def test_gpus_are_those_that_the_job_may_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "nvidia-smi"
    fake.write_text('#!/bin/sh\necho "$@" >asked\nprintf "2, 87, 1024\\n3, 5, 0\\n"\n')
    fake.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    with sampled(tmp_path / "usage.jsonl", threads=1, resumed=False):
        pass
    (sample,) = read_samples(tmp_path / "usage.jsonl")
    assert sample["gpu_2_utilization_percentage"] == 87
    assert sample["gpu_2_memory_usage_megabytes"] == 1073.7  # 1,024 MiB
    assert sample["gpu_3_utilization_percentage"] == 5
    assert "-i 2,3" in (tmp_path / "asked").read_text()
    fake.write_text('#!/bin/sh\nprintf "0, [N/A], 10\\n"\n')
    with sampled(tmp_path / "usage.jsonl", threads=1, resumed=False):
        pass
    (sample,) = read_samples(tmp_path / "usage.jsonl")
    assert not any(name.startswith("gpu") for name in sample)


@pytest.mark.usefixtures("no_gpu")
def test_a_resumed_job_adds_to_what_it_used_and_a_line_that_is_cut_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "usage.jsonl"
    for resumed, lines in ((False, 1), (True, 2), (False, 1)):
        with sampled(file, threads=1, resumed=resumed):
            pass
        assert len(read_samples(file)) == lines
    with file.open("a") as end:
        end.write('{"time": 1')
    assert len(read_samples(file)) == 1
    assert read_samples(file, after=1) == []
    assert read_samples(tmp_path / "none") == []


@pytest.mark.usefixtures("no_gpu")
def test_a_file_that_cannot_be_written_does_not_stop_the_job(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    with sampled(tmp_path / "file" / "usage.jsonl", threads=1, resumed=False, every=0.01):
        time.sleep(0.05)
    assert "what the job uses is not written" in caplog.text
    with pytest.raises(KeyError), sampled(tmp_path / "usage.jsonl", threads=1, resumed=False):
        raise KeyError("of the job")
    assert json.loads((tmp_path / "usage.jsonl").read_text())
