"""What the page contains, from its files: numbers, chains, terms, texts."""

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_support import finish_reports
from PIL import Image
from tests_support import call

import favae
from favae.config.dataset import DatasetTerms
from favae.evaluation.protocol import describe
from favae.jobs.grid import load_grid
from favae.reporting.images import log_power
from favae.reporting.page.build import build
from favae.reporting.page.gallery import DIFFERENCE_PEAK, Shown, write_gallery
from favae.reporting.page.source import Source
from favae.runtime.names import slugs

ROOT = Path(__file__).parents[3]
EVALUATION = "evaluate_reconstruction/natural-f4-favae-on-natural"


def data(site: Path, name: str) -> Any:
    text = (site / "data" / f"{name}.js").read_text(encoding="utf-8")
    return json.loads(text.partition(" = ")[2].rstrip().removesuffix(";"))


def test_every_number_of_the_tables_is_on_the_page_with_full_precision(site: Path) -> None:
    numbers = data(site, "numbers")["numbers"]
    metrics = json.loads((site.parent / "data/tiny" / EVALUATION / "metrics.json").read_text())
    for metric in ("psnr_test", "ssim_test", "log_spectral_error_high_test"):
        number = numbers[f"reconstruction/fa-vae-f-4/{metric}"]
        assert float(number["value"]) == metrics[metric]["value"]
        assert number["runs"][0].startswith(f"{EVALUATION}@")
        assert number.get("unit", "") == describe(metric).unit
    missing = numbers["reconstruction/fa-vae-f-4/rfid_test"]
    assert "value" not in missing and missing["state"] == "not measured" and "weights" in missing["note"]


def test_the_chain_leads_from_a_number_to_its_data(site: Path) -> None:
    results = data(site, "numbers")["results"]
    chain = [EVALUATION]
    for name in chain:
        chain += [other for other in results[name]["inputs"] if other not in chain]
    assert {"train_autoencoder/natural-f4-favae", "prepare_dataset/natural"} <= set(chain)
    training = results["train_autoencoder/natural-f4-favae"]
    assert training["parameters"]["model.kind"] == "favae"
    assert training["run"]["git_commit"].startswith("c0ffee") and training["run"]["seconds"] == 120
    assert (
        training["command"] == "snakemake --config scale=tiny -- data/tiny/train_autoencoder/natural-f4-favae/card.json"
    )


def test_only_parameters_that_differ_set_a_row_apart(site: Path) -> None:
    rows = data(site, "numbers")["differing"]["reconstruction"]
    baseline, ours = rows["vq-gan-f-4"], rows["fa-vae-f-4"]
    assert baseline.keys() == ours.keys()
    assert baseline["train_autoencoder: model.fcm"] != ours["train_autoencoder: model.fcm"]
    assert all(len({row[key] for row in rows.values()}) > 1 for key in baseline)


def test_copied_texts_are_the_files_of_the_tables(site: Path) -> None:
    texts = data(site, "numbers")["texts"]["reconstruction"]
    folder = site.parent / "data/tiny/reports/tables"
    assert texts == {kind: (folder / f"reconstruction.{kind}").read_text() for kind in ("csv", "md", "tex")}


def test_photographs_that_may_not_be_published_are_left_out_and_the_page_says_so(site: Path) -> None:
    shown, hidden = (
        sorted(p.name for p in (site / "images").glob(f"{name}-evaluate*/*")) for name in ("natural", "scientific")
    )
    assert "0-original.png" in shown and any(name.endswith("-difference.png") for name in shown)
    assert hidden and all(name.endswith("-spectrum.png") for name in hidden)
    sets = {group["id"].split("-")[0]: group for group in data(site, "gallery") if "evaluate" in group["id"]}
    assert sets["scientific"]["hidden"] and not any(column["shown"] for column in sets["scientific"]["columns"])
    assert re.search(
        r"Photographs of <b>scientific</b>.*left out: for research only", (site / "index.html").read_text()
    )
    badge = r'<span class="badge [\w-]+">([\w ]+)</span>\s*<div><strong>(natural|scientific)</strong>'
    assert dict(re.findall(badge, (site / "index.html").read_text())) == {"shown": "natural", "left out": "scientific"}


