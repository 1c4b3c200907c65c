"""What a cluster offers, as sinfo, scontrol and sacctmgr report it."""

import getpass
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from favae.runtime.slurm import ask

Names = frozenset[str] | None  # None: all


@dataclass
class Partition:
    """One partition, and the largest node in it."""

    name: str
    default: bool = False
    minutes: int | None = None  # its time limit; None: none
    up: bool = True
    accounts: Names = None  # that may use it
    qos: Names = None  # that it accepts
    own_qos: str = ""  # whose limits hold in it
    memory_per_cpu: bool = False  # whether it limits memory per CPU
    grace: int = 0  # seconds that a preempted job gets
    nodes: int = 0
    cpus: int = 0  # of its largest node
    megabytes: int = 0
    gpus: Counter[str] = field(default_factory=Counter)  # type ("" without one) -> number in all nodes
    gpus_per_node: int = 0  # the most
    features: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Association:
    """What one account allows its user."""

    account: str
    qos: tuple[str, ...]  # the default first
    minutes: int | None  # longest time of a job


@dataclass
class Cluster:
    """Everything that is asked. Without accounting there are no associations and no limits of QOS."""

    name: str
    version: str
    partitions: dict[str, Partition]
    associations: list[Association]  # that of the default account first
    qos_minutes: dict[str, int]  # QOS -> longest time of a job
    qos_jobs: dict[str, int]  # QOS -> most jobs of a user in the queue
    accounting: bool

    @property
    def default(self) -> str | None:
        """Name of the partition of jobs that name none."""
        return next((name for name, partition in self.partitions.items() if partition.default), None)


class NoCluster(RuntimeError):
    """No SLURM answers here."""


def look() -> Cluster:
    """Ask SLURM. Raises NoCluster."""
    if shutil.which("sinfo") is None:
        raise NoCluster("there is no sinfo on this machine: run this command on a login node of the cluster")
    config = ask("scontrol", "show", "config", quietly=True)
    if not config or (partitions := ask("scontrol", "--oneliner", "show", "partition")) is None:
        raise NoCluster("SLURM does not answer (scontrol show config): try again when its controller is up")
    facts = dict(re.findall(r"^(\w+)\s+= (.*?)\s*$", config, re.MULTILINE))
    found = {partition.name: partition for partition in map(_partition, partitions.splitlines())}
    _add_nodes(found)
    accounting = facts.get("AccountingStorageType", "").endswith("slurmdbd")
    minutes, jobs = _qos() if accounting else ({}, {})
    associations = list(_associations()) if accounting else []
    return Cluster(
        facts.get("ClusterName", "cluster"),
        facts.get("SLURM_VERSION", "unknown"),
        found,
        associations,
        minutes,
        jobs,
        accounting,
    )


def _partition(line: str) -> Partition:
    words = dict(word.partition("=")[::2] for word in line.split())
    return Partition(
        name=words["PartitionName"],
        default=words.get("Default") == "YES",
        minutes=minutes_of(words.get("MaxTime", "")),
        up=words.get("State") == "UP" and words.get("RootOnly") != "YES",
        accounts=_names(words.get("AllowAccounts")),
        qos=_names(words.get("AllowQos")),
        own_qos=words.get("QoS", "N/A").replace("N/A", ""),
        memory_per_cpu="MaxMemPerCPU" in words,
        grace=int(words.get("GraceTime", 0)),
    )


def _names(text: str | None) -> Names:
    return None if text in (None, "ALL", "(null)") else frozenset(str(text).split(","))


def _add_nodes(partitions: dict[str, Partition]) -> None:
    """Add the nodes of each partition, of which sinfo prints one line per kind."""
    for line in (ask("sinfo", "--noheader", "--format=%R|%D|%c|%m|%G|%f") or "").splitlines():
        name, nodes, cpus, megabytes, gres, features = line.split("|")
        if (partition := partitions.get(name)) is None:
            continue
        partition.nodes += int(nodes)
        partition.cpus = max(partition.cpus, int(cpus.rstrip("+")))
        partition.megabytes = max(partition.megabytes, int(megabytes.rstrip("+")))
        gpus = gpus_of(gres)
        partition.gpus_per_node = max(partition.gpus_per_node, sum(gpus.values()))
        for kind, number in gpus.items():
            partition.gpus[kind] += number * int(nodes)
        partition.features |= set(features.split(",")) - {"(null)", ""}


def gpus_of(gres: str) -> Counter[str]:
    """GPUs per node in sinfo's list of resources: `gpu:a100:4(S:0-1),mps:400` is 4 of the type a100; the type may be missing."""
    found: Counter[str] = Counter()
    for kind, number in re.findall(r"(?:^|,)gpu(?::([A-Za-z][\w.-]*))?:(\d+)", gres):
        found[kind] += int(number)
    return found


def minutes_of(text: str) -> int | None:
    """Minutes of a time as SLURM writes it (`1-00:00:00`, `12:00:00`, `10:00`, `30`); None for no limit."""
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if found is None:
        return None
    days, *rest = found.groups()
    numbers = [int(number) for number in rest if number is not None]
    if days is not None:  # days-hours:minutes:seconds
        hours, minutes = [*numbers, 0, 0][:2]
        return 24 * 60 * int(days) + 60 * hours + minutes
    hours, minutes = (numbers[0], numbers[1]) if len(numbers) == 3 else (0, numbers[0])
    return 60 * hours + minutes


def _associations() -> Iterator[Association]:
    """The accounts of this user, the default one first."""
    user = getpass.getuser()
    default = (
        ask("sacctmgr", "--noheader", "--parsable2", "show", "user", user, "format=DefaultAccount") or ""
    ).strip()
    fields = "format=Account,Partition,QOS,DefaultQOS,MaxWall"
    lines = (
        ask("sacctmgr", "--noheader", "--parsable2", "show", "associations", f"user={user}", fields) or ""
    ).splitlines()
    rows = [line.split("|") for line in lines]
    for account, partition, qos, first, wall in sorted(rows, key=lambda row: row[0] != default):
        if not partition:  # those for one partition only repeat the account
            names = [name for name in qos.split(",") if name]
            yield Association(account, tuple(sorted(names, key=lambda name: name != first)), minutes_of(wall))


def _qos() -> tuple[dict[str, int], dict[str, int]]:
    """(QOS -> longest time, QOS -> most jobs of a user)."""
    lines = (
        ask("sacctmgr", "--noheader", "--parsable2", "show", "qos", "format=Name,MaxWall,MaxSubmitPU") or ""
    ).splitlines()
    rows = [line.split("|") for line in lines]
    walls = {name: found for name, wall, _ in rows if (found := minutes_of(wall)) is not None}
    return walls, {name: int(jobs) for name, _, jobs in rows if jobs.isdigit()}
