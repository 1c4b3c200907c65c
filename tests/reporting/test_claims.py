"""Claims: what the numbers of a table decide, and what they leave open."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tables_support import FAVAE, table

from favae.config.reporting import ClaimConfig, TableConfig
from favae.reporting.claims import judge, sentence
from favae.reporting.tables import Entry, tidy


def verdicts(config: TableConfig, entries: list[Entry]) -> list[str]:
    return [sentence(verdict) for verdict in judge(config, entries)]


def entry(row: str, values: list[float], metric: str = "psnr_test") -> Entry:
    return Entry(row, metric, None, None, tuple(values), True, 10, tuple("abc"[: len(values)]), None, {})


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        # Student's t with 4 degrees of freedom: 2.776 standard errors of 0.1 * sqrt(2 / 3).
        ([12.0, 12.1, 12.2], [11.0, 11.1, 11.2], r"Holds: PSNR against b \+1\.000 \(over seeds \+0\.773 to \+1\.227\)"),
        ([11.0, 11.1, 11.2], [12.0, 12.1, 12.2], "Does not hold: PSNR against b -1.000"),
        (
            [12.0, 12.4, 12.2],
            [12.1, 12.2, 12.5],
            r"Not decided: PSNR .*: within the spread; about \d+ seeds per row would decide",
        ),
        (
            [12.0, 12.4],
            [12.0, 12.4],
            "Not decided: PSNR .*: within the spread; more than 1000 seeds per row would decide",
        ),
        ([12.0], [11.0], r"Not decided: PSNR against b \+1\.000, single runs: the spread"),
        ([12.0, 12.1], [], "Not run"),
    ],
)
def test_a_claim_is_compared_with_the_spread_over_runs(ours: list[float], theirs: list[float], verdict: str) -> None:
    claim = {"text": "a beats b", "metric": "psnr_test", "row": "a", "better_than": ["b"]}
    rows = [{"label": "a", "cell": FAVAE}, {"label": "b", "cell": FAVAE}]
    config = table(rows=rows, claims=[claim])
    (words,) = verdicts(config, [entry("a", ours), entry("b", theirs)])
    assert words.startswith("Claim: a beats b. ")
    assert re.search(verdict, words)


def test_in_a_metric_that_should_be_low_the_lower_row_is_better() -> None:
    claim = {"text": "a beats b and c", "metric": "rfid_test", "row": "a", "better_than": ["b", "c"]}
    config = table(rows=[{"label": label, "cell": FAVAE} for label in "abc"], claims=[claim])
    values = {"a": [5.0, 5.1], "b": [6.0, 6.1], "c": [4.0, 4.1]}
    (words,) = verdicts(config, [entry(row, v, "rfid_test") for row, v in values.items()])
    assert "Does not hold: rFID against b +1.000" in words
    assert "against c -1.000" in words


@pytest.mark.parametrize(
    ("other", "verdict"),
    [
        ([12.01, 12.11, 11.92], "Holds: PSNR against b -0.0.*; margin 0.5"),
        ([14.0, 14.1, 13.9], "Does not hold: PSNR against b -2.0"),
        ([12.0, 13.0, 11.0], "Not decided: PSNR against b"),
        ([12.5], "Not decided: .*single runs"),
    ],
)
def test_rows_are_alike_where_the_whole_interval_is_within_the_margin(other: list[float], verdict: str) -> None:
    claim = {"text": "a is like b", "metric": "psnr_test", "row": "a", "like": ["b"], "margin": 0.5}
    config = table(rows=[{"label": label, "cell": FAVAE} for label in "ab"], claims=[claim])
    (words,) = verdicts(config, [entry("a", [12.0, 12.1, 11.9]), entry("b", other)])
    assert re.search(verdict, words)


def test_gains_are_compared_as_a_difference_of_differences() -> None:
    claim = {
        "text": "more there",
        "metric": "rfid_test",
        "row": "a",
        "over": "b",
        "than_gain": {"row": "c", "over": "d"},
    }
    config = table(rows=[{"label": label, "cell": FAVAE} for label in "abcd"], claims=[claim])
    values = {"a": [5.0, 5.1], "b": [9.0, 9.1], "c": [4.0, 4.1], "d": [5.0, 5.1]}
    (words,) = verdicts(config, [entry(row, v, "rfid_test") for row, v in values.items()])
    assert "Holds: rFID gain over b less that of c over d +3.000" in words
    half = stats.t.ppf(0.975, 4) * np.sqrt(4 * 0.005 / 2)
    assert f"over seeds +{3 - half:.3f} to +{3 + half:.3f}" in words


@pytest.mark.parametrize(
    "form", [{}, {"like": ["b"]}, {"better_than": ["b"], "like": ["b"], "margin": 1.0}, {"over": "b"}, {"margin": 1.0}]
)
def test_a_claim_has_one_form_with_all_its_keys(form: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="needs one of: better_than; like and margin; over and than_gain"):
        ClaimConfig.model_validate({"text": "a", "metric": "psnr_test", "row": "a"} | form)


def test_a_claim_about_what_the_table_does_not_have_is_refused() -> None:
    claim = {"text": "a beats b", "metric": "psnr_test", "row": "both", "better_than": ["nobody"]}
    with pytest.raises(ValueError, match="names the unknown row 'nobody'"):
        table(claims=[claim])
    with pytest.raises(ValueError, match="not in columns"):
        table(claims=[claim | {"metric": "ssim_test", "better_than": ["ours only"]}])


def test_values_per_image_are_paired_and_their_interval_is_that_of_scipy(entries: Callable[..., list[Entry]]) -> None:
    other = "evaluate_reconstruction/natural-f4-vqgan-on-natural"
    claim = {"text": "a beats b", "metric": "psnr_test", "row": "a", "better_than": ["b"]}
    rows = [{"label": "a", "cell": FAVAE}, {"label": "b", "cell": other}]
    config = table(rows=rows, columns=["psnr_test"], published_columns={}, claims=[claim])
    made = entries(rows=rows, columns=["psnr_test"], published_columns={}, claims=[claim])
    values = [pd.read_csv(f"data/tiny/{cell}/images.csv", dtype={"id": str})["psnr"] for cell in (FAVAE, other)]
    (verdict,) = judge(config, made)
    (found,) = verdict.comparisons
    assert found.images is not None and found.gain == pytest.approx(float((values[0] - values[1]).mean()))
    reference = stats.bootstrap(
        (values[0] - values[1],), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    width = reference.high - reference.low
    assert found.images == pytest.approx((reference.low, reference.high), abs=0.05 * width)
    assert verdict.word == "Not decided"  # one training each: images say nothing of other trainings
    assert "two seeds per row are the least that can decide; over images " in verdict.details
    line = tidy(made).loc[0]
    assert line["images_low"] < line["reproduced"] < line["images_high"]


def test_rows_of_other_images_are_not_paired(entries: Callable[..., list[Entry]]) -> None:
    other = "evaluate_reconstruction/natural-f4-vqgan-on-natural"
    path = Path("data/tiny") / other / "images.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-1]) + "\n")
    claim = {"text": "a beats b", "metric": "psnr_test", "row": "a", "better_than": ["b"]}
    changes: dict[str, Any] = {
        "rows": [{"label": "a", "cell": FAVAE}, {"label": "b", "cell": other}],
        "columns": ["psnr_test"],
        "published_columns": {},
        "claims": [claim],
    }
    (verdict,) = judge(table(**changes), entries(**changes))
    assert verdict.comparisons[0].images is None