def test_figures_are_on_the_page_except_those_of_photographs_that_may_not_be_published(project: Path) -> None:
    finish_reports(project)
    figures = project / "data/tiny/reports/figures"
    figures.mkdir(parents=True, exist_ok=True)
    for name in ("reconstructions", "zero_shot", "spectrum_error"):
        Image.new("RGB", (4, 4)).save(figures / f"{name}.png")
    build([Source.of("tiny")], Path("site"))
    assert {path.name for path in Path("site/figures").iterdir()} == {"reconstructions.png", "spectrum_error.png"}
    text = Path("site/index.html").read_text()
    assert 'alt="Figure: Which frequencies a reconstruction loses or invents"' in text and "zero_shot.png" not in text


def test_images_differences_and_spectra_are_those_of_the_results(site: Path) -> None:
    with np.load(site.parent / "data/tiny" / EVALUATION / "examples.npz") as file:
        original, output = file["original"], file["reconstruction"]
    group = next(g for g in data(site, "gallery") if g["id"].startswith("natural-evaluate"))
    column = next(c for c in group["columns"] if c["result"] == EVALUATION and not c["original"])["id"]
    folder = site / group["folder"]
    for number in range(2):
        assert np.array_equal(np.asarray(Image.open(folder / f"{number}-{column}.png")), output[number])
        difference = np.abs(output[number].astype(float) - original[number]).mean(-1) / DIFFERENCE_PEAK
        levels = np.asarray(Image.open(folder / f"{number}-{column}-difference.png"))  # indices of the palette
        assert np.array_equal(levels, (difference.clip(0, 1) * 255).round())
        power = log_power(output[number])
        shown = np.asarray(Image.open(folder / f"{number}-{column}-spectrum.png"))
        order = np.argsort(power, axis=None)
        assert (np.diff(shown.flatten()[order].astype(int)) >= 0).all()


def test_labels_are_text_and_never_markup(project: Path, edit: Callable[..., None]) -> None:
    edit("tables", 'label: "VQ-GAN, f = 4", published', 'label: "<img src=x onerror=alert(1)></script>", published')
    finish_reports(project)
    build([Source.of("tiny")], Path("site"))
    text = Path("site/index.html").read_text()
    assert "<img src=x" not in text and "&lt;img src=x" in text


@pytest.mark.parametrize(
    "content", [b"", b"\0\xff", b"a,b\n1,2\n", b"step,train/l1\nx,y\n", b"<<<<<<< HEAD\nstep,train/l1\n1,2\n"]
)
@pytest.mark.parametrize("kind", ["curves/*/*.csv", "evaluate_*/*/images.csv", "evaluate_*/*/examples.npz"])
def test_a_damaged_file_of_a_result_is_named(project: Path, content: bytes, kind: str) -> None:
    finish_reports(project)
    damaged = sorted(Path("data/tiny").glob(kind))[0]
    damaged.write_bytes(content)
    with pytest.raises(ValueError, match=f"{damaged}: damaged, or not what a result has there"):
        build([Source.of("tiny")], Path("site"))


def test_a_folder_of_something_else_is_not_replaced(project: Path) -> None:
    finish_reports(project)
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("keep me")
    with pytest.raises(FileExistsError, match=r"mine/notes\.txt is in the way"):
        build([Source.of("tiny")], Path("mine"))
    assert Path("mine/notes.txt").read_text() == "keep me"


def test_what_a_user_added_to_the_folder_of_a_page_is_not_removed_with_it(project: Path) -> None:
    finish_reports(project)
    for _ in range(2):  # the second replaces the first
        build([Source.of("tiny")], Path("site"))
    Path("site/CNAME").write_text("results.example.org")
    with pytest.raises(FileExistsError, match="site/CNAME is in the way"):
        build([Source.of("tiny")], Path("site"))
    assert Path("site/CNAME").exists()


