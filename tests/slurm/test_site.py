"""`favae site` on clusters that are set up differently: its settings fit without an edit by hand."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getuser
from pathlib import Path

import pytest
from slurm_support import HANGS, Cluster, Workflow, set_up
from tests_support import copy_project

from favae.config.load import read_yaml
from favae.config.site import Queue, Site
from favae.jobs.requests import gpu_resources
from favae.site.sbatch import options_of

pytestmark = [pytest.mark.slurm, pytest.mark.rare]
SITE = "workflow/profiles/slurm/site.yaml"
QOS = """\
add qos long
add qos gpus
modify qos long set MaxWall=05:00:00 MaxSubmitJobsPerUser=7
add account other
add user {me} account=other
modify user {me} where account=lab set qos=normal,long,gpus
modify user {me} set DefaultAccount=other
"""
# name -> (changes of the cluster, settings without a GPU, settings with a GPU, part of what is not known)
SITES: dict[str, tuple[str, dict[str, object], dict[str, object], str]] = {
    "other names, no default": (
        "s/PartitionName=cpu/PartitionName=batch/; s/PartitionName=gpu/PartitionName=accel/; s/Default=YES//",
        {"partition": "batch", "limit": 1440},
        {"partition": "accel", "limit": 1440, "option": "gpus"},
        "without accounting SLURM tells nothing of accounts",
    ),
    "typed GPUs": (
        "s/Gres=gpu:2/Gres=gpu:a100:1,gpu:v100:1 Feature=nvlink/; s/^(NodeName=gpu1 Name=gpu) (.*)nvidia\\[0-1\\]/"
        "\\1 Type=a100 \\2nvidia0\\n\\1 Type=v100 \\2nvidia1/",
        {"partition": "cpu"},
        {"partition": "gpu", "option": "gpus"},
        "which GPU is wanted: gpu has a100 and v100",
    ),
    "--gres only": (
        "s/select.cons_tres/select\\/cons_res/",
        {"partition": "cpu"},
        {"partition": "gpu", "option": "gres"},
        "whether torch finds the GPU",
    ),
    "short limits": (
        "s/(PartitionName=cpu.*)MaxTime=1-0/\\1MaxTime=30/; s/(PartitionName=gpu.*)MaxTime=1-0/\\1MaxTime=5/; "
        "s/(PartitionName=urgent.*)MaxTime=1-0/\\1MaxTime=1/; s/EnforcePartLimits=NO/EnforcePartLimits=ALL/",
        {"partition": "cpu", "limit": 30},
        {"partition": "gpu", "limit": 5},
        "whether nodes see this folder",
    ),
}


@contextmanager
def started(*how: str, **edits: str) -> Iterator[Cluster]:
    cluster = Cluster.start(*how, **edits)
    try:
        yield cluster
    finally:
        cluster.stop()


def run(cluster: Cluster, project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=project, env=cluster.variables, capture_output=True, text=True, timeout=HANGS, check=False
    )


def words_of(cluster: Cluster, project: Path) -> tuple[Site, str]:
    """What `favae site` writes and says. Real jobs then run with both kinds of settings."""
    (project / SITE).unlink(missing_ok=True)
    done = run(cluster, project, "favae", "site", "--scale", "tiny")
    assert done.returncode == 0, done.stdout + done.stderr
    site = Site.model_validate(read_yaml(project / SITE))
    for queue, gpus in ((site.cpu, {}), (site.gpu, gpu_resources(site.gpu, 1))):
        words = {
            "slurm_partition": queue.partition,
            "slurm_account": queue.account,
            "qos": queue.qos,
            "runtime": queue.limit,
        }
        program = "nvidia=${CUDA_VISIBLE_DEVICES:-none}; [ $nvidia " + ("!=" if gpus else "=") + " none ]"
        sent = run(
            cluster, project, "sbatch", "--wait", "--output=job.log", *options_of(words | gpus, 1), f"--wrap={program}"
        )
        assert sent.returncode == 0, sent.stderr + cluster.state
    return site, done.stdout


def given(queue: Queue) -> dict[str, object]:
    return queue.model_dump(exclude_none=True)


@pytest.mark.parametrize("name", SITES)
def test_settings_fit_the_site(name: str, project: Path) -> None:
    edit, cpu, gpu, unknown = SITES[name]
    version = subprocess.run(["slurmctld", "-V"], capture_output=True, text=True, check=True).stdout.split()[1]
    if "cons_res" in edit and version >= "23.11":
        pytest.skip(f"SLURM {version} has no cluster without --gpus: select/cons_res was removed in 23.11")
    with started(CLUSTER_EDIT=edit) as cluster:
        site, said = words_of(cluster, project)
    assert cpu.items() <= given(site.cpu).items()
    assert gpu.items() <= given(site.gpu).items()
    assert unknown in " ".join(said.split())


def test_account_and_qos_that_partitions_require_are_found_and_a_workflow_runs(results: Path) -> None:
    edit = (
        "s/^(PartitionName=cpu.*)/\\1 AllowAccounts=lab AllowQos=long/; s/^(PartitionName=(gpu|urgent).*)/\\1 AllowAccounts=lab "
        "AllowQos=gpus/; s/^(AccountingStorageTRES.*)/\\1\\nAccountingStorageEnforce=associations,limits,qos/"
    )
    with started("accounting", CLUSTER_EDIT=edit, CLUSTER_ACCOUNTS=QOS.format(me=getuser())) as cluster:
        site, said = words_of(cluster, results)
        assert given(site.cpu) == {
            "partition": "cpu",
            "account": "lab",
            "qos": "long",
            "limit": 300,
            "memory": "per job",
        }
        assert (site.gpu.account, site.gpu.qos, site.gpu.limit) == ("lab", "gpus", 1440)
        assert "the QOS long allows 7" in said
        set_up(results, site=False)
        (results / "data/tiny/prepare_dataset/scientific/card.json").unlink()
        stages = ("prepare_dataset", "compute_reference_statistics")
        workflow = Workflow(cluster, results, "--", *(f"data/tiny/{stage}/scientific/card.json" for stage in stages))
        assert workflow.wait() == 0, workflow.account
        found = {
            job["Comment"].split("_wildcards")[0]: (job["Account"], job["QOS"])
            for job in cluster.jobs(results)
            if "rule" in job.get("Comment", "")
        }
    assert found == {"rule_prepare_dataset": ("lab", "long"), "rule_compute_reference_statistics": ("lab", "gpus")}


def test_the_literal_command_on_a_cluster_without_settings_names_the_remedy_in_one_line(
    cluster: Cluster, tmp_path: Path
) -> None:
    project = copy_project(tmp_path / "project")
    set_up(project)
    (project / SITE).unlink()
    workflow = Workflow(cluster, project)
    assert workflow.wait() == 1
    lines = [line for line in workflow.said.splitlines() if line.startswith("  - ")]
    (missing,) = (line for line in lines if "GPU" in line)
    assert (
        " more: asks for 1 GPU, and the partition cpu, the default, has none; partitions that have: gpu, urgent; `favae site`"
        in missing
    )
    assert len(lines) <= 2
    assert cluster.jobs(project) == []
    plan = run(cluster, project, "favae", "plan", "--scale", "tiny")
    assert "the partition cpu, the default, has none" in " ".join(plan.stdout.split())


def test_a_command_line_is_tried_too(cluster: Cluster, stale: Path) -> None:
    set_up(stale)
    longer = "train_autoencoder:runtime=9000"
    workflow = Workflow(
        cluster, stale, "--set-resources", longer, "--", "data/tiny/train_autoencoder/natural-f4-vqgan/card.json"
    )
    assert workflow.wait() == 1
    assert (
        "asks for 9000 minutes, and the partition gpu allows 1440; `favae site` writes settings that fit"
        in workflow.said
    )
