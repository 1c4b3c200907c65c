"""Published numbers: complete, consistent among themselves, and refused when mistyped."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest

from favae.config.errors import ConfigError
from favae.config.load import read_yaml, validate
from favae.config.reporting import Published

FILE = Path(__file__).parents[2] / "params" / "published.yaml"


@pytest.fixture
def tree() -> dict[str, Any]:
    return copy.deepcopy(read_yaml(FILE))


def published() -> Published:
    return validate(Published, read_yaml(FILE), str(FILE))


def test_lfd_follows_from_psnr_except_in_the_row_marked_as_a_misprint() -> None:
    # Parseval: LFD = ln(HW) + 2 ln 255 - ln(10)/10 PSNR, so a mistyped digit in either column shows.
    exceptions = []
    for name, table in published().tables.items():
        for key, row in table.rows.items():
            if "lfd" not in row.values:
                continue
            side = 256 if "256" in row.label else 64
            expected = 2 * math.log(side) + 2 * math.log(255) - math.log(10) / 10 * row.values["psnr"]
            if abs(row.values["lfd"] - expected) > 0.001:
                exceptions.append((name, key, row.doubt))
    assert [entry[:2] for entry in exceptions] == [("ffl-table7", "spectral-regularization")]
    assert "misprint" in exceptions[0][2]


def test_numbers_printed_twice_agree() -> None:
    tables = published().tables
    for row, entry in tables["mm-celeba-hq-readme"].rows.items():
        assert tables["favae-t2i"].rows[row].values["fid"] == entry.values["fid"]
    ablation, comparison = tables["ffl-figure16"].rows, tables["ffl-table7"].rows
    assert ablation["full"].values["fid"] == comparison["ffl"].values["shoes_fid"] == 74.359
    for column in ("psnr", "ssim", "lpips", "fid", "lfd"):
        vae = tables["ffl-table2"].rows
        assert comparison["baseline"].values[column] == vae["celeba-without"].values[column]
        assert comparison["ffl"].values[column] == vae["celeba-ffl"].values[column]


def test_table_2_has_its_fourteen_rows_and_no_value() -> None:
    table = published().tables["favae-table2"]
    assert list(table.rows) == [f"r{i}" for i in range(1, 15)]
    assert all(not row.values for row in table.rows.values())


def test_the_implausible_rfid_is_marked() -> None:
    table = published().tables["favae-table1"]
    assert table.rows["r6"].values == table.rows["r13"].values == {"rfid": 0.40}
    assert table.rows["r6"].doubt is None
    assert "copying error" in (table.rows["r13"].doubt or "")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda t: t["tables"]["favae-table1"].update(sorce="slides"), "tables.favae-table1.sorce: unknown key"),
        (lambda t: t["tables"]["favae-table1"]["rows"]["r3"]["values"].update(rfid="4.98"), "rows.r3.values.rfid"),
        (lambda t: t["tables"]["favae-table1"]["rows"]["r3"]["values"].clear(), "rows.r3.values has the keys []"),
        (lambda t: t["tables"]["favae-table1"].update(paper="dalle"), "no paper 'dalle'; there are: favae"),
        (lambda t: t["tables"]["favae-table1"]["columns"]["rfid"].update(better="smaller"), "columns.rfid.better"),
    ],
)
def test_mistakes_are_named_with_file_and_key(tree: dict[str, Any], change: Any, named: str) -> None:
    change(tree)
    with pytest.raises(ConfigError) as caught:
        validate(Published, tree, "params/published.yaml")
    assert named in str(caught.value)
    assert "params/published.yaml" in str(caught.value)


def test_unknown_references_list_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"no published table 'favae-table9'.*favae-table1, favae-table2"):
        published().find("favae-table9/r1")
    with pytest.raises(ValueError, match=r"no row 'r99' in the published table 'favae-table2'.*r1, r2"):
        published().find("favae-table2/r99")
