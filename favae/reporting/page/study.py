"""A perceptual study: a static page that asks which of two reconstructions is closer to the original, and what the answers say.

Two-alternative forced choice. Order and side are drawn in the browser. In catch trials one side is the original itself: who misses too
many of them is left out.
"""

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from pydantic import ValidationError
from scipy import stats

from favae.config.base import Schema
from favae.config.errors import ConfigError, closest
from favae.jobs.terms import terms_of
from favae.reporting.page.build import ASSETS, render, write_script
from favae.reporting.page.gallery import arrays_of
from favae.reporting.page.source import Source
from favae.runtime.files import replacing_folder
from favae.runtime.hashes import sha256_text

CATCH = "original"  # the side of a catch trial that must be chosen
PASSED = 0.8  # share of catch trials that a participant must answer right
_CATCH_EVERY = 4  # trials per catch trial
LEVEL = 0.95


class Trial(Schema):
    """One answered trial; `left` and `right` are model names, or `original` in a catch trial."""

    image: str
    left: str
    right: str
    chosen: Literal["left", "right"]
    milliseconds: float


class Answers(Schema):
    """The file that a participant downloads."""

    study: str  # identity of the study: hash of its images
    scale: str
    models: tuple[str, str]
    participant: str
    seed: int
    trials: list[Trial]


@dataclass(frozen=True)
class Preference:
    """How often `first` was preferred to `second`, with the exact (Clopper-Pearson) interval and test against one half."""

    first: str
    second: str
    chosen: int
    trials: int
    participants: int
    left_out: int
    low: float
    high: float
    p: float

    def lines(self) -> Iterator[str]:
        """The result in words."""
        share = self.chosen / self.trials
        yield (
            f"{self.first} preferred to {self.second} in {self.chosen} of {self.trials} trials: {share:.1%} "
            f"({LEVEL:.0%} interval {self.low:.1%} to {self.high:.1%}; p = {self.p:.3g} against no preference)"
        )
        undecided = self.low <= 0.5 <= self.high
        yield "no preference is shown: the interval contains 50 %" if undecided else "a preference is shown"
        yield f"{self.participants} participants; {self.left_out} left out, who missed too many catch trials"
        yield "The interval treats trials as independent; answers of one person, and to one image, are not quite."


