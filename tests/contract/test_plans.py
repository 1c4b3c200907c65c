"""One change causes the smallest correct set of jobs, the same in Snakemake and DVC. Nothing runs here: both only plan."""

import shutil
from pathlib import Path

import pytest
from contract_support import edit
from tests_support import call, planned, planned_by_dvc, states

TABLES, FIGURES = "make_tables/all", "make_figures/all"
REPORTS = {TABLES, FIGURES}
SAMPLED = {"generate_images/natural-f4-cat"} | REPORTS
REFERENCE = "compute_reference_statistics"
MODELS = {"natural-f4-favae", "natural-f4-vqgan", "natural-f2-favae"}
CAT = {"tokenize_images/natural-f4-favae", "train_cat/natural-f4-cat", "generate_images/natural-f4-cat"}


def trained(*models: str) -> set[str]:
    """Jobs to do when these models change."""
    after = {f"evaluate_reconstruction/{m}-on-{d}" for m in models for d in ("natural", "scientific")}
    text_to_image = CAT if "natural-f4-favae" in models else set()
    return {f"train_autoencoder/{m}" for m in models} | after | text_to_image | REPORTS


CHANGES = {
    "a model's hyper-parameter": (
        "table2.yaml",
        "baseline",
        "weight: 0.0}",
        "weight: 0.5}",
        trained("natural-f4-vqgan"),
    ),
    "a recipe of two models": (
        "table2.yaml",
        "r12-conv",
        "fcm: conv",
        "fcm: residual",
        trained("natural-f4-favae", "natural-f2-favae"),
    ),
    "sizes of one model": ("tiny.yaml", "f2", "[1, 1]", "[1, 2]", trained("natural-f2-favae")),
    "a data set nobody trains on": (
        "datasets.yaml",
        "scientific",
        "0.22]",
        "0.25]",
        {"prepare_dataset/scientific", f"{REFERENCE}/scientific"}
        | {f"evaluate_reconstruction/{m}-on-scientific" for m in MODELS}
        | REPORTS,
    ),
    "the data set all train on": (
        "datasets.yaml",
        "natural",
        "0.35]",
        "0.3]",
        {"prepare_dataset/natural", f"{REFERENCE}/natural"} | trained(*MODELS),
    ),
    "the evaluation protocol": (
        "evaluation.yaml",
        "reconstruction",
        "quantize: uint8",
        "quantize: none",
        {f"evaluate_reconstruction/{m}-on-{d}" for m in MODELS for d in ("natural", "scientific")} | REPORTS,
    ),
    "the reference statistics of one data set": (
        "evaluation.yaml",
        "reference",
        "images: [test]",
        "images: [test, val]",
        {f"{REFERENCE}/scientific"} | {f"evaluate_reconstruction/{m}-on-scientific" for m in MODELS} | REPORTS,
    ),
    "sampling of CAT": ("text_to_image.yaml", "sampling", "top_k: 500", "top_k: 50", SAMPLED),
    "a published number": ("published.yaml", "tables", "2023", "2024", {TABLES}),
    "a table's title": ("tables.yaml", "tiny", "held-out photographs", "photographs", {TABLES}),
    "a figure's style": ("figures.yaml", "tiny", "dpi: 160", "dpi: 90", {FIGURES}),
    "parameters of another scale": ("paper.yaml", "images", "image_size: 256", "image_size: 128", set()),
    "a row that no cell uses": ("table2.yaml", "r4", "fcm: conv", "fcm: residual", set()),
}


@pytest.fixture(scope="module")
def shared(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One copy for all changes; each is undone after its plans were read."""
    return Path(shutil.copytree(finished, tmp_path_factory.mktemp("plans") / "project", symlinks=True))


@pytest.fixture
def asked(shared: Path, tmp_path: Path) -> Path:
    kept = shutil.copytree(shared / "params", tmp_path / "params")
    yield shared
    shutil.copytree(kept, shared / "params", dirs_exist_ok=True)


@pytest.mark.parametrize("change", CHANGES)
def test_both_tools_plan_the_smallest_right_set(asked: Path, change: str) -> None:
    file, row, old, new, jobs = CHANGES[change]
    edit(asked, file, old, new, after=f"{row}:")
    assert planned(asked) == jobs
    assert planned_by_dvc(asked) == jobs


def test_cosmetic_edits_run_nothing(results: Path) -> None:
    for file in (results / "params").glob("*.yaml"):
        file.write_text("# A comment.\n\n" + file.read_text())
    edit(results, "text_to_image.yaml", "  seed: 0\n", "", after="sampling:")
    edit(results, "text_to_image.yaml", "  top_k: 500\n", "  top_k: 500  # first\n  seed:   0\n", after="sampling:")
    edit(results, "evaluation.yaml", "n: all", 'n: "all"')
    rules = results / "workflow/rules/stages.smk"
    command = "exec favae run"
    assert command in rules.read_text()
    rules.write_text("# A comment.\n" + rules.read_text().replace(command, "exec favae  run"))
    (results / "workflow/docs/structure.md").write_text("Other words.\n")
    assert planned(results) == set() == planned_by_dvc(results)


def test_status_why_and_lock_agree_with_the_plan(results: Path) -> None:
    edit(results, "text_to_image.yaml", "top_k: 500", "top_k: 50")
    locked = (results / "dvc.lock").read_bytes()
    assert call(results, "favae", "status", check=False).returncode == 1
    listed = states(results)
    assert {job for job, state in listed.items() if state == "stale"} == SAMPLED == planned(results)
    assert {state for job, state in listed.items() if job not in SAMPLED} == {"ok"}
    why = call(results, "favae", "why", "generate_images/natural-f4-cat").stdout
    assert "stale: top_k was 500, is now 50 (params/text_to_image.yaml: sampling" in why
    lock = call(results, "favae", "lock", check=False)
    assert lock.returncode == 1
    assert (
        "refused: generate_images/natural-f4-cat (stale), make_tables/all (stale), make_figures/all (stale)"
        in lock.stdout
    )
    assert (results / "dvc.lock").read_bytes() == locked
