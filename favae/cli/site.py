"""`favae site`: the settings of this cluster for `snakemake --profile slurm`."""

import sys
from typing import Annotated

import typer


def site(
    scale: Annotated[str, typer.Option(help="Scale whose jobs are tried.")] = "paper",
    job: Annotated[
        bool, typer.Option("--job", help="Also check folder, environment and torch with one short job on a GPU node.")
    ] = False,
) -> None:
    """Ask SLURM for partitions, limits, GPUs, accounts and QOS, and write the settings of this site (slurm/site.yaml, ignored by git).

    Each setting has its reason as a comment. Every kind of job of the scale is tried with `sbatch --test-only`, which submits
    nothing. What SLURM could not tell is printed at the end. Exits with 1 if a job would be refused.

    Example: favae site
    """
    from favae.jobs.grid import load_grid
    from favae.runtime import paths
    from favae.site.choose import choose
    from favae.site.cluster import look
    from favae.site.node import run_on_node
    from favae.site.preflight import asked_by, problems
    from favae.site.write import write_site

    cluster = look()
    grid = load_grid(scale)
    grid.check()
    print(write_site(cluster, choose(cluster)))
    print(f"written to {paths.site_file()}")
    asked = asked_by(grid)
    found = problems(asked)
    kinds = len({one.name.partition("/")[0] for one in asked})
    print(
        f"jobs of the scale {scale} that would fail:"
        if found
        else f"SLURM accepts the jobs of all {kinds} stages of {scale}"
    )
    for text in found:
        print(f"  - {text}", file=sys.stderr)
    if job and not found:
        print(run_on_node())
    raise typer.Exit(1 if found else 0)