def write_study(source: Source, models: tuple[str, str] | None, out: Path) -> int:
    """Write the page of a study of two evaluations (cells of `evaluate_reconstruction`) into `out`; returns its trials.

    Raises:
        ConfigError: an unknown cell, other images, no examples, or a data set whose photographs may not be published.
        FileExistsError: `out` is a file, or has files that this function did not write, such as answers.
    """
    first, second = _chosen(source, models)
    originals, outputs = _images(source, first, second)
    with replacing_folder(out) as folder:
        images = folder / "images"
        images.mkdir()
        (folder / "assets").mkdir()
        for name in ("common.js", "page.css", "study.js"):
            shutil.copyfile(ASSETS / name, folder / "assets" / name)
        trials = []
        for number, (key, original) in enumerate(originals.items()):
            files = {name: _save(stack[key], images) for name, stack in outputs.items()} | {
                CATCH: _save(original, images)
            }
            trials.append({"image": key, "sides": [first, second], "files": files})
            if number % _CATCH_EVERY == 0:
                trials.append(
                    {"image": key, "sides": [CATCH, (first, second)[number // _CATCH_EVERY % 2]], "files": files}
                )
        identity = sha256_text(json.dumps(trials, sort_keys=True))
        write_script(
            folder / "data" / "study.js",
            "study",
            {
                "study": identity,
                "scale": source.scale,
                "models": [first, second],
                "trials": trials,
            },
        )
        render(
            "study.html.jinja",
            folder / "index.html",
            root="",
            title="Which is closer to the original?",
            count=len(trials),
        )
    return len(trials)


def _chosen(source: Source, models: tuple[str, str] | None) -> tuple[str, str]:
    """Two evaluations on one data set: those asked for, or the first two of a table."""
    cells = source.grid.cells("evaluate_reconstruction")
    if models is not None:
        for cell in models:
            if cell not in cells:
                raise ConfigError(f"no evaluation {cell!r} at the scale {source.scale}; {closest(cell, cells)}")
        return models
    for table in source.tables.tables:
        shown = [row.measured_by[0].partition("/")[2] for row in table.rows if row.measured_by]
        own = [cell for cell in shown if cell in cells and arrays_of(source, f"evaluate_reconstruction/{cell}")]
        if len(own) > 1:
            return own[0], own[1]
    raise ConfigError(f"{source.root}: no two evaluations with example images; a study needs them")


Stack = dict[str, np.ndarray]  # image id -> uint8 [H,W,3]


def _images(source: Source, first: str, second: str) -> tuple[Stack, dict[str, Stack]]:
    outputs: dict[str, Stack] = {}
    originals: Stack = {}
    for cell in (first, second):
        name = f"evaluate_reconstruction/{cell}"
        dataset = source.dataset_of(name) or ""
        if terms_of(source.grid, dataset).publish != "all":
            raise ConfigError(
                f"photographs of {dataset} may not be published (_terms in params/datasets.yaml): no study of {cell}"
            )
        arrays = arrays_of(source, name)
        if "original" not in arrays:
            raise ConfigError(f"{cell}: its example images are not in {source.root}")
        ids = [str(key) for key in arrays["id"]]
        own = dict(zip(ids, arrays["original"], strict=True))
        if originals and not all(key in own and np.array_equal(own[key], image) for key, image in originals.items()):
            raise ConfigError(f"{first} and {second} were not evaluated on the same images")
        originals = originals or own
        outputs[cell] = dict(zip(ids, arrays["reconstruction"], strict=True))
    return originals, outputs


def _save(image: np.ndarray, folder: Path) -> str:
    """Write an image under a name that says nothing of its model."""
    name = f"{sha256_text(image.tobytes().hex())[:16]}.png"
    Image.fromarray(image).save(folder / name)
    return f"images/{name}"


def read_answers(files: Iterable[Path]) -> list[Answers]:
    """The answers in the files. Raises ValueError naming a file that holds none, a second file of a participant, or another study."""
    found: dict[str, Answers] = {}
    for file in files:
        try:
            answers = Answers.model_validate_json(file.read_text(encoding="utf-8-sig"))
        except (ValidationError, UnicodeDecodeError) as error:
            what = str(error)
            if isinstance(error, ValidationError):
                first = error.errors()[0]
                what = f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"
            raise ValueError(f"{file}: expected the answers that the page of a study saves ({what})") from None
        if answers.participant in found:
            raise ValueError(f"{file}: a second file of the participant {answers.participant}; leave one of them out")
        other = next(iter(found.values()), answers)
        if answers.study != other.study:
            raise ValueError(
                f"{file}: the answers belong to another study ({answers.study[:12]}, not {other.study[:12]})"
            )
        found[answers.participant] = answers
    return list(found.values())


def preference(answers: list[Answers]) -> Preference:
    """The preference of all participants who passed the catch trials. Raises ValueError where no trial is left."""
    passed = [one for one in answers if _passes(one)]
    picked = [_name(trial) for one in passed for trial in one.trials if CATCH not in (trial.left, trial.right)]
    if not picked:
        raise ValueError("no trial is left: nobody answered, or all participants missed too many catch trials")
    first, second = answers[0].models
    test = stats.binomtest(picked.count(first), len(picked))
    interval = test.proportion_ci(confidence_level=LEVEL, method="exact")
    return Preference(
        first,
        second,
        picked.count(first),
        len(picked),
        len(passed),
        len(answers) - len(passed),
        float(interval.low),
        float(interval.high),
        float(test.pvalue),
    )


def _name(trial: Trial) -> str:
    return trial.left if trial.chosen == "left" else trial.right


def _passes(answers: Answers) -> bool:
    caught = [_name(trial) == CATCH for trial in answers.trials if CATCH in (trial.left, trial.right)]
    return not caught or sum(caught) / len(caught) >= PASSED


def summary(results: Preference) -> dict[str, Any]:
    """The result for other programs."""
    return {**results.__dict__, "share": results.chosen / results.trials, "level": LEVEL}
