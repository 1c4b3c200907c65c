# What every rule asks of the grid. Functions take wildcards only, so that Snakemake tracks what they return.


def job_of(stage, wildcards):
    """The job of a rule; rules that make one thing a scale have no wildcard for the cell."""
    return load_grid(wildcards.scale).job(stage, wildcards.get("cell", "all"))


def cards(stage):
    """The cards a job reads: small, deterministic files whose content Snakemake compares."""
    return lambda wildcards: [
        str(path) for path in job_of(stage, wildcards).inputs.values()
    ]


def artefact(stage, role, name):
    """A large file of an input. Only its card decides whether a job is current: times of large files mean nothing."""
    return lambda wildcards: ancient(
        str(job_of(stage, wildcards).inputs[role].parent / name)
    )


def identity(stage):
    """Parameters and code version as one canonical string."""
    return lambda wildcards: job_of(stage, wildcards).identity


def threads_of(stage):
    return lambda wildcards: resources_of(job_of(stage, wildcards)).threads


def resource(stage, name):
    """A resource estimated from the parameters; memory and time grow with each attempt."""
    return lambda wildcards, attempt: getattr(
        resources_of(job_of(stage, wildcards)).grown(attempt), name
    )
