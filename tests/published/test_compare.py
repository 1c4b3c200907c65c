"""Own results beside the published ones: equal, within the spread, outside, not decided, not comparable; claims keep their verdict."""

import json
import math
import shutil
from pathlib import Path

import pytest
from published_support import add_experiment, write_result
from typer.testing import CliRunner

from favae.cli.main import app
from favae.config.errors import ConfigError
from favae.jobs.grid import load_grid
from favae.results.cards import describe, read_card, text_of
from favae.sync.compare import MOST_APART, Line, ScaleComparison, compare
from favae.sync.publish import publish

EVALUATIONS, GENERATIONS = Path("data/tiny/evaluate_reconstruction"), Path("data/tiny/generate_images")
CAT, FRECHET = "natural-f4-cat", "fd_randconv_test_guidance1"  # a distance of two sets of images: no image has a value
DISTANCE = "text_to_image/CAT, guidance 1/fd_randconv_test"
CELL = "natural-f4-favae-on-natural"
PSNR = "reconstruction/FA-VAE, f = 4/psnr_test"
SEEDS = """\
    - id: seeds
      title: "Two trainings each"
      comparable: false
      note: "For the test."
      columns: [psnr_test]
      rows:
        - {label: A, cells: [E/natural-f4-favae-on-natural, E/natural-f4-favae-on-scientific]}
        - {label: B, cells: [E/natural-f4-vqgan-on-natural, E/natural-f4-vqgan-on-scientific]}
      claims: [{text: "A beats B", metric: psnr_test, row: A, better_than: [B]}]
""".replace("E/", "evaluate_reconstruction/")


@pytest.fixture
def published(project: Path) -> Path:
    """Own results, and the same published."""
    publish("tiny")
    return project


def change(cell: str, metric: str, stage: Path = EVALUATIONS, **fields: object) -> None:
    """Let a result be another one: its metrics, and its card, which knows them by their hash."""
    path = stage / cell / "metrics.json"
    metrics = json.loads(path.read_text())
    metrics[metric] |= fields
    path.write_text(json.dumps(metrics))
    card = read_card(path.with_name("card.json"))
    outputs = card.outputs | {path.as_posix(): describe(path)}
    path.with_name("card.json").write_text(text_of(card.model_copy(update={"outputs": outputs})))


def value(cell: str, metric: str = "psnr_test", stage: Path = EVALUATIONS) -> float:
    return json.loads((stage / cell / "metrics.json").read_text())[metric]["value"]


def line(result: ScaleComparison, name: str) -> Line:
    (found,) = [number for number in result.numbers if number.name == name]
    return found


def add_seeds() -> None:
    path = Path("params/tables.yaml")
    path.write_text(path.read_text().replace("tiny:\n  tables:\n", f"tiny:\n  tables:\n{SEEDS}", 1))
    load_grid.cache_clear()


def test_a_copy_of_the_published_results_is_equal_to_the_bit(published: Path) -> None:
    result = compare("tiny")
    assert result.reproduced
    assert result.counts == {"equal": len(result.numbers)}
    assert len(result.closing()) == 3


def test_of_one_seed_a_difference_within_the_interval_over_images_is_none(published: Path) -> None:
    change(CELL, "psnr_test", value=value(CELL) + 0.01)
    result = compare("tiny")
    assert line(result, PSNR).word == "within"
    assert "one seed; published mean over images" in line(result, PSNR).why
    assert result.reproduced


def closing_of_a_difference() -> list[str]:
    """What the command prints of results that are not reproduced: its exit code is 1."""
    done = CliRunner().invoke(app, ["compare", "tiny", "--brief"])
    assert done.exit_code == 1
    assert len(done.stdout.splitlines()) == 3
    return done.stdout.splitlines()


def test_of_one_seed_a_difference_beyond_the_interval_over_images_is_not_decided(published: Path) -> None:
    change(CELL, "psnr_test", value=value(CELL) + 5)
    assert line(compare("tiny"), PSNR).word == "not decided"
    assert closing_of_a_difference()[-1].startswith("tiny: not decided: 1 of ")


def test_a_change_in_the_last_digit_is_not_called_equal(published: Path) -> None:
    change(CELL, "psnr_test", value=value(CELL) * (1 + 2**-52))
    assert line(compare("tiny"), PSNR).word == "within"


