"""Reading the files of finished cells for tables and figures, by the cards that are the inputs of the job."""

import csv
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from favae.config.errors import ConfigError
from favae.evaluation.protocol import MetricResult
from favae.jobs.grid import Job
from favae.results.cards import read_card
from favae.results.cost import Cost, cost_of
from favae.results.naming import naming
from favae.results.run_record import RunRecord, read_record
from favae.results.trainings import SUMMARY, Training, training_behind
from favae.runtime import paths
from favae.runtime.files import whole_file

FROM_PRIOR = ("drawn", "grid")  # decoded latents, without an original image
KEY_DIGITS = 12  # printed digits of a content key


@dataclass(frozen=True)
class Results:
    """Files of the cells that are inputs of a collecting job, each named `<stage>/<cell>`.

    All methods raise FileNotFoundError if a result is incomplete.
    """

    scale: str
    folders: dict[str, Path]
    locate: Callable[[Path], Path] = lambda path: path
    printed: Path | None = (
        None  # tables from which intervals over images are taken where the values per image are not here
    )

    @classmethod
    def of(cls, job: Job, locate: Callable[[Path], Path] = lambda path: path, printed: Path | None = None) -> "Results":
        """The inputs of `job`; `locate` says where a file of `data/` lies, where that is elsewhere (`Bundle.locate`)."""
        return cls(job.scale, {name: locate(card).parent for name, card in job.inputs.items()}, locate, printed)

    def run(self, name: str) -> str:
        """Name of the result with its content key: `<stage>/<cell>@<start of the content key>`."""
        return f"{name}@{read_card(self.folders[name] / paths.CARD).key[:KEY_DIGITS]}"

    def metrics(self, name: str) -> dict[str, MetricResult]:
        """`metrics.json` of an evaluation. Raises ValueError naming it if it holds no metrics."""
        path = self.folders[name] / paths.METRICS
        with naming(path):
            found = json.loads(whole_file(path))
            for metric in found.values() if isinstance(found, dict) else [found]:
                if not (isinstance(metric, dict) and isinstance(metric["value"], int | float | None)):
                    raise TypeError(f"expected a value for each metric, found {str(metric)[:80]}")
            return found

    def table(self, name: str, file: str) -> pd.DataFrame:
        """A CSV file of a result, ids as text."""
        with naming(self.folders[name] / file):
            return pd.read_csv(self.folders[name] / file, dtype={"id": str})

    def per_image(self, name: str, metric: str) -> pd.Series | None:
        """Values of a metric (named with its split) by image; None where there are none, or they are not here."""
        try:
            table = self.table(name, paths.IMAGES)
        except (FileNotFoundError, ValueError):
            return None
        column = metric.rpartition("_")[0]
        if column not in table or "id" not in table or len(table) < 2:
            return None
        return table.set_index("id")[column].astype(float)

    def training(self, name: str) -> Training | None:
        """Facts of the training that an evaluation measured; None where they are not known here."""
        card = read_card(self.folders[name] / paths.CARD)
        if facts := card.summary.get(SUMMARY):
            return Training.model_validate(facts)
        return training_behind(card.inputs, self.locate)

    def cost(self, names: Iterable[str]) -> Cost:
        """What results cost together with everything that they were made from, each counted once, by the run records."""
        waiting = [paths.card(self.scale, *name.split("/")) for name in names]
        records: dict[Path, RunRecord | None] = {}
        while waiting:
            path = waiting.pop()
            if path not in records:
                scale, stage, cell = path.parts[-4:-1]
                records[path] = self._record(paths.run_record(scale, stage, cell))
                try:
                    waiting += map(Path, read_card(self.locate(path)).inputs)
                except FileNotFoundError:
                    records[path] = None  # and of what it was made from nothing is known: the cost is a lower bound
        return cost_of(records.values())

    def _record(self, path: Path) -> RunRecord | None:
        try:
            return read_record(self.locate(path))
        except ValueError:
            return None

    def rows_printed(self, file: str) -> list[dict[str, str]]:
        """The lines of a printed table; none where there is none."""
        path = self.printed / file if self.printed else None
        if path is None or not path.is_file():
            return []
        there = path.stat()
        return _lines(path.absolute(), there.st_mtime_ns, there.st_size)

    def images(self, name: str) -> dict[str, np.ndarray]:
        """All arrays of `examples.npz`; a variational autoencoder has `drawn` and, with two latents, `grid`."""
        path = self.folders[name] / paths.EXAMPLES
        with naming(path), np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}

    def examples(self, name: str, wanted: int) -> dict[str, np.ndarray]:
        """`wanted` of the examples of an evaluation or a generation, evenly spread: name -> [k, ...]."""
        examples = {key: v for key, v in self.images(name).items() if key not in FROM_PRIOR}
        total = len(next(iter(examples.values())))
        chosen = np.linspace(0, total - 1, min(wanted, total)).round().astype(int)
        return {key: values[chosen] for key, values in examples.items()}

    def shown_step(self, name: str) -> int | None:
        """Step of a training whose weights are evaluated; None where its card records none."""
        step = read_card(self.folders[name] / paths.CARD).summary.get("best_step")
        return int(step) if step else None

    def curves(self, name: str) -> pd.DataFrame:
        """Learning curves of a trained cell: `step`, `train/*`, `val/*`, NaN if not measured at a step."""
        stage, _, cell = name.partition("/")
        path = self.locate(paths.curves(self.scale, stage, cell))
        with naming(path):
            table = pd.read_csv(path)
            table["step"].astype(int)
            return table


@lru_cache(maxsize=32)
def _lines(path: Path, changed: int, size: int) -> list[dict[str, str]]:
    """Lines of a printed table, read once although every number of the table asks for them."""
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def refuse(job: Job, problems: list[str]) -> None:
    """Raise ConfigError, with one line per problem, if there are problems."""
    if problems:
        raise ConfigError("\n".join(f"{job.where}: {problem}" for problem in problems))
