"""What would fail later on this cluster: limits, partitions, GPUs, memory, torch. Found before anything is submitted."""

import importlib.util
import os
import re
import runpy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from favae.jobs.grid import Job
from favae.jobs.requests import Request, read_site, request_of
from favae.jobs.resources import resources_of
from favae.site.cluster import Cluster, Partition, look
from favae.site.sbatch import gpus_asked, options_of, refusal

_REMEDY = "`favae site` writes settings that fit"


@dataclass(frozen=True)
class Asked:
    """What one job asks of SLURM."""

    name: str
    request: Request
    threads: int

    @property
    def nodes(self) -> int:
        """Number of nodes, over which tasks and GPUs are spread."""
        return int(self.request.get("nodes", 1))


def asked_by(jobs: Iterable[Job]) -> list[Asked]:
    """What jobs would ask for at their first attempt, with the settings of this site; jobs beside Snakemake ask for nothing."""
    site = read_site()
    return [Asked(job.name, request_of(job, 1, site), resources_of(job).threads) for job in jobs if not job.stage.local]


def problems(asked: Iterable[Asked]) -> list[str]:
    """One line for each thing that would fail, with the remedy. Raises NoCluster if no SLURM answers."""
    cluster, kinds = look(), _kinds(asked)
    lacks: dict[str, list[Asked]] = {}
    for group in kinds:
        for text in _against(cluster, group[0]):
            lacks.setdefault(text, []).extend(group)
    found = [f"{_names(group)}: {text}" for text, group in lacks.items()]
    if any(gpus_asked(group[0].request) for group in kinds):
        found += _torch()
    if not found:  # SLURM knows more: accounts, QOS, features
        found = [
            f"{_names(group)}: SLURM refuses such a job: {reason} ({' '.join(options)}); {_REMEDY}"
            for group in kinds
            if (reason := refusal(options := options_of(group[0].request, group[0].threads)))
        ]
    return found


def _kinds(asked: Iterable[Asked]) -> list[list[Asked]]:
    """Jobs that ask for the same, together."""
    kinds: dict[tuple[str, ...], list[Asked]] = {}
    for one in asked:
        kinds.setdefault((*options_of(one.request, one.threads), str(one.request.get("slurm_extra"))), []).append(one)
    return list(kinds.values())


def _names(group: list[Asked]) -> str:
    return group[0].name + (f" and {len(group) - 1} more" if len(group) > 1 else "")


def _against(cluster: Cluster, one: Asked) -> Iterator[str]:
    """What one kind of job asks for and its partition does not have."""
    request = one.request
    name = str(request.get("slurm_partition") or cluster.default or "")
    if not name:
        yield f"no partition is named, and the cluster has no default; {_REMEDY}"
    for each in filter(None, name.split(",")):
        partition = cluster.partitions.get(each)
        if partition is None:
            yield f"partition {each} does not exist; there are {', '.join(cluster.partitions)}; {_REMEDY}"
        else:
            yield from _in_partition(cluster, partition, one)


def _in_partition(cluster: Cluster, partition: Partition, one: Asked) -> Iterator[str]:
    here = f"the partition {partition.name}" + ("" if "slurm_partition" in one.request else ", the default,")
    gpus, per_node = gpus_asked(one.request), -(-gpus_asked(one.request) // one.nodes)
    if per_node > partition.gpus_per_node:
        others = [p.name for p in cluster.partitions.values() if p.gpus_per_node >= per_node]
        has = f"has at most {partition.gpus_per_node} in a node" if partition.gpus_per_node else "has none"
        yield f"asks for {gpus} GPU, and {here} {has}; partitions that have: {', '.join(others) or 'none'}; {_REMEDY}"
    minutes = int(one.request.get("runtime", 0))
    if partition.minutes is not None and minutes > partition.minutes:
        yield f"asks for {minutes} minutes, and {here} allows {partition.minutes}; {_REMEDY} (limit)"
    threads = -(-one.threads // one.nodes) if "tasks" not in one.request else one.threads
    if threads > partition.cpus:
        few = "name another partition, or give fewer: --set-threads"
        yield f"asks for {threads} CPUs, and nodes of {here} have at most {partition.cpus}; {few}"
    megabytes = int(one.request.get("mem_mb", 0) or int(one.request.get("mem_mb_per_cpu", 0)) * one.threads)
    if megabytes > partition.megabytes:
        yield f"asks for {megabytes} MB, and nodes of {here} have at most {partition.megabytes}; name another partition"
    lead = re.search(r"--signal=\w+@(\d+)", str(one.request.get("slurm_extra", "")))
    if lead and int(lead[1]) >= 60 * minutes:
        yield (
            f"is told to save {lead[1]} seconds before the end of a slot of {60 * minutes} seconds, so it would save and leave "
            "at once for ever; ask for more time, or for a later signal"
        )


def _torch() -> Iterator[str]:
    """A torch without CUDA in this environment, which is that of the nodes too."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None or os.environ.get("FAVAE_COUNTED_GPUS"):
        return
    built = runpy.run_path(str(Path(spec.origin).parent / "version.py"))  # without importing torch, which takes seconds
    if built.get("cuda") is None and built.get("hip") is None:
        yield (
            f"torch {version('torch')} of this environment is built for the CPU, and jobs ask for GPUs: on a node they would stop; "
            "install a torch for the GPUs of this cluster"
        )
