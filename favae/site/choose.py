"""The settings of a site, chosen from what its cluster offers and tried with `sbatch --test-only`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product

from favae.config.site import GpuOption, GpuQueue, Queue, Site
from favae.jobs.requests import gpu_resources
from favae.site.cluster import Association, Cluster, Partition
from favae.site.sbatch import options_of, refusal

Refusal = Callable[[tuple[str, ...]], str | None]
_SHORT = 4 * 60  # minutes: a partition of less is taken only if there is no other
_DAY = 24 * 60  # no job asks for more


@dataclass
class Choice:
    """The settings, the reason for each (`cpu.partition` -> text), and what SLURM could not tell."""

    site: Site = field(default_factory=Site)
    reasons: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


class NothingAccepted(RuntimeError):
    """SLURM accepts no job of one kind from this user."""


def choose(cluster: Cluster, ask: Refusal = refusal) -> Choice:
    """The first settings that SLURM accepts, for jobs without a GPU and with one. Raises NothingAccepted."""
    choice = Choice()
    cpu = _first(cluster, choice, "cpu", _ranked(cluster, gpu=False), ask)
    ranked = _ranked(cluster, gpu=True)
    if ranked:
        gpu = _first(cluster, choice, "gpu", ranked, ask)
    else:
        gpu = cpu
        choice.unknown.append(
            "no partition has a GPU in sinfo's list of resources, so there are no settings for jobs with a GPU"
        )
    choice.site = Site(
        cpu=Queue(**{name: getattr(cpu, name) for name in Queue.model_fields}), gpu=gpu if ranked else GpuQueue()
    )
    choice.unknown += _unknown(cluster, choice.site)
    return choice


def _ranked(cluster: Cluster, *, gpu: bool) -> list[Partition]:
    """Partitions for one kind of job, the best first: long enough; then many GPUs, or none and the default."""

    def rank(partition: Partition) -> tuple[object, ...]:
        minutes, number = partition.minutes or 10 * _DAY, sum(partition.gpus.values())
        kind = (-number, not partition.default) if gpu else (number > 0, not partition.default)
        return (minutes < _SHORT, *kind, -min(minutes, _DAY), -partition.nodes)

    usable = (p for p in cluster.partitions.values() if p.up and p.nodes and (sum(p.gpus.values()) or not gpu))
    return sorted(usable, key=rank)


def _first(cluster: Cluster, choice: Choice, kind: str, ranked: list[Partition], ask: Refusal) -> GpuQueue:
    refused: dict[str, str] = {}
    for partition in ranked:
        for queue, why in _candidates(cluster, partition, gpu=kind == "gpu"):
            asked: dict[str, str | int | None] = {
                "slurm_partition": queue.partition,
                "slurm_account": queue.account,
                "qos": queue.qos,
                "runtime": queue.limit,
            }
            options = options_of(asked | (gpu_resources(queue, 1) if kind == "gpu" else {}), 1)
            if (reason := ask(options)) is None:
                _explain(choice, kind, queue, partition, why, ranked)
                return queue
            refused.setdefault(reason, " ".join(options))
    tried = "\n".join(f"  {reason}: sbatch {options}" for reason, options in refused.items()) or "  no partition is up"
    raise NothingAccepted(
        f"SLURM accepts no job {'with' if kind == 'gpu' else 'without'} a GPU from you; tried:\n{tried}\n"
        "ask your administrators for an account or a partition, then run this command again"
    )


def _candidates(cluster: Cluster, partition: Partition, *, gpu: bool) -> Iterator[tuple[GpuQueue, dict[str, str]]]:
    """Settings to try in one partition, the plainest first, each with its reasons."""
    ways: list[tuple[GpuOption, str | None]] = [("gpus", None)]
    if gpu:
        typed = [name for name, _ in partition.gpus.most_common() if name]
        ways = [(option, name) for name in (None, *typed) for option in ("gpus", "gres")]
    for association, (option, kind) in product(_accounts(cluster, partition), ways):
        for qos, why in _qos(association, partition):
            limits = _limits(cluster, partition, association, qos)
            limit = min(limits.values(), default=None)
            yield (
                GpuQueue(
                    partition=partition.name,
                    account=association.account if association else None,
                    qos=qos,
                    limit=limit,
                    memory="per cpu" if partition.memory_per_cpu else "per job",
                    option=option,
                    type=kind,
                ),
                {
                    "qos": why,
                    "limit": f"minutes, of {min(limits, key=lambda name: limits[name])}"
                    if limits
                    else "no limit was found",
                },
            )


def _accounts(cluster: Cluster, partition: Partition) -> list[Association | None]:
    allowed = [a for a in cluster.associations if partition.accounts is None or a.account in partition.accounts]
    return [*allowed] if cluster.associations else [None]


def _qos(association: Association | None, partition: Partition) -> Iterator[tuple[str | None, str]]:
    if partition.qos is None:
        yield None, "the default of the account is accepted"
    for name in association.qos if association else ():
        if partition.qos is None or name in partition.qos:
            yield (
                name,
                f"the partition accepts only {', '.join(sorted(partition.qos))}"
                if partition.qos
                else "without one, SLURM refuses",
            )


def _limits(cluster: Cluster, partition: Partition, association: Association | None, qos: str | None) -> dict[str, int]:
    """Whose limit of time -> minutes."""
    name = qos or (association.qos[0] if association and association.qos else "")
    limits = {
        f"the partition {partition.name}": partition.minutes,
        f"the account {association.account}" if association else "the account": association.minutes
        if association
        else None,
        f"the QOS {name}": cluster.qos_minutes.get(name),
        f"the QOS {partition.own_qos} of the partition": cluster.qos_minutes.get(partition.own_qos),
    }
    return {who: minutes for who, minutes in limits.items() if minutes is not None}


def _explain(
    choice: Choice, kind: str, queue: GpuQueue, partition: Partition, why: dict[str, str], ranked: list[Partition]
) -> None:
    gpus = ", ".join(f"{number} GPUs" + (f" of type {name}" if name else "") for name, number in partition.gpus.items())
    size = f"nodes: {partition.nodes}, with up to {partition.cpus} CPUs and {partition.megabytes} MB"
    others = ", ".join(p.name for p in ranked if p is not partition)
    reasons = {
        "partition": f"{size}{'; ' + gpus if gpus else ''}; others that fit: {others or 'none'}",
        "account": "your default account" if queue.account else "no accounting: none is charged",
        "memory": "the partition limits memory per CPU" if partition.memory_per_cpu else "sbatch --mem",
        "option": "accepted" if queue.option == "gpus" else "--gpus is refused, --gres accepted",
        "type": "jobs must name one" if queue.type else "any",
        **why,
    }
    choice.reasons |= {f"{kind}.{name}": text for name, text in reasons.items()}


def _unknown(cluster: Cluster, site: Site) -> Iterator[str]:
    if not cluster.accounting:
        yield "without accounting SLURM tells nothing of accounts, QOS and their limits"
    for kind, queue in {"cpu": site.cpu, "gpu": site.gpu}.items():
        partition = cluster.partitions.get(queue.partition or "")
        if partition is None:
            continue
        types = [name for name in partition.gpus if name]
        if kind == "gpu" and len(types) > 1 and site.gpu.type is None:
            yield f"which GPU is wanted: {queue.partition} has {' and '.join(types)}, and a job gets any; write one as gpu.type"
        if partition.features:
            yield f"whether features of nodes matter ({', '.join(sorted(partition.features))}); if so write one as {kind}.constraint"
        for name in {queue.qos, partition.own_qos} & cluster.qos_jobs.keys():
            most = cluster.qos_jobs[str(name)]
            yield f"how many jobs you want in the queue; the QOS {name} allows {most}: snakemake --profile slurm --jobs N"
    yield "whether nodes see this folder and its environment, and whether torch finds the GPU: favae site --job asks with a short job"
