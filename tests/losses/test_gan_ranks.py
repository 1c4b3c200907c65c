"""Two ranks equal one on the union of their batches: values, averaged gradients, and every buffer that is saved."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

Result = dict[str, Tensor]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """The same batches in one process, and halved in two."""
    folder, script = tmp_path_factory.mktemp("ranks"), Path(__file__).parent / "gan_rank.py"
    processes = [subprocess.Popen([sys.executable, script, str(rank), "2", str(folder)]) for rank in range(2)]
    runpy.run_path(str(script))["measure"](0, 1, folder)
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    return {name: torch.load(folder / f"{name}.pt", weights_only=True) for name in ("1-0", "2-0", "2-1")}


def part(result: Result, prefix: str) -> Result:
    found = {name: value for name, value in result.items() if name.startswith(prefix)}
    assert found
    return found


@pytest.mark.parametrize("rank", ["2-0", "2-1"])
@pytest.mark.parametrize("prefix", ["spade/sync_batch", "stylegan2/global/spectrum", "stylegan2/global"])
def test_two_ranks_equal_one_on_the_union_batch(runs: dict[str, Result], prefix: str, rank: str) -> None:
    torch.testing.assert_close(part(runs[rank], prefix), part(runs["1-0"], prefix), rtol=1e-9, atol=1e-12)


def test_without_synchronisation_each_rank_has_its_own_statistics(runs: dict[str, Result]) -> None:
    mean = "spade/batch/blocks.0.norm_0.norm.running_mean"
    assert not torch.allclose(runs["2-0"][mean], runs["2-1"][mean])


def test_local_spectra_and_path_lengths_differ_from_global_ones(runs: dict[str, Result]) -> None:
    local = "stylegan2/local/spectrum/loss"
    assert runs["2-0"][local] > 1.2 * runs["1-0"][local]  # a higher noise floor
    mean = "stylegan2/local/path_mean"
    assert not torch.allclose(runs["2-0"][mean], runs["2-1"][mean])


def test_local_and_global_are_one_and_the_same_on_one_rank(runs: dict[str, Result]) -> None:
    alone = runs["1-0"]
    for name, value in part(alone, "stylegan2/local").items():
        torch.testing.assert_close(value, alone[name.replace("local", "global")])
