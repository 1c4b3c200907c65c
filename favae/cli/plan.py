"""`favae plan`: the jobs of a scale, estimates of what they take, and what is missing on this machine."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from favae.jobs.estimates import Estimate, Sizes
    from favae.jobs.grid import Grid, Job
    from favae.results.run_record import RunRecord

_WIDTH = 120
_INDENT = " " * 4
_BASIS = (
    "GPU-hours, memory and disk are estimates; measured values are shown beside them. FLOPs are counted from the "
    "parameters of each network "
    "(training: three forward passes, plus LPIPS, discriminator and blur) and divided by rates measured on one NVIDIA H100 "
    "80GB (workflow/docs/benchmarks.md), from which large trainings there differ by up to a fifth: "
)


def plan(
    target: Annotated[str | None, typer.Argument(help="STAGE or STAGE/CELL; default: all.")] = None,
    scale: Annotated[str | None, typer.Option(help="Scale in params/grid.yaml; default: the active one.")] = None,
) -> None:
    """Show what each job does and takes (estimated and measured), and what is missing here. Exits with 1 if anything is.

    Example: favae plan train_autoencoder/celebahq-f16-r12 --scale paper
    """
    from favae.jobs.grid import load_grid
    from favae.jobs.requirements import missing_space, needs

    grid = load_grid(scale)
    grid.check()
    jobs = _chosen(grid, target)
    sizes = _sizes(grid)
    estimates = {job.name: _estimate(grid, job, sizes) for job in jobs}
    for job in jobs:
        print("\n".join(_block(grid, job, sizes, estimates[job.name])), end="\n\n")
    print("\n".join(_totals(jobs, estimates)))
    ahead = sum(found.disk_bytes for job in jobs if (found := estimates[job.name]) and not job.card.exists())
    missing = [need.text for need in (*needs(jobs), *missing_space(ahead))] + _on_cluster(jobs)
    print("\nmissing on this machine:" if missing else "\nnothing is missing on this machine")
    for line in missing:
        print(_wrapped(line, "  - ", _INDENT))
    raise typer.Exit(1 if missing else 0)


def _on_cluster(jobs: list["Job"]) -> list[str]:
    """What unfinished jobs would meet on the cluster of this machine; nothing where no SLURM answers."""
    from favae.site.cluster import NoCluster
    from favae.site.preflight import asked_by, problems

    try:
        return problems(asked_by(job for job in jobs if not job.card.exists()))
    except NoCluster:
        return []


def _wrapped(text: str, first: str, others: str) -> str:
    """Lines of at most 120 characters, broken only at blanks, so that addresses and values stay whole."""
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _chosen(grid: "Grid", target: str | None) -> list["Job"]:
    if target is None:
        return list(grid)
    stage, _, cell = target.partition("/")
    if cell:
        return [grid.job(stage, cell)]
    chosen = [job for job in grid if job.stage.name == stage]
    return chosen or [grid.job(stage, "")]  # raises ConfigError


def _sizes(grid: "Grid") -> dict[str, "Sizes"]:
    """Images per split of each data set: from its card if it is prepared, otherwise as declared."""
    from favae.jobs.resources import known_sizes
    from favae.results.cards import read_card

    sizes: dict[str, Any] = dict(known_sizes(grid))
    for cell in grid.cells("prepare_dataset"):
        card = grid.job("prepare_dataset", cell).card
        if card.exists():
            sizes[cell] = read_card(card).summary["counts"]
    return sizes


def _estimate(grid: "Grid", job: "Job", sizes: Mapping[str, "Sizes"]) -> "Estimate | None":
    from favae.jobs.estimates import UnknownSize, estimate

    try:
        return estimate(grid, job, sizes)
    except UnknownSize:
        return None


def _block(grid: "Grid", job: "Job", sizes: Mapping[str, "Sizes"], found: "Estimate | None") -> list[str]:
    """Name, sources, data, length, estimate and all parameters of one job."""
    lines = [job.name, f"{_INDENT}from        {job.where}"]
    lines += [f"{_INDENT}{name:11} {text}" for name, text in _facts(grid, job, sizes, found)]
    if not job.stage.collects:  # the parameters of tables and figures are whole files
        pairs = " ".join(f"{key}={value}" for key, value in _flat(job.parameters))
        lines.append(_wrapped(pairs, f"{_INDENT}parameters  ", " " * 16))
    return lines


def _facts(
    grid: "Grid", job: "Job", sizes: Mapping[str, "Sizes"], found: "Estimate | None"
) -> Iterator[tuple[str, str]]:
    """(heading, text) of a job's data, length, estimate and measured values."""
    if not job.stage.collects:
        yield "data", _data(grid, job, sizes)
    training = job.parameters.get("training", {})
    length = f"{training['length']} of {training['batch_size']}" if training else ""
    if found is None:
        yield from [("length", length)] if length else []
        yield "estimate", "after the data set is prepared"
        return
    if found.steps is not None:
        yield "length", f"{length}: {found.steps:,} steps, {found.images:,} images seen"
    elif found.images:
        yield "length", f"{found.images:,} images"
    if job.stage.name == "prepare_dataset" and found.images:
        yield "estimate", _preparation(job, found)
    if found.flops:
        hours, memory = f"{found.gpu_hours:,.2f} GPU-hours", f"{found.gpu_bytes / 1e9:.1f} GB"
        gpus = training.get("ranks", 1)
        yield "estimate", f"{hours} ({found.flops / 1e15:,.1f} PFLOP), {memory} of GPU memory, GPUs: {gpus}"
    if record := _record(job):
        yield "measured", _measured(record)


