# The DAG of the reproduction. Rules are in workflow/rules, everything else in the package: inputs and outputs of each stage
# (favae.jobs.stages), jobs and their parameters (favae.jobs.grid), the work of a job (favae.stages), and DVC and MLflow (favae.sync).
#
#   snakemake                          the active scale of params/grid.yaml, on this machine
#   snakemake --config scale=paper -n  the jobs of the full reproduction, without running them
#   snakemake --profile slurm          the full reproduction on a cluster

import atexit
import sys
from pathlib import Path

from snakemake.logging import logger
from snakemake.settings.enums import Quietness

from favae.config import ConfigError
from favae.jobs.grid import load_grid
from favae.jobs.requests import group_of, read_site, request_names, request_of
from favae.jobs.resources import hours_ahead, resources_of
from favae.jobs.stages import STAGES
from favae.sync.dvc_entries import refuse_conflict
from favae.sync.dvc_repro import restore_deleted, run_together
from favae.sync.dvc_yaml import renew
from favae.sync.snakemake import (
    finish_killed_run,
    made_from_other_raw_data,
    refuse_foreign,
    take_back_future_times,
)
from favae.results.project_lock import hold_project
from favae.runtime import paths
from favae.runtime.slurm import find_first
from favae.runtime.slurm_queue import watch_queue

# First the `sacct` and `sbatch` wrappers of this project, then the `favae` of this interpreter. Jobs on other nodes run this line too.
find_first(Path(workflow.basedir, "workflow/slurm-bin"), Path(sys.executable).parent)

try:
    GRID = load_grid(config.get("scale"))
    GRID.check()
    SITE = read_site()
    if workflow.is_main_process:
        refuse_conflict()  # in dvc.lock
        renew()  # dvc.yaml
        refuse_foreign(GRID)
    PREPARED_AGAIN = (
        made_from_other_raw_data(GRID) if workflow.is_main_process else set()
    )
except ConfigError as error:
    sys.exit(f"favae: {error}")  # WorkflowError would add lines of this file

# `dvc repro` deletes what it asks for; what is whole is put back. `SNAKEMAKE_PROFILE=slurm dvc repro` asks for one cell after the other;
# here those of a stage run together.
if workflow.is_main_process:
    restore_deleted(GRID)
    run_together(GRID)
    atexit.register(
        finish_killed_run, workflow, GRID.scale
    )  # no hook runs where nothing is to be done


report: "workflow/report/workflow.rst"


# Used with `--sdm apptainer`; workflow/container/favae.def says how to make it.
container: "workflow/container/favae.sif"


# Jobs of one group run one after the other: the profile allows one unit of `alone` per submission.
resource_scopes:
    alone="local",


wildcard_constraints:
    scale="[a-z0-9_-]+",
    cell="[a-z0-9_-]+",


include: "workflow/rules/common.smk"
include: "workflow/rules/stages.smk"


# All cards, not only the last ones: Snakemake does not rebuild a missing intermediate file if the files that depend on it are newer.
rule all:
    default_target: True
    input:
        [job.card for job in GRID],
    message:
        f"all results of the scale {GRID.scale}"


onstart:
    # Imported here, because planning does not need it.
    from favae.jobs.requirements import NeedsMissing, require
    from favae.site.snakemake import refuse_unfit

    hold_project()
    try:
        require(
            load_grid(job.wildcards.scale).job(
                job.rule.name, job.wildcards.get("cell", "all")
            )
            for job in workflow.dag.needrun_jobs()
            if job.rule.name in STAGES
        )
        if (
            type(workflow.executor_settings).__module__
            == "snakemake_executor_plugin_slurm"
        ):
            refuse_unfit(workflow.dag.needrun_jobs())
    except NeedsMissing as error:
        sys.exit(f"favae: {error}")
    take_back_future_times(
        {str(path) for job in workflow.dag.needrun_jobs() for path in job.input}
    )
    # Snakemake counts messages of failed jobs as `rules` output; for jobs on a cluster they are the only sign of a failure.
    if workflow.non_local_exec:
        workflow.output_settings.quiet.discard(Quietness.RULES)
        watch_queue(logger.warning)
    shell("favae internal start")


onsuccess:
    shell(f"favae internal finish --scale {GRID.scale}")


onerror:
    shell("favae mlflow-sync --quiet || true")