def test_without_an_interval_too_a_difference_of_rounding_is_within(published: Path) -> None:
    """On another machine, sums of another order give other last digits."""
    change_distance(1 + 2e-11)
    result = compare("tiny")
    assert line(result, DISTANCE).word == "within" and "equal to rounding" in line(result, DISTANCE).why
    assert result.closing()[-1] == "tiny: reproduced"
    change_distance(1 + 1e-5)
    assert line(compare("tiny"), DISTANCE).word == "not comparable"


def change_distance(factor: float) -> None:
    change(CAT, FRECHET, GENERATIONS, value=value(CAT, FRECHET, GENERATIONS) * factor)


def test_numbers_that_no_interval_decides_are_counted_and_not_called_reproduced(published: Path) -> None:
    change_distance(1.004)
    result = compare("tiny")
    assert line(result, DISTANCE).word == "not comparable"
    assert line(result, DISTANCE).why == "one seed, and no published values per image"
    done = CliRunner().invoke(app, ["compare", "tiny", "--brief"])
    assert done.exit_code == 0
    said = done.stdout.splitlines()[-1]
    assert said.startswith(
        f"tiny: reproduced, as far as it can be compared; not comparable: 1 of {len(result.numbers)} numbers; "
        f"the largest relative difference among them is 0.4% ({DISTANCE} is "
    )
    assert f"published {line(result, DISTANCE).theirs:.6g}" in said


@pytest.mark.parametrize("factor", [900 / 249, 0.0])
def test_a_number_without_an_interval_that_is_far_off_is_not_decided(published: Path, factor: float) -> None:
    change_distance(factor)
    result = compare("tiny")
    assert line(result, DISTANCE).word == "not decided"
    assert line(result, DISTANCE).why == "one seed, and no published values per image; more than 10% apart"
    shown = "261%" if factor else "100%"
    assert f"the largest relative difference among them is {shown} ({DISTANCE} is " in closing_of_a_difference()[-1]


@pytest.mark.parametrize(
    ("ours", "theirs", "apart"),
    [
        (2.0, 2.0, 0.0),
        (3.0, 2.0, 0.5),
        (-3.0, -2.0, 0.5),
        (0.0, 0.0, 0.0),
        (1.0, 0.0, math.inf),
        (math.nan, 1.0, math.inf),
        (None, 1.0, None),
    ],
)
def test_the_relative_difference(ours: float | None, theirs: float, apart: float | None) -> None:
    number = Line("t/r/m", ours, theirs, "not comparable", "why")
    assert number.apart == apart
    assert (number.judged.word == "not decided") == (apart is not None and apart > MOST_APART)


def test_a_number_that_one_side_did_not_measure_is_said(published: Path) -> None:
    change(CAT, FRECHET, GENERATIONS, value=None)
    said = compare("tiny").closing()[-1]
    assert said.startswith("tiny: reproduced, as far as it can be compared; not comparable: 1 of ")
    assert said.endswith(" numbers, none of which was measured on both sides")


def test_a_file_that_is_not_what_its_card_says_is_not_compared(published: Path) -> None:
    path = EVALUATIONS / CELL / "metrics.json"
    kept = path.read_bytes()
    path.write_bytes(kept.replace(b"2", b"3", 1))
    name = f"evaluate_reconstruction/{CELL}"
    with pytest.raises(
        ConfigError, match=f"(?s)data/tiny is not compared, because .*{name} is corrupt: {path} does not match"
    ):
        compare("tiny")
    assert CliRunner().invoke(app, ["compare", "tiny"]).exit_code == 1
    path.write_bytes(kept)
    assert compare("tiny").reproduced
    (EVALUATIONS / CELL / "images.csv").unlink()
    with pytest.raises(ConfigError, match=f"{name} is missing: .*images.csv is missing"):
        compare("tiny")


def test_of_models_behind_the_numbers_a_corrupt_one_is_named_and_an_absent_one_is_not(published: Path) -> None:
    weights = Path("data/tiny/train_autoencoder/natural-f4-favae/model.safetensors")
    kept = weights.read_bytes()
    weights.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    with pytest.raises(ConfigError, match=f"train_autoencoder/natural-f4-favae is corrupt: {weights} does not match"):
        compare("tiny")
    weights.unlink()  # only what was measured was fetched
    assert compare("tiny").reproduced


