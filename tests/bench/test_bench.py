"""The benchmarks run, print their tables and do not time implementations that disagree. No time is asserted."""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from favae.bench.compare import Case, Disagreement, Work, alternate, comparison, largest_difference
from favae.bench.memory import peak_of, peak_while
from favae.bench.record import Measured, Record
from favae.bench.section import Settings, sections
from favae.bench.suite import stylegan2_layers
from favae.cli.main import app

ROOT = Path(__file__).parents[2]
CHEAP = ["focal_frequency", "spectrum_loss", "quantizer", "sampling", "data"]
QUICK = Settings(size="quick", rounds=2, least_rounds=1, seconds=0.0, threads=1)


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def command(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["bench", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def tables(text: str) -> dict[str, list[list[str]]]:
    """Heading -> rows of cells, the header first."""
    found: dict[str, list[list[str]]] = {}
    for line in text.splitlines():
        if line.startswith("## "):
            title = line.removeprefix("## ")
        elif line.startswith("|") and set(line) - set("| -"):
            found.setdefault(title, []).append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def test_quick_benchmarks_print_their_tables_and_write_the_page(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "benchmarks.md"
    printed = command("--quick", "--repeats", "1", "--threads", "1", "--write", str(page), *CHEAP)
    shown = tables(printed)
    assert [title.split(".")[0] for title in shown] == ["1", "2", "3", "5", "7"]
    for title, (header, *rows) in shown.items():
        cases = next(s.cases for s in sections().values() if title.endswith(s.title))
        assert [row[0] for row in rows] == [case.name for case in cases if "cpu" in case.devices]
        assert all(len(row) == len(header) for row in rows)
        for row in rows:
            cells = dict(zip(header, row, strict=True))
            assert float(cells["times faster (quartiles)"].split()[0]) > 0
            assert cells["agreement"]
    written = page.read_text()
    rows = [line for line in printed.splitlines() if line.startswith("|") and "---" not in line]
    assert all(line in written for line in rows) and "| not run |" in written
    assert "**Not run** on the CPU this time: training_step, evaluation, " in written
    assert "GPU column: not run" in written and "torch" in written and "quick" in written


def test_layers_of_stylegan2_agree_with_their_peers_and_a_missing_peer_is_named() -> None:
    cases = [replace(case, needs="no_such_package") if case.needs else case for case in stylegan2_layers.SECTION.cases]
    rows = list(comparison(9, "", cases, "").rows(QUICK))
    assert [row[0] for row in rows] == [case.name for case in cases]
    assert [row[1] for row in rows[:2]] == ["not measured: no_such_package is not installed"] * 2
    assert all(row[-1].startswith("output and gradients within ") for row in rows[2:])


def test_the_page_keeps_what_the_other_device_measured_and_takes_it_from_another_machine(tmp_path: Path) -> None:
    def measured(machine: str, times: str, work: str = "8x3x256x256") -> Measured:
        row = (work, f"1 ms on the {machine}", "9 ms", f"{times} (1 to 2)", *[""] * 7)
        return Measured(machine={"processor": machine}, tables={"focal_frequency": [row]})

    here, there = tmp_path / "here.md", tmp_path / "there.md"
    Record(cpu=measured("laptop", "3.0")).save(here)
    Record(cuda=measured("node", "7.0")).save(there)
    command("--add", str(there), "--write", str(here))
    assert Record.beside(here).cpu == measured("laptop", "3.0") and Record.beside(here).cuda == measured("node", "7.0")
    page = here.read_text()
    assert "| processor | laptop | node |" in page and "| 7.0 times faster, 1 ms on the node |" in page
    assert "On the GPU:" in page and "GPU column: not run" not in page
    Record(cuda=measured("node", "7.0", work="another")).save(there)
    command("--add", str(there), "--write", str(here))
    assert "| another size, below |" in here.read_text()
    partly = Record.beside(here).updated("cpu", Measured(machine={"date": "today"}, tables={"growth": []}), whole=False)
    assert partly.cpu is not None and set(partly.cpu.tables) == {"focal_frequency", "growth"}
    assert partly.cpu.machine == {"processor": "laptop"} and "measured on today" in partly.cpu.remarks["growth"]
    with pytest.raises(ValueError, match="--add needs --write"):
        command("--add", str(there))
    here.with_suffix(".json").write_text("[]")
    with pytest.raises(ValueError, match=r"here\.json: not a record"):
        Record.beside(here)


def test_profile_of_a_training_step_accounts_for_all_its_time_and_is_drawn(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    ((_, *rows),) = tables(command("--quick", "--threads", "1", "--write", str(page), "profile")).values()
    parts = {row[0]: float(row[3].rstrip("%")) for row in rows}
    assert parts.pop("step") == 100
    assert sum(parts.values()) == pytest.approx(100, abs=2)
    assert min(parts[name] for name in ("LPIPS", "discriminator", "spectrum loss", "decoder, finest level")) > 0
    assert (tmp_path / "page-profile.png").read_bytes().startswith(b"\x89PNG")


def test_profile_of_the_small_vae_has_its_losses_and_its_layers() -> None:
    ((_, *rows),) = tables(command("--quick", "--threads", "1", "profile_vae")).values()
    parts = {row[0]: float(row[3].rstrip("%")) for row in rows}
    assert parts.pop("step") == 100
    assert sum(parts.values()) == pytest.approx(100, abs=2)
    assert min(parts[name] for name in ("SSIM", "short-time Fourier loss", "second doubling, 64 to 32 channels")) > 0


def test_floor_counts_operations() -> None:
    from favae.bench.suite.floor import Operations

    weight, x = torch.randn(5, 7, requires_grad=True), torch.randn(3, 7)
    with Operations() as counter:
        (x @ weight.T).sum().backward()
    assert counter.total == 2 * (3 * 5 * 7) * 2  # the product, and its gradient with respect to the weight
    ((_, *rows),) = tables(command("--quick", "--threads", "1", "floor")).values()
    assert len(rows) == 9 and all(float(row[6]) > 0 for row in rows[3:])


@pytest.mark.slow
def test_scaling_measures_a_point_in_its_own_process() -> None:
    ((_, *rows),) = tables(command("--quick", "--threads", "1", "scaling")).values()
    assert len(rows) == 1 and all(float(cell) > 0 for cell in rows[0][1:3])


@pytest.mark.parametrize("name", ["training_step", "evaluation", "stft_vae"])
def test_larger_work_agrees_with_its_peer(name: str) -> None:
    for case in sections()[name].cases[:1]:
        with case.build(QUICK) as work:
            assert "within" in work.agree()


def test_every_benchmark_of_the_page_has_a_unique_number() -> None:
    numbers = [section.number for section in sections().values()]
    assert numbers == sorted(set(numbers)) and set(range(1, 9)) <= set(numbers)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown benchmark 'nothing'; did you mean '"):
        command("nothing")


def test_a_file_that_is_no_page_of_benchmarks_is_not_replaced(tmp_path: Path) -> None:
    mine = tmp_path / "notes.md"
    mine.write_text("# Mine\n")
    with pytest.raises(ValueError, match=r"notes\.md exists and is no page of benchmarks"):
        command("--quick", "--write", str(mine), "focal_frequency")
    assert mine.read_text() == "# Mine\n"


@pytest.mark.slow
@pytest.mark.rare
def test_the_growth_of_the_workflow_is_measured_in_a_copy() -> None:
    ((header, *rows),) = tables(command("--quick", "--threads", "1", "cells")).values()
    assert [row[1] for row in rows] == ["10"] * 3
    assert all(float(row[header.index("CPU seconds")]) > 0 for row in rows)


@pytest.mark.slow
def test_the_reconstruction_of_a_photograph_is_measured_as_a_user_runs_it() -> None:
    ((header, *rows),) = tables(command("--quick", "--threads", "1", "photo")).values()
    assert [row[0] for row in rows] == ["700 x 600"]
    assert float(rows[0][header.index("CPU seconds")]) > 0 and float(rows[0][header.index("peak memory, MiB")]) > 50


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_an_unavailable_device_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no CUDA device"):
        command("--device", "cuda", "focal_frequency")


def test_implementations_that_disagree_are_not_timed() -> None:
    @contextmanager
    def build(_: Settings) -> Iterator[Work]:
        def agree() -> str:
            return largest_difference([torch.ones(2)], [torch.tensor([1.0, 1.1])], 1e-3, "values")

        yield Work(lambda: pytest.fail("was timed"), lambda: None, agree)

    with pytest.raises(Disagreement, match=r"values differ by 9\.1e-02"):
        list(comparison(99, "wrong", [Case("wrong", build)], "").rows(QUICK))
    with pytest.raises(Disagreement, match="1 tensors against 2"):
        largest_difference([torch.ones(1)], [torch.ones(1)] * 2, 1e-3, "values")
    with pytest.raises(Disagreement, match="nan"):
        largest_difference([torch.tensor([torch.nan])], [torch.ones(1)], 1e-3, "values")


def test_ours_and_peer_alternate_and_a_part_of_the_peer_is_scaled() -> None:
    calls: list[str] = []

    def wait(who: str) -> None:
        calls.append(who)
        torch.randn(400, 400) @ torch.randn(400, 400)

    work = Work(lambda: wait("ours"), lambda: wait("peer"), lambda: "", peer_share=1e-3)
    timing = alternate(work, Settings(rounds=4, least_rounds=4, seconds=0.0))
    order = [who for i, who in enumerate(calls) if i == 0 or calls[i - 1] != who]
    assert order == ["ours", "peer", "ours", "peer", "ours"]  # swapped every round: neighbours merge
    assert len(timing.ours) == len(timing.peer_cpu) == 4
    assert timing.ratio > 50 and timing.quartiles[0] <= timing.ratio <= timing.quartiles[1]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is measured on Linux only")
def test_peak_memory_sees_what_is_freed_again() -> None:
    assert peak_of("focal_frequency", "8x3x256x256", "peer", QUICK) is not None
    size = 120_000_000

    def touch() -> None:
        """Measured with memory from the system: tensors of torch may reuse memory of earlier tests."""
        np.frombuffer(mmap.mmap(-1, size), np.uint8)[::4096] = 1

    assert 0.9 * size < peak_while(touch, torch.device("cpu")) < 1.5 * size
