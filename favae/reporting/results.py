"""What tables and figures read: the files of finished cells, found through the cards that are the job's inputs."""

import json
from dataclasses import dataclass
from pathlib import Path

from favae.config.errors import ConfigError
from favae.config.grid import Job
from favae.evaluation.protocol import MetricResult
from favae.provenance.cards import read_card

KEY_DIGITS = 12  # of a content key, as printed


@dataclass(frozen=True)
class Evaluation:
    """The metrics of one evaluated cell. `run` names the result that they are: `<stage>/<cell>@<content key>`."""

    run: str
    metrics: dict[str, MetricResult]


def result_folders(job: Job) -> dict[str, Path]:
    """`<stage>/<cell>` of every input of a collecting job -> folder of its result."""
    return {name: card.parent for name, card in job.inputs.items()}


def read_evaluation(name: str, folder: Path) -> Evaluation:
    """Metrics and content key of the cell `<stage>/<cell>`. Raises FileNotFoundError, ValueError naming the file."""
    path = folder / "metrics.json"
    try:
        metrics = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON ({error}); remove the folder and run the cell again") from error
    return Evaluation(f"{name}@{read_card(folder / 'card.json').key[:KEY_DIGITS]}", metrics)


def refuse(job: Job, problems: list[str]) -> None:
    """Raise ConfigError with every problem on a line of its own, if there is one."""
    if problems:
        raise ConfigError("\n".join(f"{job.where}: {problem}" for problem in problems))
