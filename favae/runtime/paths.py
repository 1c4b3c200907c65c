"""Where every file of the project lies. No other module spells a folder's name.

All paths are relative to the project root (the folder with the Snakefile), which is the working directory of every command.
"""

import os
from pathlib import Path

PARAMS = Path("params")
GRID = PARAMS / "grid.yaml"
VERSIONS = PARAMS / "versions.yaml"
PUBLISHED = PARAMS / "published.yaml"
DATA = Path("data")
REPORTS = Path("reports")
CARD = "card.json"


def params_file(name: str) -> Path:
    """`params/<name>.yaml`: a file of recipes, or the numbers of a scale."""
    return PARAMS / f"{name}.yaml"


def result_dir(scale: str, stage: str, cell: str) -> Path:
    """Published artefacts of one job; its card lies there too."""
    return DATA / scale / stage / cell


def card(scale: str, stage: str, cell: str) -> Path:
    """The card: small, deterministic, written last. The one file that downstream jobs depend on."""
    return result_dir(scale, stage, cell) / CARD


def run_record(scale: str, stage: str, cell: str) -> Path:
    """`run.json` of a job: when, where, with what it ran. Apart from the results, since no job may depend on it."""
    return DATA / scale / "runs" / stage / f"{cell}.json"


def curves(scale: str, stage: str, cell: str) -> Path:
    """Learning curves. Apart from the checkpoints, so that figures can be drawn where no checkpoint was pulled."""
    return DATA / scale / "curves" / stage / f"{cell}.csv"


def log(scale: str, stage: str, cell: str) -> Path:
    """Log of the last execution of a job."""
    return DATA / scale / "logs" / stage / f"{cell}.log"


def state_dir(scale: str, stage: str, cell: str, key: str) -> Path:
    """Resume state of one content key. Declared neither to Snakemake nor to DVC: both delete what they know."""
    return DATA / "state" / scale / stage / cell / key


def cell_lock(scale: str, stage: str, cell: str) -> Path:
    """Lock held while a job of this cell runs."""
    return DATA / "state" / scale / stage / cell / "lock"


def kept_dir(scale: str, stage: str, cell: str) -> Path:
    """A finished result, as hard links, until the workflow that asked for it has ended well."""
    return DATA / "state" / scale / stage / cell / "kept"


def workflow_lock() -> Path:
    """Lock held by the Snakemake that runs jobs in this project."""
    return DATA / "state" / "workflow.lock"


def head_provenance() -> Path:
    """Git commit and dirty flag, written by the head process when a workflow starts (compute nodes need no git)."""
    return DATA / "state" / "head.json"


def facts() -> Path:
    """What planning knows of networks and losses, kept until their sources change (`favae.jobs.facts`)."""
    return DATA / "state" / "facts.json"


def raw_root() -> Path:
    """Folder of the raw data sets: `$FAVAE_RAW`, or `data/raw`."""
    return Path(os.environ.get("FAVAE_RAW", DATA / "raw"))


def report_dir(scale: str, kind: str) -> Path:
    """`reports/<scale>/tables` and `reports/<scale>/figures`."""
    return REPORTS / scale / kind


def mlflow_uri() -> str:
    """Tracking URI: `$MLFLOW_TRACKING_URI`, or an SQLite file below `data`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(DATA / 'mlflow' / 'mlflow.db').as_posix()}"
