"""What SLURM prints is read as meant, and what a cluster does not have is named with the remedy."""

from pathlib import Path

import pytest

from favae.jobs.requests import Request
from favae.runtime import paths
from favae.site import preflight
from favae.site.choose import NothingAccepted, choose
from favae.site.cluster import Association, Cluster, Partition, gpus_of, minutes_of
from favae.site.preflight import Asked, problems
from favae.site.sbatch import gpus_asked, options_of
from favae.site.write import write_site


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("1-00:00:00", 1440),
        ("2-12", 3600),
        ("12:00:00", 720),
        ("10:00", 10),
        ("30", 30),
        ("UNLIMITED", None),
        ("infinite", None),
        ("", None),
    ],
)
def test_times_of_slurm_are_read_as_minutes(text: str, minutes: int | None) -> None:
    assert minutes_of(text) == minutes


@pytest.mark.parametrize(
    ("text", "gpus"),
    [
        ("gpu:2", {"": 2}),
        ("gpu:a100:4(S:0-1),mps:400", {"a100": 4}),
        ("gpu:a100_80gb.2:1,gpu:v100:2", {"a100_80gb.2": 1, "v100": 2}),
        ("(null)", {}),
        ("shard:8", {}),
    ],
)
def test_gpus_of_a_node_are_counted_by_type(text: str, gpus: dict[str, int]) -> None:
    assert gpus_of(text) == gpus


@pytest.mark.parametrize(
    ("request_", "gpus"), [({"gpu": 2}, 2), ({"gres": "gpu:a100:4"}, 4), ({"gres": "gpu:1"}, 1), ({"mem_mb": 9}, 0)]
)
def test_gpus_in_a_request_are_counted(request_: Request, gpus: int) -> None:
    assert gpus_asked(request_) == gpus


def test_options_are_those_that_the_plugin_makes() -> None:
    asked: Request = {
        "slurm_partition": "a",
        "gpu": 2,
        "gpu_model": "a100",
        "runtime": 9,
        "mem_mb_per_cpu": 5,
        "qos": "q",
    }
    found = options_of(asked, 4)
    assert set(found) == {
        "--partition=a",
        "--gpus=a100:2",
        "--time=9",
        "--mem-per-cpu=5",
        "--qos=q",
        "--cpus-per-task=4",
    }


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A default partition without GPUs, and one with two nodes of four, of which SLURM takes every job."""
    monkeypatch.setattr(preflight, "refusal", lambda options: None)
    monkeypatch.setenv("FAVAE_COUNTED_GPUS", "yes")
    plain = Partition("cpu", default=True, minutes=300, nodes=9, cpus=8, megabytes=16_000)
    gpu = Partition("gpu", minutes=600, nodes=2, cpus=16, megabytes=64_000, gpus_per_node=4)
    gpu.gpus.update({"a100": 8})
    found = Cluster("test", "22.05", {"cpu": plain, "gpu": gpu}, [], {}, {}, False)
    monkeypatch.setattr(preflight, "look", lambda: found)
    return found


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("request_", "threads", "said"),
    [
        (
            {"gpu": 1},
            1,
            "asks for 1 GPU, and the partition cpu, the default, has none; partitions that have: gpu; `favae site`",
        ),
        ({"gpu": 8, "slurm_partition": "gpu"}, 1, "asks for 8 GPU, and the partition gpu has at most 4 in a node"),
        ({"runtime": 900}, 1, "asks for 900 minutes, and the partition cpu, the default, allows 300; `favae site`"),
        ({"slurm_partition": "gpu"}, 17, "asks for 17 CPUs, and nodes of the partition gpu have at most 16"),
        ({"mem_mb": 20_000}, 1, "asks for 20000 MB, and nodes of the partition cpu, the default, have at most 16000"),
        ({"mem_mb_per_cpu": 5_000}, 4, "asks for 20000 MB"),
        ({"slurm_partition": "gpus"}, 1, "partition gpus does not exist; there are cpu, gpu"),
        (
            {"runtime": 5, "slurm_extra": "--signal=TERM@300"},
            1,
            "is told to save 300 seconds before the end of a slot of 300",
        ),
    ],
)
def test_what_the_cluster_does_not_have_is_named_once_for_all_jobs(request_: Request, threads: int, said: str) -> None:
    (found,) = problems(Asked(f"train_cat/{name}", request_, threads) for name in "abc")
    assert found.startswith("train_cat/a and 2 more: ")
    assert said in found


@pytest.mark.usefixtures("cluster")
def test_gpus_on_several_nodes_are_counted_per_node() -> None:
    request: Request = {"gpu": 8, "nodes": 2, "slurm_partition": "gpu"}
    assert problems([Asked("train_cat/a", request, 2)]) == []


def test_what_only_slurm_knows_is_asked(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "refusal", lambda options: "Invalid qos specification")
    (found,) = problems([Asked("train_cat/a", {"qos": "long"}, 1)])
    assert "train_cat/a: SLURM refuses such a job: Invalid qos specification (--qos=long --cpus-per-task=1)" in found


def test_the_first_settings_that_slurm_accepts_are_chosen(cluster: Cluster) -> None:
    cluster.associations += [Association("other", ("normal",), None), Association("lab", ("normal", "long"), 300)]
    cluster.qos_minutes["long"] = 200
    cluster.partitions["gpu"].accounts = frozenset({"lab"})

    def ask(options: tuple[str, ...]) -> str | None:
        if "--gpus=1" in options or "--gpus=a100:1" in options:
            return "no --gpus here"
        return None if "--partition=cpu" in options or "--qos=long" in options else "Invalid qos specification"

    found = choose(cluster, ask)
    assert (found.site.cpu.account, found.site.cpu.qos, found.site.cpu.limit) == ("other", None, 300)
    gpu = found.site.gpu
    assert (gpu.account, gpu.qos, gpu.limit, gpu.option, gpu.type) == ("lab", "long", 200, "gres", None)
    assert found.reasons["gpu.limit"] == "minutes, of the QOS long"


def test_what_was_tried_is_named_if_slurm_accepts_nothing(cluster: Cluster) -> None:
    with pytest.raises(
        NothingAccepted, match=r"SLURM accepts no job without a GPU from you; tried:\n  Invalid account: sbatch --part"
    ):
        choose(cluster, lambda options: "Invalid account")


def test_settings_that_a_person_edited_are_kept_when_they_are_written_again(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = paths.site_file()
    before = file.with_name("site.yaml.before")
    for _ in range(2):
        text = write_site(cluster, choose(cluster, lambda options: None))
    assert file.read_text() == text and not before.exists()
    mine = text.replace('partition: "cpu"', 'partition: "mine"')
    file.write_text(mine)
    for _ in range(2):  # a second time does not lose it either
        write_site(cluster, choose(cluster, lambda options: None))
        assert before.read_text() == mine and file.read_text() == text
