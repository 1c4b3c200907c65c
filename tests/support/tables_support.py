"""A table of the tests' own project."""

import json
from pathlib import Path
from typing import Any

from favae.config.reporting import TableConfig

TABLES = Path("data/tiny/reports/tables")
FAVAE = "evaluate_reconstruction/natural-f4-favae-on-natural"
REPOSITORY = Path(__file__).parents[2]


def table(**changes: Any) -> TableConfig:
    """A table of one measured row beside a published PSNR (the focal frequency loss paper's)."""
    content = {
        "id": "t",
        "title": "A table",
        "comparable": True,
        "columns": ["psnr_test", "rfid_test"],
        "published_columns": {"psnr_test": "psnr", "rfid_test": "fid"},
        "rows": [
            {"label": "both", "published": "ffl-table1/celeba-ffl", "cell": FAVAE},
            {"label": "ours only", "cell": FAVAE},
            {"label": "theirs only", "published": "ffl-table1/dtd-ffl"},
        ],
    }
    return TableConfig.model_validate(content | changes)


def measured(cell: str, metric: str) -> dict[str, Any]:
    return json.loads((Path("data/tiny") / cell / "metrics.json").read_text())[metric]
