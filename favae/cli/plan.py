"""`favae plan`: what a scale would run, what it would take, and what this machine lacks for it."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from favae.config.estimates import Estimate, Sizes
    from favae.config.grid import Grid, Job

_WIDTH = 120
_INDENT = " " * 4
_BASIS = (
    "GPU-hours and memory are estimates, not measurements. FLOPs are counted from the parameters of each network "
    "(training: three forward passes, plus LPIPS, discriminator and blur) and divided by assumed sustained rates of an "
    "H200-class GPU: "
)
_WITHOUT_WEIGHTS = ("randconv",)  # feature networks that need no file; the others are named as theirs is


def plan(
    target: Annotated[str | None, typer.Argument(help="STAGE or STAGE/CELL; default: all.")] = None,
    scale: Annotated[str | None, typer.Option(help="Scale in params/grid.yaml; default: the active one.")] = None,
) -> None:
    """Show what each job would do and take (estimates), and what is missing here. Exits 1 if something is.

    Example: favae plan train_autoencoder/celebahq-f16-r12 --scale paper
    """
    from favae.config.grid import load_grid

    grid = load_grid(scale)
    grid.check()
    jobs = _chosen(grid, target)
    sizes = _sizes(grid)
    estimates = {job.name: _estimate(grid, job, sizes) for job in jobs}
    for job in jobs:
        print("\n".join(_block(grid, job, sizes, estimates[job.name])), end="\n\n")
    print("\n".join(_totals(jobs, estimates)))
    missing = list(_missing(jobs))
    print("\nmissing on this machine:" if missing else "\nnothing is missing on this machine")
    for line in missing:
        print(_wrapped(line, "  - ", _INDENT))
    raise typer.Exit(1 if missing else 0)


def _wrapped(text: str, first: str, others: str) -> str:
    """Lines of at most 120 characters, broken at blanks only: addresses and values stay whole."""
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
    return chosen or [grid.job(stage, "")]  # raises, listing what there is


def _sizes(grid: "Grid") -> dict[str, "Sizes"]:
    """Images of each data set: as prepared, else as declared."""
    from favae.config.resources import known_sizes
    from favae.provenance.cards import read_card

    sizes: dict[str, Any] = known_sizes(grid)
    for cell in grid.cells("prepare_dataset"):
        card = grid.job("prepare_dataset", cell).card
        if card.exists():
            sizes[cell] = read_card(card).summary["counts"]
    return sizes


def _estimate(grid: "Grid", job: "Job", sizes: Mapping[str, "Sizes"]) -> "Estimate | None":
    from favae.config.estimates import UnknownSize, estimate

    try:
        return estimate(grid, job, sizes)
    except UnknownSize:
        return None


def _block(grid: "Grid", job: "Job", sizes: Mapping[str, "Sizes"], found: "Estimate | None") -> list[str]:
    """Name, sources, data, length, estimate and all parameters of one job."""
    lines = [job.name, f"{_INDENT}from        {job.where}"]
    lines += [f"{_INDENT}{name:11} {text}" for name, text in _facts(grid, job, sizes, found)]
    if not job.stage.collects:  # tables and figures: their parameters are whole files
        pairs = " ".join(f"{key}={value}" for key, value in _flat(job.parameters))
        lines.append(_wrapped(pairs, f"{_INDENT}parameters  ", " " * 16))
    return lines


def _facts(
    grid: "Grid", job: "Job", sizes: Mapping[str, "Sizes"], found: "Estimate | None"
) -> Iterator[tuple[str, str]]:
    """(what, text) of a job's data, length and estimate."""
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
    if found.flops:
        hours, memory = f"{found.gpu_hours:,.2f} GPU-hours", f"{found.gpu_bytes / 1e9:.1f} GB"
        gpus = training.get("ranks", 1)
        yield "estimate", f"{hours} ({found.flops / 1e15:,.1f} PFLOP), {memory} of GPU memory, GPUs: {gpus}"


