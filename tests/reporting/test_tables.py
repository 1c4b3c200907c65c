"""Tables: every number is in its place, missing ones are words, and a rerun changes nothing."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tables_support import FAVAE, REPOSITORY, TABLES, measured, table

from favae.config.errors import ConfigError
from favae.config.load import validate
from favae.config.reporting import Published, TablesConfig
from favae.jobs.grid import Grid, Job
from favae.reporting.markup import html, markdown
from favae.reporting.pages import format_value, make_page
from favae.reporting.results import Results
from favae.reporting.tables import Entry, tidy
from favae.results.cards import read_card, write_card
from favae.stages.make_tables import render
from favae.stages.runner import run_job


def test_reported_reproduced_and_difference(entries: Callable[..., list[Entry]]) -> None:
    both, _, ours, _, theirs, _ = entries()
    value = measured(FAVAE, "psnr_test")["value"]
    assert (both.reported, both.reproduced) == (21.703, value)
    assert both.difference == value - 21.703
    assert (ours.reported, ours.reported_source, ours.difference) == (None, None, None)
    assert (theirs.reported, theirs.reproduced, theirs.note, theirs.runs) == (20.151, None, "not run", ())
    assert both.runs == (f"{FAVAE}@{read_card(Path('data/tiny') / FAVAE / 'card.json').key[:12]}",)


def test_no_difference_where_not_comparable(entries: Callable[..., list[Entry]]) -> None:
    both = entries(comparable=False, note="other data")[0]
    assert (both.reported, both.difference) == (21.703, None)
    assert both.reproduced is not None


def test_a_metric_without_weights_keeps_its_reason(entries: Callable[..., list[Entry]]) -> None:
    rfid = entries()[1]
    assert rfid.reproduced is None
    assert rfid.n is None
    assert rfid.note == measured(FAVAE, "rfid_test")["note"]
    assert rfid.note.startswith("not measured: weights")


def test_a_metric_outside_the_protocol_is_not_measured(entries: Callable[..., list[Entry]]) -> None:
    entry = entries(columns=["lpips_alex_test"], published_columns={})[0]
    assert (entry.reproduced, entry.note) == (None, "not measured: the evaluation's parameters do not ask for it")


def test_unknown_metrics_are_refused(entries: Callable[..., list[Entry]]) -> None:
    with pytest.raises(ValueError, match="unknown metric 'pnsr_test'"):
        entries(columns=["pnsr_test"], published_columns={})


def test_guidance_picks_its_own_value_and_must_have_been_sampled(entries: Callable[..., list[Entry]]) -> None:
    cell = "generate_images/natural-f4-cat"
    rows = [{"label": f"g{g:g}", "cell": cell, "guidance": g} for g in (1.0, 3.0)]
    one, three = entries(columns=["fd_randconv_test"], published_columns={}, rows=rows)
    assert one.reproduced == measured(cell, "fd_randconv_test_guidance1")["value"]
    assert three.reproduced == measured(cell, "fd_randconv_test_guidance3")["value"]
    with pytest.raises(ValueError, match=r"was not sampled at guidance 2; it has .*fd_randconv_test_guidance3"):
        rows = [{"label": "g2", "cell": cell, "guidance": 2.0}]
        entries(columns=["fd_randconv_test"], published_columns={}, rows=rows)


def test_a_damaged_file_is_named(entries: Callable[..., list[Entry]]) -> None:
    path = Path("data/tiny") / FAVAE / "metrics.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(ValueError, match=f"{FAVAE}/metrics.json: damaged, or not what a result has there"):
        entries()


def test_csv_has_full_precision(entries: Callable[..., list[Entry]], tmp_path: Path) -> None:
    made = entries()
    tidy(made).to_csv(tmp_path / "t.csv", index=False)
    back = pd.read_csv(tmp_path / "t.csv", float_precision="round_trip")
    assert list(back["metric"]) == ["psnr_test", "rfid_test"] * 3
    assert back["reproduced"].tolist()[:1] == [made[0].reproduced]
    np.testing.assert_array_equal(back["difference"].notna(), [True] + [False] * 5)
    assert back["note"][4] == "not run"


def cells_of(text: str, row: str) -> list[str]:
    """Cells of the Markdown line that begins with `row`."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {row} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_missing_numbers_are_replaced_by_words(entries: Callable[..., list[Entry]], published: Published) -> None:
    text = markdown(make_page(table(), published, entries()))
    psnr = measured(FAVAE, "psnr_test")["value"]
    assert cells_of(text, "both")[2:5] == ["21.70", f"{psnr:.2f}", f"{psnr - 21.703:+.2f}"]
    assert cells_of(text, "both")[5:] == ["83.80", "not measured [a]", "–"]
    assert cells_of(text, "ours only")[1:5] == ["–", "–", f"{psnr:.2f}", "–"]
    assert cells_of(text, "theirs only")[2:5] == ["20.15", "not run", "–"]
    assert "- [a] not measured: weights pt_inception" in text
    other = make_page(
        table(comparable=False, note="Other data."), published, entries(comparable=False, note="Other data.")
    )
    assert cells_of(markdown(other), "both")[4] == "not comparable"
    assert "- Other data." in markdown(other)