def test_over_seeds_the_spread_decides(published: Path) -> None:
    add_seeds()
    change(CELL, "psnr_test", value=value(CELL) + 0.01)
    result = compare("tiny")
    assert line(result, "seeds/A/psnr_test").word == "within"
    assert line(result, "seeds/B/psnr_test").word == "equal"
    for cell in (CELL, "natural-f4-favae-on-scientific"):
        change(cell, "psnr_test", value=value(cell) + 100)
    assert line(compare("tiny"), "seeds/A/psnr_test").word == "outside"
    said = "tiny: not reproduced: 1 of 1 numbers over seeds are outside; at 95%, 0.05 would be by chance"
    assert closing_of_a_difference()[-1] == said


def test_a_reversed_claim_is_no_reproduction_even_if_numbers_were_within(published: Path) -> None:
    add_seeds()
    pairs = {"favae": (30.0, 30.1), "vqgan": (20.0, 20.1)}
    for model, values in pairs.items():
        for data, number in zip(("natural", "scientific"), values, strict=True):
            change(f"natural-f4-{model}-on-{data}", "psnr_test", value=number)
    for cell in EVALUATIONS.iterdir():
        shutil.copy(cell / "metrics.json", Path("reports/tiny/results/evaluate_reconstruction") / cell.name)
    (claim,) = compare("tiny").claims
    assert (claim.ours.word, claim.reversed) == ("Holds", False)
    for data, number in zip(("natural", "scientific"), (10.0, 10.1), strict=True):
        change(f"natural-f4-favae-on-{data}", "psnr_test", value=number)
    result = compare("tiny")
    assert result.claims[0].reversed
    assert "1 claims: 0 with the verdict of the published results, 1 reversed" in result.closing()


def test_another_protocol_or_experiment_is_not_comparable(published: Path) -> None:
    change(CELL, "psnr_test", n=3)
    result = compare("tiny")
    assert line(result, PSNR).word == "not comparable"
    assert "the protocol is another" in line(result, PSNR).why
    card = Path("data/tiny/train_autoencoder/natural-f4-favae/card.json")
    tree = json.loads(card.read_text())
    tree["parameters"]["objective"]["spectrum"]["sigma"] = 9
    card.write_text(json.dumps(tree))
    other = line(compare("tiny"), "reconstruction/FA-VAE, f = 4/ssim_test")
    assert (other.word, "sigma is 9, published 3" in other.why) == ("not comparable", True)


def test_a_row_that_is_not_published_is_left_out(published: Path) -> None:
    before = [line.name for line in compare("tiny").numbers]
    add_experiment()
    for job in load_grid("tiny"):
        if not job.card.exists():
            write_result(job)
    result = compare("tiny")
    assert result.reproduced
    assert [line.name for line in result.numbers] == before


def test_more_processes_of_a_training_do_not_make_it_another_experiment(published: Path) -> None:
    card = Path("data/tiny/train_autoencoder/natural-f4-favae/card.json")
    tree = json.loads(card.read_text())
    tree["parameters"]["training"]["threads"] = 77
    card.write_text(json.dumps(tree))
    assert compare("tiny").reproduced


def test_without_values_per_image_one_seed_decides_nothing(published: Path) -> None:
    publish("tiny", limit=0)
    change(CELL, "psnr_test", value=value(CELL) + 0.01)
    result = compare("tiny")
    assert line(result, PSNR).word == "not comparable"
    assert "no published values per image" in line(result, PSNR).why
    assert (
        compare("tiny")
        .closing()[-1]
        .startswith("tiny: reproduced, as far as it can be compared; not comparable: 1 of ")
    )


def test_a_side_without_results_is_named(project: Path) -> None:
    with pytest.raises(ConfigError, match="no published results to compare with; `favae publish tiny`"):
        compare("tiny")
    publish("tiny")
    shutil.rmtree("data")
    with pytest.raises(ConfigError, match=r"card.json: missing; make it with `snakemake --config scale=tiny`"):
        compare("tiny")
