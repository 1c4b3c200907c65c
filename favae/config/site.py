"""Settings of a site: what differs between clusters. `favae site` writes them into a file that git ignores (`paths.site_file`)."""

from typing import Annotated, Literal

from pydantic import Field

from favae.config.base import Positive, Schema

Word = Annotated[str, Field(min_length=1, pattern=r"^[^\s'\"]+$")]  # goes into a command line
Memory = Literal["per job", "per cpu"]
GpuOption = Literal["gpus", "gres"]


class Queue(Schema):
    """Where jobs of one kind are sent. What is None is not asked for: the cluster's default then holds.

    Args:
        partition: sbatch --partition.
        account: sbatch --account.
        qos: sbatch --qos.
        constraint: sbatch --constraint, a feature of nodes.
        limit: longest time of a job in minutes; no job asks for more.
        memory: as sbatch --mem, or as --mem-per-cpu.
    """

    partition: Word | None = None
    account: Word | None = None
    qos: Word | None = None
    constraint: Word | None = None
    limit: Positive | None = None
    memory: Memory = "per job"


class GpuQueue(Queue):
    """The same for jobs with a GPU.

    Args:
        option: whether the cluster wants --gpus or --gres.
        type: type of the GPU, if jobs must name one or the types differ.
    """

    option: GpuOption = "gpus"
    type: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")] | None = None


class Site(Schema):
    """The settings of a site, for jobs without a GPU and with one."""

    cpu: Queue = Queue()
    gpu: GpuQueue = GpuQueue()