def test_a_published_row_without_values_is_not_reported(
    entries: Callable[..., list[Entry]], published: Published
) -> None:
    changes = {"rows": [{"label": "m", "published": "favae-table2/r12", "cell": FAVAE}], "published_columns": {}}
    text = markdown(make_page(table(**changes), published, entries(**changes)))
    assert cells_of(text, "m")[1].endswith("k = 9: not reported")
    assert "Neither the values nor the metrics of this table are in any source we have" in text


def test_doubts_of_the_shown_rows_are_printed(entries: Callable[..., list[Entry]], published: Published) -> None:
    changes = {"rows": [{"label": "f16", "published": "favae-table1/r13"}], "columns": ["rfid_test"]}
    changes["published_columns"] = {"rfid_test": "rfid"}
    text = markdown(make_page(table(**changes), published, entries(**changes)))
    assert "Suspected copying error" in text
    assert "Printed as about 10" not in text  # that of another row


def test_protocol_and_runs_are_named(entries: Callable[..., list[Entry]], published: Published) -> None:
    changes = {"columns": ["psnr_test", "ssim_test"], "published_columns": {}}
    notes = make_page(table(**changes), published, entries(**changes)).notes
    protocol = next(note for note in notes if note.startswith("Protocol: "))
    assert "split test, n all, quantize uint8" in protocol
    assert "SSIM: ssim sigma 1.5" in protocol
    assert any(note.startswith(f"both: {FAVAE}@") and note.endswith("(n = 6; checkpoint: unknown)") for note in notes)


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("psnr_test", 21.7035, "21.70"),
        ("ssim_val", 0.64251, "0.643"),
        ("rfid_test", 0.4, "0.40"),
        ("rfd_randconv_test", 12345.6, "12346"),
        ("rfd_randconv_test", 0.0012345, "0.00123"),
        ("fd_randconv_test", 0.0, "0.000"),
        ("codebook_perplexity_test", 312.25, "312.2"),
    ],
)
def test_digits_by_metric(metric: str, value: float, text: str) -> None:
    assert format_value(metric, value) == text


def test_html_is_a_whole_document_and_labels_are_text(
    entries: Callable[..., list[Entry]], published: Published
) -> None:
    text = html(make_page(table(title="50% & <more>"), published, entries()))
    assert text.startswith("<!doctype html>") and "<title>50% &amp; &lt;more&gt;</title>" in text
    assert re.findall(r"<tr>\s*<td>([^<]*)</td>", text) == ["both", "ours only", "theirs only"]
    assert not re.search(r"(src|href)=", text)


def test_make_tables_twice_gives_the_same_bytes(job: Callable[[str], Job]) -> None:
    first = run_job(job("make_tables"))
    bytes_of = {path.name: path.read_bytes() for path in TABLES.iterdir()}
    ids = ("reconstruction", "zero_shot", "text_to_image")
    kinds = ("csv", "md", "html", "tex")
    assert set(bytes_of) == {"summary.md", "results.tex"} | {f"{i}.{kind}" for i in ids for kind in kinds}
    job("make_tables").card.unlink()
    assert run_job(job("make_tables")) == first
    assert {path.name: path.read_bytes() for path in TABLES.iterdir()} == bytes_of
    assert first.outputs.keys() == {"data/tiny/reports/tables"}
    summary = bytes_of["summary.md"].decode()
    assert all(f"## {config.title}" in summary for config in job("make_tables").config.tables)
    assert str(Path.cwd()) not in summary


def test_a_row_can_be_added_in_yaml_only(job: Callable[[str], Job], edit: Callable[..., None]) -> None:
    line = f'- {{label: "FA-VAE, f = 4", published: favae-table2/r12, cell: {FAVAE}}}'
    edit("tables", line, f"{line}\n        - {{label: Later, published: favae-table2/r7, cell: null}}")
    run_job(job("make_tables"))
    later = pd.read_csv(TABLES / "reconstruction.csv").set_index("row").loc["Later"]
    assert set(later["note"]) == {"not run"}
    assert set(later["reported_source"]) == {"favae-table2/r7"}
    assert later["reproduced"].isna().all()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("favae-table2/r12", "favae-table2/r99", "table 'reconstruction', row 'FA-VAE, f = 4': no row 'r99'"),
        ("natural-f2-favae-on-natural", "natural-f2", "no cell 'evaluate_reconstruction/natural-f2'; did you mean"),
        (
            "{fid_test: fid}",
            "{fid_test: rfid}",
            "fid_test: no column 'rfid' in its published rows; did you mean 'fid'?",
        ),
        ("{fid_test: fid}", "{rfid_test: fid}", "published_columns has 'rfid_test', which is not in columns"),
        (", guidance: 1.0}", "}", "guidance must be given exactly for cells of generate_images"),
        ("comparable: false", "comparable: no", 'comparable: expected true or false (found "no")'),
        ("id: zero_shot", "id: reconstruction", "two tables have the id 'reconstruction'"),
    ],
)
def test_mistakes_stop_before_anything_is_written(
    job: Callable[[str], Job], edit: Callable[..., None], old: str, new: str, message: str
) -> None:
    edit("tables", old, new)
    with pytest.raises(ConfigError) as caught:
        run_job(job("make_tables"))
    assert message in str(caught.value)
    assert str(caught.value).startswith("params/tables.yaml:")
    assert not TABLES.exists()


