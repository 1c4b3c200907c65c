"""All paths of the project. Other modules take the names of folders and shared files from here.

All paths are relative to the project root (the folder with the Snakefile), which is the working directory of every command.
"""

import os
from pathlib import Path

PARAMS = Path("params")
GRID = PARAMS / "grid.yaml"
PUBLISHED = PARAMS / "published.yaml"
DATA = Path("data")
REPORTS = Path("reports")
COVERAGE = REPORTS / "README.md"  # state of every published row
SAME = REPORTS / "same.json"  # versions of code that give the same bytes
STATE = DATA / "state"  # needed while jobs and workflows run; declared neither to Snakemake nor to DVC

# In the result folder of a job. Folders:
SHARDS = "shards"  # of a prepared data set
STATISTICS = "statistics"  # of reference images
# Files:
CARD = "card.json"
WEIGHTS = "model.safetensors"  # of a trained model
MODEL_CONFIG = "config.json"  # what it was built with
MODEL_CARD = "README.md"  # beside the weights of a trained model; no output of the job
INDEX = "index.csv"  # in `SHARDS`: one row per image
PLANES = "planes.json"  # in `SHARDS` of a paired data set: what the bytes of a pixel hold
CAPTIONS = "captions.csv"  # in `SHARDS`, and beside tokens
TOKENS = "tokens.npz"
SAMPLES = "samples.png"
METRICS = "metrics.json"
IMAGES = "images.csv"  # metrics of each image
SPECTRUM = "spectrum.csv"
EXAMPLES = "examples.npz"
GENERATED = "generated.npz"  # in a bundle: the same without photographs


def params_file(name: str) -> Path:
    """`params/<name>.yaml`: a file of recipes, or the numbers of a scale."""
    return PARAMS / f"{name}.yaml"


def result_dir(scale: str, stage: str, cell: str) -> Path:
    """Folder of the published files of one job, including its card."""
    return DATA / scale / stage / cell


def card(scale: str, stage: str, cell: str) -> Path:
    """The card: small, deterministic, written last. The one file that downstream jobs depend on."""
    return result_dir(scale, stage, cell) / CARD


def run_record(scale: str, stage: str, cell: str) -> Path:
    """Run record of a job: when, where and with what it ran. Kept outside the results, because no job may depend on it."""
    return DATA / scale / "runs" / stage / f"{cell}.json"


def curves(scale: str, stage: str, cell: str) -> Path:
    """Learning curves. Kept apart from the checkpoints, so that figures can be drawn without pulling checkpoints."""
    return DATA / scale / "curves" / stage / f"{cell}.csv"


def log(scale: str, stage: str, cell: str) -> Path:
    """Log of the last execution of a job."""
    return DATA / scale / "logs" / stage / f"{cell}.log"


def usage(scale: str, stage: str, cell: str) -> Path:
    """What a training used while it ran (`favae.runtime.usage`). Kept outside the results, because no job may depend on it."""
    return DATA / scale / "usage" / stage / f"{cell}.jsonl"


def state_dir(scale: str, stage: str, cell: str, key: str) -> Path:
    """Resume state of one content key. Neither Snakemake nor DVC knows it: both delete declared outputs before a job."""
    return STATE / scale / stage / cell / key


def cell_lock(scale: str, stage: str, cell: str) -> Path:
    """Cell lock, held while a job of this cell runs."""
    return STATE / scale / stage / cell / "lock"


def model_card_lock(scale: str, stage: str, cell: str) -> Path:
    """Lock of a model's card, held while the card is written: several evaluations of the model may end at once."""
    return STATE / scale / stage / cell / "model_card.lock"


def spare_dir(scale: str, stage: str, cell: str) -> Path:
    """Spare copy of a finished result (hard links), kept until the results are recorded in DVC."""
    return STATE / scale / stage / cell / "spare"


def kept_dir(scale: str, stage: str, cell: str) -> Path:
    """The same when the result is locked in DVC."""
    return STATE / scale / stage / cell / "kept"


def project_lock() -> Path:
    """Project lock, held by the Snakemake that runs jobs in this project."""
    return STATE / "workflow.lock"


def unfinished_run() -> Path:
    """Exists from the start of a Snakemake's jobs until their results are recorded in DVC and MLflow."""
    return STATE / "unfinished"


def dvc_lock() -> Path:
    """DVC lock, held while results are recorded in `dvc.lock`."""
    return STATE / "lock.lock"


def dvc_lock_before() -> Path:
    """`dvc.lock` as it was before results are recorded, while they are (`favae.sync.dvc_entries`)."""
    return STATE / "dvc.lock.before"


def dvc_memory(scale: str) -> Path:
    """What `dvc.lock` is known to hold of a scale (`favae.sync.dvc_entries`)."""
    return STATE / scale / "locked.json"


def mlflow_lock() -> Path:
    """MLflow lock, held while runs are written to its database."""
    return STATE / "mlflow.lock"


def mlflow_artifacts() -> Path:
    """Folder of the artifacts of MLflow's runs."""
    return DATA / "mlflow" / "artifacts"


def site_file() -> Path:
    """The settings of this site, which `favae site` writes (also reached as `slurm/site.yaml`). Git ignores it."""
    return Path("workflow/profiles/slurm/site.yaml")


def git_record() -> Path:
    """Git commit and changed files, written by the head process when a workflow starts (compute nodes need no git)."""
    return STATE / "head.json"


def facts() -> Path:
    """Cached facts about networks and losses for planning, valid until their sources change (`favae.jobs.facts`)."""
    return DATA / "state" / "facts.json"


def hash_memory() -> Path:
    """Hashes of large files, remembered between commands (`favae.runtime.hash_memory`)."""
    return STATE / "hashes.txt"


def unit_memory() -> Path:
    """Hashes of the units of the present code, remembered between commands (`favae.fingerprint.memory`)."""
    return STATE / "units.json"


def raw_memory() -> Path:
    """Changes of raw data, remembered between commands (`favae.results.raw_data`)."""
    return STATE / "raw.json"


def columns(key: str) -> Path:
    """Folder of the columns derived from the index of a prepared data set (`favae.data.columns`)."""
    return STATE / "index.columns" / key


def raw_root() -> Path:
    """Folder of the raw data sets: `$FAVAE_RAW`, or `data/raw`."""
    return Path(os.environ.get("FAVAE_RAW") or DATA / "raw")


def report_dir(scale: str, kind: str) -> Path:
    """`data/<scale>/reports/tables` and `figures`: what a run makes. Git does not look there; `favae publish` copies them."""
    return DATA / scale / "reports" / kind


def bundle_dir(scale: str) -> Path:
    """`reports/<scale>`: published results, kept by git."""
    return REPORTS / scale


def mlflow_uri() -> str:
    """Tracking URI: `$MLFLOW_TRACKING_URI`, or the SQLite file in which `mlflow ui` looks without being told."""
    return os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