def _data(grid: "Grid", job: "Job", sizes: Mapping[str, "Sizes"]) -> str:
    from favae.config.estimates import captions_of, dataset_of

    dataset = job.cell if job.stage.name == "prepare_dataset" else dataset_of(grid, job)
    if dataset not in sizes:
        return f"{dataset}: size known once prepared"
    counts = ", ".join(f"{split} {sizes[dataset][split]:,}" for split in ("train", "val", "test"))
    captions = captions_of(grid, dataset) if job.stage.name == "train_cat" else 1
    return f"{dataset}: {counts}" + (f"; {captions} captions an image" if captions > 1 else "")


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            text = str(value).replace(", ", ",")
            yield f"{prefix}{key}", text.replace(" ", "_")  # one word a parameter: 20_epochs


def _totals(jobs: list["Job"], estimates: Mapping[str, "Estimate | None"]) -> Iterator[str]:
    from favae.config.estimates import RATES

    yield f"{'stage':30}{'jobs':>6}{'images':>16}{'GPU-hours (estimate)':>24}"
    stages: dict[str, list[Any]] = {}
    for job in jobs:
        stages.setdefault(job.stage.name, []).append(estimates[job.name])
    stages["total"] = [found for group in stages.values() for found in group]
    for stage, group in stages.items():
        known = [found for found in group if found is not None]
        images, hours = sum(found.images for found in known), sum(found.gpu_hours for found in known)
        unknown = f"  ({len(group) - len(known)} not estimated)" if len(known) < len(group) else ""
        yield f"{stage:30}{len(group):6}{images:16,}{hours:24,.1f}{unknown}"
    rates = ", ".join(f"{network} {precision} {rate / 1e12:g} TFLOP/s" for (network, precision), rate in RATES.items())
    yield ""
    yield textwrap.fill(_BASIS + rates + ".", _WIDTH)


def _missing(jobs: list["Job"]) -> Iterator[str]:
    """Raw data and weights that are not on this machine, one sentence each."""
    from favae import paths

    for job in jobs:
        layout = job.parameters.get("layout", {})
        if layout.get("kind", "tiles") == "tiles" or job.card.exists():
            continue
        folder = paths.raw_root() / layout.get("root", layout["kind"])
        if not folder.is_dir():
            yield f"raw data {folder} for {job.name}: put the data set there, or set FAVAE_RAW to the folder above it"
    users: dict[str, list[str]] = {}
    for job in jobs:
        for name in sorted(set(_weights_of(job))):
            users.setdefault(name, []).append(job.name)
    if users:
        yield from _missing_weights(users)


def _missing_weights(users: Mapping[str, list[str]]) -> Iterator[str]:
    from favae.evaluation.weights import MissingWeights, find_weights

    for name, names in users.items():
        found = find_weights(name)
        if isinstance(found, MissingWeights):
            trained = [n for n in names if n.startswith("train_")]
            shown = (trained or names)[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")
            effect = f"{shown} cannot run" if trained else f"a metric is not measured in {shown}"
            yield f"{found.reason} (without it {effect})"


def _weights_of(job: "Job") -> Iterator[str]:
    """Declared weights that a job reads."""
    from favae.config.autoencoder import AutoencoderSpec
    from favae.config.cat import CatSpec, ClipText, GenerateSpec
    from favae.config.evaluation import EvaluationProtocol, ReferenceSpec
    from favae.config.vae import PerceptualTerm, VaeSpec
    from favae.evaluation.perceptual import LPIPS_WEIGHTS

    spec = job.spec
    if isinstance(spec, AutoencoderSpec):
        perceptual = spec.objective.perceptual
        if perceptual.weight and perceptual.network != "none":
            yield LPIPS_WEIGHTS[perceptual.network]
    if isinstance(spec, VaeSpec):
        terms = spec.objective.terms.values()
        yield from (LPIPS_WEIGHTS[term.network] for term in terms if isinstance(term, PerceptualTerm))
    if isinstance(spec, CatSpec) and isinstance(spec.text, ClipText):
        yield spec.text.weights
    protocol = spec.protocol if isinstance(spec, GenerateSpec) else spec
    if isinstance(spec, ReferenceSpec):
        yield from (n for n in spec.feature_networks if n not in _WITHOUT_WEIGHTS)
    if isinstance(protocol, EvaluationProtocol):
        if "lpips" in protocol.metrics:
            yield from (LPIPS_WEIGHTS[net] for net in protocol.lpips_nets)
        if "frechet" in protocol.metrics:
            yield from (n for n in protocol.feature_networks if n not in _WITHOUT_WEIGHTS)