def test_the_repository_tables_fit_grid_and_published_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    for scale in Grid().scales:
        for made in (j for j in Grid(scale) if j.stage.name == "make_tables"):
            assert isinstance(made.config, TablesConfig)
            numbers = validate(Published, made.parameters["published"], "published")
            assert list(made.config.disagreements(numbers, made.inputs)) == []


def test_several_seeds_give_mean_spread_and_every_run(
    entries: Callable[..., list[Entry]], published: Published
) -> None:
    other = "evaluate_reconstruction/natural-f4-vqgan-on-natural"
    rows = [{"label": "seeds", "published": "ffl-table1/celeba-ffl", "cells": [FAVAE, other]}]
    seeds, unmeasured = entries(rows=rows)
    values = [measured(cell, "psnr_test")["value"] for cell in (FAVAE, other)]
    assert seeds.reproduced == pytest.approx(np.mean(values))
    assert seeds.spread == pytest.approx(np.std(values, ddof=1))
    assert [run.partition("@")[0] for run in seeds.runs] == [FAVAE, other]
    assert (unmeasured.reproduced, unmeasured.spread) == (None, None)
    lines = tidy([seeds])
    assert lines.loc[0, ["runs", "spread"]].tolist() == [2, seeds.spread]
    assert lines.loc[0, "run"].count("@") == 2
    page = make_page(table(rows=rows), published, [seeds, unmeasured])
    assert f"± {seeds.spread:.2f} (2 runs)" in markdown(page)


def test_a_row_has_one_cell_or_several_different_ones() -> None:
    with pytest.raises(ValueError, match="either cell or cells"):
        table(rows=[{"label": "a", "cell": FAVAE, "cells": [FAVAE, FAVAE + "-2"]}])
    with pytest.raises(ValueError, match="cells has duplicates"):
        table(rows=[{"label": "a", "cells": [FAVAE, FAVAE]}])


def test_without_values_per_image_the_printed_intervals_are_kept(job: Callable[[str], Job]) -> None:
    printed = Path("printed")
    printed.mkdir()
    for name, text in render(job("make_tables")).items():
        (printed / name).write_text(text, encoding="utf-8")
    for path in Path("data/tiny/evaluate_reconstruction").glob("*/images.csv"):
        path.unlink()
    assert render(job("make_tables"), Results.of(job("make_tables"), printed=printed)) == {
        path.name: path.read_text(encoding="utf-8") for path in printed.iterdir()
    }
    text = render(job("make_tables"))["reconstruction.md"]
    assert re.search(r"noise over test images \([^)]*\): not known, no values per image are here\.", text)


@pytest.mark.parametrize(
    ("step", "selection", "given", "words"),
    [
        (6, "last", {}, "step 6 of 6 (last), GAN from step 3"),
        (3, "best", {"selection": "best"}, "step 3 of 6 (best on val), before the GAN started"),
    ],
)
def test_a_row_says_which_step_was_measured_and_whether_the_gan_had_started(
    entries: Callable[..., list[Entry]], published: Published, step: int, selection: str, given: dict, words: str
) -> None:
    training = Grid("tiny").job("train_autoencoder", "natural-f4-favae")
    tree = training.parameters | {"training": training.parameters["training"] | given}
    summary = {"steps": 6, "best_step": step}
    write_card(training.with_parameters(tree), "k" * 64, {}, [], summary)
    path = Path("data/tiny") / FAVAE / "card.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps(card | {"inputs": {training.card.as_posix(): "0" * 64}}))
    page = make_page(table(), published, entries(), "tiny")
    assert any(note.startswith("both: ") and words in note for note in page.notes)
    assert page.frame.loc[0, "Step"].startswith(f"{step}, {selection}")
    line = tidy(entries()).loc[0]
    assert line[["checkpoint", "steps", "selection", "gan_start"]].tolist() == [str(step), "6", selection, "3"]


def test_scale_comparability_and_noise_are_in_the_first_note(
    entries: Callable[..., list[Entry]], published: Published
) -> None:
    note = make_page(table(), published, entries(), "tiny").notes[0]
    assert note.startswith("At a glance: scale tiny; comparable with the published rows: yes; trainings per row: 1; ")
    single = "not known from one training per row, so no difference between rows is shown to be more than noise"
    assert f"noise over seeds (largest standard deviation of a row): {single};" in note
    assert re.search(r"noise over test images \(.*\): PSNR \d", note)
