"""What a job asks of SLURM: its resources, with the settings of the site. Snakemake passes them to sbatch by these names."""

from dataclasses import replace

from favae.config.load import read_yaml, validate
from favae.config.site import GpuQueue, Queue, Site
from favae.jobs.grid import Job
from favae.jobs.resources import Resources, resources_of
from favae.jobs.stages import Stage
from favae.runtime import paths

Request = dict[str, str | int]  # Snakemake's name of a resource -> value
TOGETHER = 4  # at most this many jobs in one group; `group-components` of the profile says the same
_SIGNAL = 300  # seconds before its limit at which a training is told to save


def read_site() -> Site:
    """The settings of this site; without the file, those of a cluster that needs none. Raises ConfigError."""
    file = paths.site_file()
    return validate(Site, read_yaml(file), file.as_posix(), [(file, None)]) if file.exists() else Site()


def queue_of(stage: Stage, site: Site) -> Queue:
    """Where the jobs of a stage are sent."""
    return site.gpu if stage.gpu else site.cpu


def request_of(job: Job, attempt: int, site: Site) -> Request:
    """The request of attempt number `attempt` (from 1) of a job, never above the time limit of the site."""
    asked = resources_of(job).grown(attempt)
    if group_of(job, site) and (limit := queue_of(job.stage, site).limit):  # the times of jobs in one group are added
        asked = replace(asked, runtime=min(asked.runtime, limit // TOGETHER))
    return _resources(job.stage, asked, site)


def group_of(job: Job, site: Site) -> str | None:
    """Name of the job of SLURM that short jobs after one model share; None for a job that is submitted alone.

    They share one only where the site's limit is known and long enough for all. They run one after the other.
    """
    role, limit = job.stage.together, queue_of(job.stage, site).limit
    if not role or limit is None or TOGETHER * resources_of(job).runtime > limit:
        return None
    return f"after-{job.roles[role]}"


def request_names(stage: Stage, site: Site) -> list[str]:
    """Names of the resources that each job of a stage asks for."""
    return list(_resources(stage, Resources(1, 1, 1, 1), site))


def _resources(stage: Stage, asked: Resources, site: Site) -> Request:
    queue = queue_of(stage, site)
    runtime = min(asked.runtime, queue.limit or asked.runtime)
    found: dict[str, str | int | None] = {"slurm_partition": queue.partition, "slurm_account": queue.account}
    found |= {"qos": queue.qos, "constraint": queue.constraint, "runtime": runtime}
    if queue.memory == "per cpu":
        found["mem_mb_per_cpu"] = -(-asked.mem_mb // asked.threads)
    else:
        found["mem_mb"] = asked.mem_mb
    if isinstance(queue, GpuQueue):
        found |= gpu_resources(queue, asked.gpu)
    if stage.resumes:
        found["slurm_extra"] = f"--signal=TERM@{signal_seconds(runtime)}"
    return {name: value for name, value in found.items() if value is not None}


def gpu_resources(queue: GpuQueue, number: int) -> dict[str, str | int | None]:
    """The resources that ask for a number of GPUs."""
    if queue.option == "gpus":
        return {"gpu": number, "gpu_model": queue.type}
    return {"gres": ":".join(("gpu", *([queue.type] if queue.type else []), str(number)))}


def signal_seconds(runtime: int) -> int:
    """Seconds before the end of `runtime` minutes at which a training is told to save: five minutes, of a short slot a quarter."""
    return min(_SIGNAL, 60 * runtime // 4)
