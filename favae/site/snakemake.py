"""The start of `snakemake --profile slurm`: jobs that this cluster cannot run are refused before anything is submitted."""

from collections.abc import Iterable, Iterator
from typing import Any

from favae.jobs.requirements import NeedsMissing
from favae.jobs.stages import STAGES
from favae.site.cluster import NoCluster
from favae.site.preflight import Asked, problems


def refuse_unfit(jobs: Iterable[Any]) -> None:
    """Raise NeedsMissing, with one line per problem, if jobs of Snakemake ask for what the cluster does not have."""
    try:
        found = problems(_asked(jobs))
    except NoCluster as error:
        found = [str(error)]
    if found:
        raise NeedsMissing(
            "nothing was started, because this would fail on the cluster:\n" + "\n".join(f"  - {t}" for t in found)
        )


def _asked(jobs: Iterable[Any]) -> Iterator[Asked]:
    """What Snakemake's jobs ask for, with what the profile and the command line changed."""
    for job in jobs:
        if job.rule.name in STAGES and not job.is_local:
            name = f"{job.rule.name}/{job.wildcards.get('cell', 'all')}"
            yield Asked(name, dict(job.resources.items()), int(job.resources.get("cpus_per_task") or job.threads))
