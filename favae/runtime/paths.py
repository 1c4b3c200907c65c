"""Where every file of the project lies. Other modules of the package take the names of folders and shared files from here.

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
STATE = DATA / "state"  # what jobs and workflows need while they run; declared neither to Snakemake nor to DVC

# In the result folder of a job. Folders:
SHARDS = "shards"  # of a prepared data set
STATISTICS = "statistics"  # of reference images
# Files:
CARD = "card.json"
INDEX = "index.csv"  # in `SHARDS`: one row per image
CAPTIONS = "captions.csv"  # in `SHARDS`, and beside tokens
TOKENS = "tokens.npz"
SAMPLES = "samples.png"
METRICS = "metrics.json"
IMAGES = "images.csv"  # metrics of each image
SPECTRUM = "spectrum.csv"
EXAMPLES = "examples.npz"


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
    return STATE / scale / stage / cell / key


def cell_lock(scale: str, stage: str, cell: str) -> Path:
    """Cell lock, held while a job of this cell runs."""
    return STATE / scale / stage / cell / "lock"


def spare_dir(scale: str, stage: str, cell: str) -> Path:
    """Spare copy of a finished result, as hard links, until the results are locked in DVC."""
    return STATE / scale / stage / cell / "spare"


def kept_dir(scale: str, stage: str, cell: str) -> Path:
    """The same when the result is locked in DVC."""
    return STATE / scale / stage / cell / "kept"


def project_lock() -> Path:
    """Project lock, held by the Snakemake that runs jobs in this project."""
    return STATE / "workflow.lock"


def dvc_lock() -> Path:
    """DVC lock, held while results are recorded in `dvc.lock`."""
    return STATE / "lock.lock"


def dvc_memory(scale: str) -> Path:
    """What `dvc.lock` is known to hold of a scale (`favae.sync.dvc_entries`)."""
    return STATE / scale / "locked.json"


def mlflow_lock() -> Path:
    """MLflow lock, held while runs are written to its database."""
    return STATE / "mlflow.lock"


def mlflow_artifacts() -> Path:
    """Folder of the artifacts of MLflow's runs."""
    return DATA / "mlflow" / "artifacts"


def git_record() -> Path:
    """Git commit and changed files, written by the head process when a workflow starts (compute nodes need no git)."""
    return STATE / "head.json"


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