def _preparation(job: "Job", found: "Estimate") -> str:
    """Bound of the time of a preparation, and what it writes."""
    from favae.jobs.estimates import DECODED_PER_CORE
    from favae.jobs.resources import resources_of

    cores = resources_of(job).threads
    minutes = found.images / DECODED_PER_CORE / cores / 60
    rate = f"{DECODED_PER_CORE} images decoded per second and core"
    return f"at least {minutes:,.1f} minutes on {cores} cores ({rate}), {found.disk_bytes / 1e9:,.1f} GB written"


def _data(grid: "Grid", job: "Job", sizes: Mapping[str, "Sizes"]) -> str:
    from favae.jobs.estimates import captions_of, dataset_of

    dataset = job.cell if job.stage.name == "prepare_dataset" else dataset_of(grid, job)
    if dataset not in sizes:
        return f"{dataset}: size unknown until it is prepared"
    counts = ", ".join(f"{split} {sizes[dataset][split]:,}" for split in ("train", "val", "test"))
    captions = captions_of(grid, dataset) if job.stage.name == "train_cat" else 1
    return f"{dataset}: {counts}" + (f"; {captions} captions per image" if captions > 1 else "")


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            text = str(value).replace(", ", ",")
            yield f"{prefix}{key}", text.replace(" ", "_")  # one word per parameter: 20_epochs


def _record(job: "Job") -> "RunRecord | None":
    """The run record of a job; None if it has none, or an unreadable one."""
    from favae.results.run_record import read_run_record

    try:
        return read_run_record(job.scale, job.stage.name, job.cell)
    except ValueError:
        return None


def _measured(record: "RunRecord") -> str:
    where = f"{record.device} of {record.host}" + (f", SLURM job {record.slurm_job}" if record.slurm_job else "")
    again = f", resumed {record.resumed} times (time of the last part only)" if record.resumed else ""
    memory = "".join(
        f", {size / 1e9:.1f} GB of {kind} memory"
        for kind, size in (("GPU", record.gpu_bytes), ("host", record.host_bytes))
        if size
    )
    return f"{record.seconds / 3600:,.2f} h{memory} on {where}{again}"


def _totals(jobs: list["Job"], estimates: Mapping[str, "Estimate | None"]) -> Iterator[str]:
    from favae.jobs.estimates import RATES

    yield (
        f"{'stage':30}{'jobs':>6}{'images':>16}{'GPU-hours':>12}{'GPU memory':>12}{'disk':>10}{'measured hours':>18}"
    )
    stages: dict[str, list[Job]] = {}
    for job in jobs:
        stages.setdefault(job.stage.name, []).append(job)
    for stage, group in [*stages.items(), ("total", jobs)]:
        yield _row(stage, group, estimates)
    written = sum(found.disk_bytes for found in estimates.values() if found)
    yield ""
    yield _wrapped(
        f"storage (estimate): {written / 1e9:,.1f} GB in data/, without raw data; as much again in DVC's cache, unless its "
        "cache.type lets files share their blocks (workflow/docs/contract.md)",
        "",
        _INDENT,
    )
    hours, path = _critical_path(jobs, estimates)
    yield ""
    yield _wrapped(f"critical path (estimate): {hours:,.1f} hours: {', '.join(path)}", "", _INDENT)
    rates = ", ".join(f"{network} {precision} {rate / 1e12:g} TFLOP/s" for (network, precision), rate in RATES.items())
    yield ""
    yield textwrap.fill(_BASIS + rates + ".", _WIDTH)


def _row(stage: str, group: list["Job"], estimates: Mapping[str, "Estimate | None"]) -> str:
    """Sums of one stage. GPU memory is that of the largest job; disk includes checkpoints of running trainings."""
    known = [found for job in group if (found := estimates[job.name]) is not None]
    images, hours = sum(found.images for found in known), sum(found.gpu_hours for found in known)
    memory, disk = max((f.gpu_bytes for f in known), default=0), sum(found.disk_bytes for found in known)
    records = [record for job in group if (record := _record(job))]
    spent = f"{sum(r.seconds for r in records) / 3600:,.1f} ({len(records)} jobs)" if records else "not run"
    unknown = f"  ({len(group) - len(known)} not estimated)" if len(known) < len(group) else ""
    numbers = f"{images:16,}{hours:12,.1f}{memory / 1e9:9,.1f} GB{disk / 1e9:7,.1f} GB{spent:>18}"
    return f"{stage:30}{len(group):6}{numbers}{unknown}"


def _critical_path(jobs: list["Job"], estimates: Mapping[str, "Estimate | None"]) -> tuple[float, list[str]]:
    """Hours and jobs of the critical path, the longest chain of dependent jobs. A job's hours are divided by its ranks."""
    ends: dict[str, tuple[float, list[str]]] = {}
    for job in jobs:  # inputs come first
        found, ranks = estimates[job.name], job.parameters.get("training", {}).get("ranks", 1)
        before, path = max((ends[str(c)] for c in job.inputs.values() if str(c) in ends), default=(0.0, []))
        own = found.gpu_hours / ranks if found else 0.0
        ends[str(job.card)] = (before + own, [*path, job.name] if own else path)
    return max(ends.values(), default=(0.0, []))
