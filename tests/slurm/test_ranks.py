"""One training in two processes, on one node and on two: torchrun, one task per node, rendezvous at the first node of
the job."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from slurm_support import Cluster, Workflow, set_up
from tests_support import call

pytestmark = [pytest.mark.slurm, pytest.mark.rare]
ONE_NODE, TWO_NODES = "natural-f4-vqgan", "natural-f4-favae"
ON_CPUS = f"""\
  train_autoencoder:
    slurm_partition: "cpu"
    gpu: 0
    nodes: "2 if wildcards.cell == '{TWO_NODES}' else 1"
    mpi: "'srun' if wildcards.cell == '{TWO_NODES}' else None"
    tasks: "2 if wildcards.cell == '{TWO_NODES}' else None"
    mem_mb: 4000
"""


@pytest.fixture(scope="module")
def run(cluster: Cluster, finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    project = Path(shutil.copytree(finished, tmp_path_factory.mktemp("ranks") / "project", symlinks=True))
    set_up(project, rules=ON_CPUS)
    numbers = project / "params/tiny.yaml"
    numbers.write_text(numbers.read_text().replace("  threads: 1\n", "  threads: 1\n  ranks: 2\n", 1))
    cards = [f"data/tiny/train_autoencoder/{cell}/card.json" for cell in (ONE_NODE, TWO_NODES)]
    workflow = Workflow(cluster, project, "--", *cards)
    assert workflow.wait() == 0, workflow.account
    return workflow


@pytest.mark.parametrize(("cell", "nodes"), [(ONE_NODE, "1"), (TWO_NODES, "2")])
def test_two_processes_train_what_one_does(run: Workflow, finished: Path, cell: str, nodes: str) -> None:
    job = run.cluster.job(run.project, cell)
    assert job is not None
    assert (job["JobState"], job["NumNodes"]) == ("COMPLETED", nodes)
    curves = f"data/tiny/curves/train_autoencoder/{cell}.csv"
    together, alone = (pd.read_csv(folder / curves)["train/l1"].dropna() for folder in (run.project, finished))
    assert together.iloc[0] == pytest.approx(alone.iloc[0], rel=1e-4)
    assert together.tolist() == pytest.approx(alone.tolist(), rel=0.02)  # Adam amplifies the last bits of a gradient


def test_the_log_has_the_ranks_and_the_rule_of_the_learning_rate(run: Workflow) -> None:
    log = (run.project / f"data/tiny/logs/train_autoencoder/{TWO_NODES}.log").read_text()
    assert "2 processes on cpu1, cpu2" in log
    assert "4 images per step, 2 on each of 2 ranks; learning rate" in log
    assert log.count("6/6 done") == 1, "the first rank speaks for all"


def test_ranks_that_do_not_divide_the_batch_are_refused_before_anything_runs(finished: Path, tmp_path: Path) -> None:
    project = Path(shutil.copytree(finished, tmp_path / "project", symlinks=True))
    numbers = project / "params/tiny.yaml"
    numbers.write_text(numbers.read_text().replace("  threads: 1\n", "  threads: 1\n  ranks: 3\n", 1))
    done = call(project, "snakemake", "-n", check=False)
    assert done.returncode == 1
    assert "batch_size 4 cannot be divided evenly among 3 ranks" in done.stdout + done.stderr