@pytest.mark.slow
def test_published_results_of_all_scales_make_one_site(tmp_path: Path) -> None:
    said = call(ROOT, "favae", "page", "--all", "--out", str(tmp_path / "site")).stdout
    assert str(tmp_path / "site/index.html") in said
    for page in (tmp_path / "site").iterdir():
        assert sum(path.stat().st_size for path in page.rglob("*") if path.is_file()) < 5e6, page
    text = (tmp_path / "site/index.html").read_text()
    for scale in (bundle.parent.name for bundle in ROOT.glob("reports/*/results")):
        assert f'href="{scale}/index.html"' in text
        assert '"../assets/page.css"' in (tmp_path / "site" / scale / "index.html").read_text()
    assert data(tmp_path / "site/demo", "numbers")["numbers"]["reconstruction/fa-vae-f-4/psnr_test"]["text"]
    assert "Photographs of <b>celeba</b>" in (tmp_path / "site/ffl-small/index.html").read_text()
    stft = (tmp_path / "site/stft/index.html").read_text()  # most of its examples are not in git, its figures are
    listed = json.loads((ROOT / "reports/stft/manifest.json").read_text())["not_shipped"]
    absent = sum(name.endswith("/examples.npz") for name in listed)
    assert f"Example images of {absent} evaluations are not shown" in stft and "reports/stft/manifest.json" in stft
    assert 'src="figures/latent_grid.png"' in stft and (tmp_path / "site/stft/figures/latent_grid.png").exists()
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", stft)
    assert sum("All weights are of step 60,000." in caption for caption in captions) == 3


def test_every_file_of_the_page_is_in_the_wheel() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][
        "favae.reporting.page"
    ]
    package = Path(favae.__file__).parent / "reporting/page"
    packed = {path for pattern in patterns for path in package.glob(pattern) if path.is_file()}
    wanted = {path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert wanted == packed
    for library in ("uPlot", "img-comparison-slider"):
        assert "MIT" in (package / f"assets/vendor/{library}.LICENSE").read_text()


def test_slugs_are_distinct_and_plain() -> None:
    assert slugs(["FA-VAE, f = 4", "FA-VAE (f=4)", "λ", "σ"]) == {
        "FA-VAE, f = 4": "fa-vae-f-4",
        "FA-VAE (f=4)": "fa-vae-f-4-2",
        "λ": "row",
        "σ": "row-2",
    }


TRIPLE = {name: np.full((2, 8, 8, 3), 9, np.uint8) for name in ("original", "reconstruction", "condition")}


@pytest.fixture
def gallery_of(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, dict[str, np.ndarray]], tuple[dict[str, Any], Path]]:
    """Write the gallery of two models with the given examples, under terms with this `publish`; its one set, and its folder."""

    def write(publish: str, arrays: dict[str, np.ndarray]) -> tuple[dict[str, Any], Path]:
        monkeypatch.chdir(site.parent)
        load_grid.cache_clear()
        source, terms = Source.of("tiny"), DatasetTerms(licence="none", publish=publish)
        monkeypatch.setattr("favae.reporting.page.gallery.arrays_of", lambda *_: arrays | {"id": np.array(["a", "b"])})
        monkeypatch.setattr("favae.reporting.page.gallery.terms_of", lambda *_: terms)
        names = [f"evaluate_reconstruction/natural-f4-{model}-on-natural" for model in ("vqgan", "favae")]
        (group,) = write_gallery(source, [Shown(name, name[-16:]) for name in names], tmp_path / "images")
        return group, tmp_path / group["folder"]

    return write


def test_label_photograph_and_generated_image_stand_side_by_side(gallery_of: Callable[..., Any]) -> None:
    group, folder = gallery_of("all", TRIPLE)
    assert [(column["id"], column["original"]) for column in group["columns"]][:2] == [
        ("original", True),
        ("condition", True),
    ]
    assert sum(not column["original"] for column in group["columns"]) == 2
    assert group["original"] == "original"
    assert (folder / "0-condition.png").exists() and group["differences"]


@pytest.mark.parametrize("arrays", [TRIPLE, {name: TRIPLE[name] for name in ("reconstruction", "condition")}])
def test_where_only_generated_images_may_be_shown_they_stand_beside_their_labels(
    gallery_of: Callable[..., Any], arrays: dict[str, np.ndarray]
) -> None:
    group, folder = gallery_of("generated", arrays)
    shown = {column["id"]: column["shown"] for column in group["columns"]}
    assert shown.pop("original", False) is False and len(shown) == 3 and all(shown.values())
    assert group["original"] == "condition" and not group["differences"]
    files = {path.name for path in folder.iterdir() if not path.name.endswith("-spectrum.png")}
    assert files == {f"{number}-{name}.png" for number in (0, 1) for name in shown}
