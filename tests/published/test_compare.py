"""Own results beside the published ones: equal, within the spread, outside, not decided, not comparable; claims keep their verdict."""

import json
import shutil
from pathlib import Path

import pytest
from published_support import add_experiment, write_result
from typer.testing import CliRunner

from favae.cli.main import app
from favae.config.errors import ConfigError
from favae.jobs.grid import load_grid
from favae.sync.compare import Line, ScaleComparison, compare
from favae.sync.publish import publish

EVALUATIONS = Path("data/tiny/evaluate_reconstruction")
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


def change(cell: str, metric: str, **fields: object) -> None:
    path = EVALUATIONS / cell / "metrics.json"
    metrics = json.loads(path.read_text())
    metrics[metric] |= fields
    path.write_text(json.dumps(metrics))


def value(cell: str, metric: str = "psnr_test") -> float:
    return json.loads((EVALUATIONS / cell / "metrics.json").read_text())[metric]["value"]


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
    assert closing_of_a_difference()[-1].startswith("tiny: not decided: 1 numbers of one training each")


def test_a_change_in_the_last_digit_is_not_called_equal(published: Path) -> None:
    change(CELL, "psnr_test", value=value(CELL) * (1 + 2**-52))
    assert line(compare("tiny"), PSNR).word == "within"


def test_over_seeds_the_spread_decides(published: Path) -> None:
    add_seeds()
    change(CELL, "psnr_test", value=value(CELL) + 0.01)
    result = compare("tiny")
    assert line(result, "seeds/A/psnr_test").word == "within"
    assert line(result, "seeds/B/psnr_test").word == "equal"
    for cell in (CELL, "natural-f4-favae-on-scientific"):
        change(cell, "psnr_test", value=value(cell) + 100)
    assert line(compare("tiny"), "seeds/A/psnr_test").word == "outside"
    assert closing_of_a_difference()[-1] == "tiny: not reproduced"


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


def test_a_side_without_results_is_named(project: Path) -> None:
    with pytest.raises(ConfigError, match="no published results to compare with; `favae publish tiny`"):
        compare("tiny")
    publish("tiny")
    shutil.rmtree("data")
    with pytest.raises(ConfigError, match=r"card.json: missing; make it with `snakemake --config scale=tiny`"):
        compare("tiny")
