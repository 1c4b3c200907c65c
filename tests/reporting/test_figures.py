"""Figures show the numbers of the result files, and have the same bytes on every run."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.axes import Axes
from PIL import Image

from favae.config.errors import ConfigError
from favae.config.evaluation import SpectrumMetricConfig
from favae.config.reporting import FiguresConfig, FigureStyleConfig
from favae.evaluation.spectrum import RadialSpectrum
from favae.jobs.grid import Grid, Job
from favae.reporting.figures import DRAW
from favae.reporting.images import log_power
from favae.reporting.results import Results
from favae.reporting.steps import about_steps
from favae.reporting.style import drawing, new_figure, save, spread
from favae.stages.runner import run_job

FIGURES = Path("data/tiny/reports/figures")
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def axes_of(job: Callable[[str], Job]) -> Callable[[str], list[Axes]]:
    """Draw one figure of the scale `tiny`; returns its axes."""

    def draw(name: str) -> list[Axes]:
        made = job("make_figures")
        config = next(figure for figure in made.config.figures if figure.id == name)
        with drawing(FigureStyleConfig(dpi=40)):
            return DRAW[config.kind](config, FigureStyleConfig(dpi=40), Results.of(made)).axes

    return draw


def test_make_figures_twice_gives_the_same_bytes(job: Callable[[str], Job], edit: Callable[..., None]) -> None:
    edit("figures", "dpi: 160", "dpi: 40")
    first = run_job(job("make_figures"))
    bytes_of = {path.name: path.read_bytes() for path in FIGURES.iterdir()}
    names = ("reconstructions", "zero_shot", "spectrum_error", "learning_curves", "sigma", "samples")
    assert set(bytes_of) == {f"{name}.png" for name in names}
    job("make_figures").card.unlink()
    assert run_job(job("make_figures")) == first
    assert {path.name: path.read_bytes() for path in FIGURES.iterdir()} == bytes_of
    for path in FIGURES.iterdir():
        with Image.open(path) as image:
            assert image.width == 400  # style.width inches at 40 dpi
            assert set(image.info) <= {"dpi"}  # no date, no version


def test_log_power_is_the_spectrum_that_the_metric_measures() -> None:
    image_HW3 = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    rings = RadialSpectrum(16, 16, SpectrumMetricConfig(rings=6))
    mean_R = rings.power(torch.from_numpy(image_HW3).permute(2, 0, 1)[None])[0].numpy()
    power = 10 ** (np.fft.ifftshift(log_power(image_HW3)).ravel() / 10)
    ring = rings.ring_F.numpy()
    expected = [10 * np.log10(power[ring == r].mean()) for r in range(6)]
    np.testing.assert_allclose(mean_R, expected, rtol=1e-5)


def test_log_power_of_a_wave_peaks_at_its_frequency() -> None:
    x_W = np.arange(32)
    wave = (128 + 100 * np.cos(2 * np.pi * 5 * x_W / 32)).round().astype(np.uint8)
    power = log_power(np.broadcast_to(wave[None, :, None], (32, 32, 3)))
    power[16, 16] = -np.inf  # the mean
    assert {tuple(p) for p in np.argwhere(power > power.max() - 1)} == {(16, 11), (16, 21)}
    # (amplitude / 2)^2 HW, in dB
    assert power.max() == pytest.approx(10 * np.log10(50**2 * 32 * 32), abs=0.05)


def test_images_and_psnr_are_those_of_the_files(axes_of: Callable[[str], list[Axes]]) -> None:
    folder = Path("data/tiny/evaluate_reconstruction/natural-f4-vqgan-on-natural")
    images = pd.read_csv(folder / "images.csv").set_index("id")["psnr"]
    with np.load(folder / "examples.npz") as file:
        examples = dict(file)
    axes = axes_of("reconstructions")
    shown = [a for a in axes if a.get_xlabel()]
    assert len(shown) == 3 * 5
    first = shown[0]
    assert first.get_ylabel() == "VQ-GAN, f = 4"
    np.testing.assert_array_equal(first.images[0].get_array(), examples["reconstruction"][0])
    assert first.get_xlabel() == f"{images[examples['id'][0]]:.1f} dB"
    np.testing.assert_array_equal(axes[0].images[0].get_array(), examples["original"][0])


def test_reconstructions_of_other_images_are_refused(axes_of: Callable[[str], list[Axes]]) -> None:
    path = Path("data/tiny/evaluate_reconstruction/natural-f2-favae-on-natural/examples.npz")
    with np.load(path) as file:
        examples = dict(file)
    np.savez(path, **examples | {"id": examples["id"][::-1]})
    with pytest.raises(ValueError, match="natural-f2-favae-on-natural shows other images than"):
        axes_of("reconstructions")


def test_spectrum_error_shows_every_ring_and_names_the_images(axes_of: Callable[[str], list[Axes]]) -> None:
    photographs, zero_shot = axes_of("spectrum_error")
    assert photographs.get_title(loc="left") == "Photographs (test images, n = 6)"
    for axes, dataset in ((photographs, "natural"), (zero_shot, "scientific")):
        for line, model in zip(axes.lines, ("f4-vqgan", "f4-favae", "f2-favae"), strict=True):
            folder = Path(f"data/tiny/evaluate_reconstruction/natural-{model}-on-{dataset}")
            curve = pd.read_csv(folder / "spectrum.csv")
            np.testing.assert_array_equal(line.get_data(), curve[["radius", "error_db"]].T)
    assert {"low", "mid", "high", "VQ-GAN, f = 4", "FA-VAE, f = 2"} <= {t.get_text() for t in photographs.texts}


def test_a_label_has_one_colour_in_all_panels(edit: Callable[..., None], axes_of: Callable[[str], list[Axes]]) -> None:
    first = '- {label: "VQ-GAN, f = 4", panel: Zero-shot, cell: evaluate_reconstruction/natural-f4-vqgan-on-scientific}'
    edit("figures", first, "")  # so the same labels have other places in the second panel
    one, other = ({line.get_label(): line.get_color() for line in axes.lines} for axes in axes_of("spectrum_error"))
    assert {label: one[label] for label in other} == other
    assert len(set(one.values())) == len(one)


def test_several_trainings_of_a_row_are_their_mean_with_its_interval(
    edit: Callable[..., None], axes_of: Callable[[str], list[Axes]]
) -> None:
    old = 'label: "VQ-GAN, f = 4", panel: Photographs, cell: evaluate_reconstruction/natural-f4-vqgan-on-natural'
    cells = [f"evaluate_reconstruction/natural-{model}-on-natural" for model in ("f4-vqgan", "f4-favae", "f2-favae")]
    edit("figures", old, f"label: all, panel: Photographs, cells: [{', '.join(cells)}]")
    axes = axes_of("spectrum_error")[0]
    errors = np.stack([pd.read_csv(f"data/tiny/{cell}/spectrum.csv")["error_db"] for cell in cells])
    mean, error = errors.mean(0), errors.std(0, ddof=1) / 3**0.5
    np.testing.assert_allclose(axes.lines[0].get_ydata(), mean)
    outline = next(c for c in axes.collections).get_paths()[0].vertices
    for x, low, high in zip(axes.lines[0].get_xdata(), mean - 4.302653 * error, mean + 4.302653 * error, strict=True):
        at = outline[np.isclose(outline[:, 0], x), 1]  # 4.302653: Student's t of two degrees of freedom at 97.5 %
        np.testing.assert_allclose([at.min(), at.max()], [low, high], rtol=1e-5)
    assert "Mean of 3 trainings; band: 95 % interval" in axes.figure.get_supxlabel()


def test_images_of_several_trainings_have_no_mean(edit: Callable[..., None], job: Callable[[str], Job]) -> None:
    old = "{label: CAT, cell: generate_images/natural-f4-cat}"
    edit("figures", old, "{label: CAT, cells: [generate_images/natural-f4-cat, generate_images/natural-f4-cat]}")
    with pytest.raises(ConfigError, match="a figure of kind 'samples' shows one training; give cell instead of cells"):
        run_job(job("make_figures"))


def test_a_figure_names_the_steps_that_it_shows(axes_of: Callable[[str], list[Axes]]) -> None:
    for model, step in (("f4-vqgan", 300), ("f4-favae", 1200), ("f2-favae", 300)):
        card = Path(f"data/tiny/evaluate_reconstruction/natural-{model}-on-natural/card.json")
        content = json.loads(card.read_text())
        content["summary"] = {"training": {"step": step, "steps": 1200, "selection": "best"}}
        card.write_text(json.dumps(content))
    said = [text.get_text() for text in axes_of("reconstructions")[0].figure.texts]
    assert "Weights of step 300: VQ-GAN, f = 4; FA-VAE, f = 2. Weights of step 1,200: FA-VAE, f = 4." in said


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ((9, 9, 9, 9), "All weights are of step 9."),
        ((9, 9, 7, 7), "Weights of step 9: small. Weights of step 7: large."),
        (
            (9, 8, 7, 8),
            "Weights of step 9: a (small). Weights of step 8: b (small); b (large). Weights of step 7: a (large).",
        ),
        ((9, 8, 9, 8), "Weights of step 9: a. Weights of step 8: b."),
    ],
)
def test_models_of_one_label_are_told_apart_by_their_panels(steps: tuple[int, ...], said: str) -> None:
    trained = dict(zip(("a-small", "b-small", "a-large", "b-large"), steps, strict=True))
    series = [SimpleNamespace(label=n[0], panel=n[2:], runs=[n]) for n in trained]
    results = SimpleNamespace(training=lambda cell: SimpleNamespace(step=trained[cell], steps=1200))
    assert about_steps(SimpleNamespace(series=series), results) == said


def test_images_that_nothing_was_trained_for_have_no_step(axes_of: Callable[[str], list[Axes]]) -> None:
    for model in ("f4-vqgan", "f4-favae", "f2-favae"):
        card = Path(f"data/tiny/evaluate_reconstruction/natural-{model}-on-natural/card.json")
        content = json.loads(card.read_text())
        content["summary"] = {"training": {"step": 1, "steps": 1, "selection": "last"}}
        card.write_text(json.dumps(content))
    said = " ".join(axes_of("spectrum_error")[0].figure.get_supxlabel().split())
    assert said == "One training per curve: the noise over seeds is not known."


def test_labels_of_two_gan_starts_are_on_different_lines(axes_of: Callable[[str], list[Axes]]) -> None:
    path = Path("data/tiny/curves/train_autoencoder/natural-f2-favae.csv")
    table = pd.read_csv(path)
    table.loc[table["step"] <= 150, "train/discriminator"] = np.nan
    table.to_csv(path, index=False)
    l1, *_ = axes_of("learning_curves")
    assert [text.xyann[1] for text in l1.texts if text.get_text() == "GAN loss on"] == [0, -13]


def test_learning_curves_mark_the_first_logged_gan_step(axes_of: Callable[[str], list[Axes]]) -> None:
    l1, ffl, entropy = axes_of("learning_curves")
    assert [a.get_title(loc="left") for a in (l1, ffl)] == ["L1", "Focal frequency loss"]
    dotted = [line for line in l1.lines if line.get_linestyle() == ":"]
    assert {line.get_xdata()[0] for line in dotted} == {110}
    assert not [line for line in entropy.lines if line.get_linestyle() == ":"]
    val = next(line for line in l1.lines if line.get_label() == "FA-VAE, f = 4")
    table = pd.read_csv("data/tiny/curves/train_autoencoder/natural-f4-favae.csv")[["step", "val/l1"]].dropna()
    np.testing.assert_array_equal(val.get_data(), table.T)
    models = {"VQ-GAN, f = 4", "FA-VAE, f = 4", "FA-VAE, f = 2"}
    assert [{t.get_text() for t in a.texts} - {"GAN loss on"} for a in (l1, ffl)] == [set(), models]
    assert {t.get_text() for t in entropy.texts} == {"CAT", "CAT, text hidden"}


def test_a_loss_of_weight_zero_is_not_drawn(axes_of: Callable[[str], list[Axes]]) -> None:
    path = Path("data/tiny/curves/train_autoencoder/natural-f4-vqgan.csv")
    table = pd.read_csv(path).drop(columns="train/image_ffl")
    table.loc[table["val/image_ffl"].notna(), "val/image_ffl"] = 0.0
    table.to_csv(path, index=False)
    l1, ffl, _ = axes_of("learning_curves")
    assert {"VQ-GAN, f = 4", "FA-VAE, f = 4"} <= {t.get_text() for t in l1.texts}  # other models than in the next panel
    assert "VQ-GAN, f = 4" not in {line.get_label() for line in ffl.lines}


def test_sigma_names_each_pair(axes_of: Callable[[str], list[Axes]]) -> None:
    axes = axes_of("sigma")[0]
    table = pd.read_csv("data/tiny/curves/train_autoencoder/natural-f4-favae.csv")
    by_label = {line.get_label(): line.get_ydata() for line in axes.lines}
    np.testing.assert_array_equal(by_label["first convolution ↔ FCM 4"], table["train/sigma_taps_0"])
    np.testing.assert_array_equal(by_label["latent ↔ FCM 1"], table["train/sigma_taps_3"])


def test_sigma_of_complements_is_drawn_in_the_colour_of_its_pair(axes_of: Callable[[str], list[Axes]]) -> None:
    path = Path("data/tiny/curves/train_autoencoder/natural-f4-favae.csv")
    table = pd.read_csv(path)
    for j in range(4):
        table[f"train/sigma_complements_{j}"] = 10.0 + j
    table.to_csv(path, index=False)
    lines = axes_of("sigma")[0].lines
    latent = next(line for line in lines if line.get_label() == "latent ↔ FCM 1")
    own = next(line for line in lines if list(line.get_ydata()[:1]) == [10.0])  # C_0, made by FCM 1
    assert own.get_color() == latent.get_color()


def test_samples_show_real_images_over_each_guidance(axes_of: Callable[[str], list[Axes]]) -> None:
    with np.load("data/tiny/generate_images/natural-f4-cat/examples.npz") as file:
        examples = dict(file)
    axes = axes_of("samples")
    assert len(axes) == 3 * 6
    rows = [axes[0], axes[6], axes[12]]
    assert [a.get_ylabel() for a in rows] == ["Real image", "CAT\nguidance 1", "CAT\nguidance 3"]
    for a, name in zip(rows, ("real", "guidance_1", "guidance_3"), strict=True):
        np.testing.assert_array_equal(a.images[0].get_array(), examples[name][0])
    assert axes[0].get_title(loc="left").replace("\n", " ") == examples["caption"][0]


def test_labels_keep_their_distance_and_their_order() -> None:
    wanted = np.array([0.0, 1.0, 1.5, 40.0, 99.0, 100.0])
    placed = spread(wanted, gap=10, highest=100)
    assert (np.diff(placed) >= 10).all()
    assert placed.max() <= 100
    assert placed[3] == 40  # no neighbour: not moved


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cell: train_cat/natural-f4-cat", "cell: train_cat/other", "no cell 'train_cat/other'"),
        ("kind: sigma", "kind: samples", "a figure of kind 'samples' needs cells of generate_images"),
        ("palette: colorblind", "pallette: colorblind", "style.pallette: unknown key"),
    ],
)
def test_mistakes_are_named(
    job: Callable[[str], Job], edit: Callable[..., None], old: str, new: str, message: str
) -> None:
    edit("figures", old, new)
    with pytest.raises(ConfigError) as caught:
        run_job(job("make_figures"))
    assert message in str(caught.value)
    assert str(caught.value).startswith("params/figures.yaml:")


def test_a_model_without_sigmas_is_refused(job: Callable[[str], Job], edit: Callable[..., None]) -> None:
    old = '- {label: "FA-VAE, f = 2", cell: train_autoencoder/natural-f2-favae}\n    - id: samples'
    edit("figures", old, '- {label: "VQ-GAN", cell: train_autoencoder/natural-f4-vqgan}\n    - id: samples')
    with pytest.raises(ValueError, match="natural-f4-vqgan was trained without learnable sigmas"):
        run_job(job("make_figures"))
    assert not FIGURES.exists()


def test_the_repository_figures_fit_the_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    for scale in Grid().scales:
        for made in (j for j in Grid(scale) if j.stage.name == "make_figures"):
            assert isinstance(made.config, FiguresConfig)
            assert list(made.config.disagreements(made.inputs)) == []


def test_a_ring_marks_the_step_that_is_evaluated(axes_of: Callable[[str], list[Axes]]) -> None:
    card = Path("data/tiny/train_autoencoder/natural-f4-favae/card.json")
    content = json.loads(card.read_text())
    content["summary"] = {"best_step": 150}
    card.write_text(json.dumps(content))
    l1, *_ = axes_of("learning_curves")
    rings = [line for line in l1.lines if line.get_markersize() == 9 and len(line.get_xdata())]
    table = pd.read_csv("data/tiny/curves/train_autoencoder/natural-f4-favae.csv").set_index("step")
    assert [tuple(line.get_xydata()[0]) for line in rings] == [(150, table.loc[150, "val/l1"])]


def test_a_loss_that_falls_by_more_than_a_decade_has_a_logarithmic_axis(axes_of: Callable[[str], list[Axes]]) -> None:
    l1, ffl, entropy = axes_of("learning_curves")
    path = Path("data/tiny/curves/train_autoencoder/natural-f4-favae.csv")
    table = pd.read_csv(path)
    for axes, name, least in ((l1, "l1", 10), (ffl, "image_ffl", 10)):
        values = table[[f"train/{name}", f"val/{name}"]].stack()
        assert (axes.get_yscale() == "log") == (values.max() / values.min() > least)
    assert entropy.get_yscale() == "linear"


def test_every_start_of_a_gan_is_marked_in_its_colour_or_grey_where_it_is_shared(
    axes_of: Callable[[str], list[Axes]],
) -> None:
    path = Path("data/tiny/curves/train_autoencoder/natural-f2-favae.csv")
    table = pd.read_csv(path)
    table.loc[table["step"] <= 150, "train/discriminator"] = np.nan
    table.to_csv(path, index=False)
    l1, *_ = axes_of("learning_curves")
    starts = {line.get_xdata()[0]: line.get_color() for line in l1.lines if line.get_linestyle() == ":"}
    own = next(line.get_color() for line in l1.lines if line.get_label() == "FA-VAE, f = 2")
    assert starts == {110: "0.35", 160: own}
    assert [text.get_text() for text in l1.texts].count("GAN loss on") == 2


def test_a_dollar_sign_in_a_caption_is_no_mathematics(tmp_path: Path) -> None:
    with drawing(FigureStyleConfig(dpi=40)):
        figure = new_figure(4, 2, r"from $5 to $\frac{")
        axes = figure.subplots()
        axes.plot([1, 1000], [1, 1000], label="$")
        axes.set_yscale("log")
        save(figure, tmp_path / "a.png")  # mathematics would raise ValueError
    assert not figure.texts[0].get_parse_math()
    assert all(label.get_parse_math() for label in axes.get_yticklabels())  # powers of ten
