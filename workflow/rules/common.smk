# Inputs, outputs, resources and parameters of the rules, from the grid. The returned functions take wildcards only, so that Snakemake
# tracks their values.


def job_of(stage, wildcards):
    """The job of a rule. A stage with one cell per scale has no wildcard for the cell."""
    return load_grid(wildcards.scale).job(stage.name, wildcards.get("cell", "all"))


def cell_of(stage):
    """The cell in the paths of a rule: a wildcard, or `all`."""
    return "all" if stage.collects else "{cell}"


def cards(stage):
    """The cards that a job reads: small, deterministic files whose content Snakemake compares.

    Snakemake knows nothing of raw data: jobs whose raw data changed are forced, as by `--forcerun`, when the plan gets to them.
    """

    def read_by(wildcards):
        job = job_of(stage, wildcards)
        workflow.dag.forcefiles.update({str(job.card)} & PREPARED_AGAIN)
        return [str(path) for path in job.inputs.values()]

    return read_by


def artefacts(stage):
    """The large files that a job reads; `ancient`, because only the cards decide whether a job is current."""
    return lambda wildcards: [
        ancient(str(job_of(stage, wildcards).inputs[role].parent / output.name))
        for role, source in stage.inputs.items()
        for output in STAGES[source].feeds
    ]


def outputs_of(stage):
    """Everything that a stage writes, by name: card, run record, results."""
    scale, cell = "{scale}", cell_of(stage)
    declared = {
        "card": str(paths.card(scale, stage.name, cell)),
        "run": str(paths.run_record(scale, stage.name, cell)),
    }
    for output in stage.outputs:
        path = str(output.path(scale, stage.name, cell))
        declared[output.key] = directory(path) if output.folder else path
        if output.where == "report":
            declared[output.key] = shown(declared[output.key], output.name)
    return declared


def shown(folder, what):
    """Add a folder of tables or figures to Snakemake's report."""
    one, suffix = {"tables": ("table", "html"), "figures": ("figure", "png")}[what]
    return report(
        folder,
        patterns=[f"{{{one}}}.{suffix}"],
        caption=f"../report/{one}.rst",
        category=what.capitalize(),
        labels={one: f"{{{one}}}"},
    )


def resources_for(stage):
    """Memory, time and GPUs, estimated from the parameters, and the settings of the site; memory and time grow with each attempt."""

    def asked(name):
        return lambda wildcards, attempt: request_of(
            job_of(stage, wildcards), attempt, SITE
        )[name]

    alone = {"alone": 1} if stage.together else {}
    return {name: asked(name) for name in request_names(stage, SITE)} | alone


def urgency(stage):
    """The priority of a job: the longest chain of jobs starts first."""
    return lambda wildcards: hours_ahead(job_of(stage, wildcards))


def group_of_rule(stage):
    """The group of a short job on a cluster: Snakemake submits the jobs of a group together."""

    def group(wildcards):
        name = group_of(job_of(stage, wildcards), SITE)
        if workflow.local_exec or name is None:
            return None
        workflow.parent_groupids[name] = (
            "after"  # whose number of jobs the profile bounds
        )
        return name

    return group if stage.together else None


def identity(stage):
    """Parameters as one canonical string."""
    return lambda wildcards: job_of(stage, wildcards).identity


def cell_name(stage):
    """The cell, for the shell command, which is compiled once for all rules of the loop and so cannot use the loop's variables."""
    return lambda wildcards: job_of(stage, wildcards).cell


def threads_of(stage):
    return lambda wildcards: resources_of(job_of(stage, wildcards)).threads


def name_of(stage):
    """`stage/cell`, the name of a job."""
    cell = "all" if stage.collects else "{wildcards.cell}"
    return f"{stage.name}/{cell}"
