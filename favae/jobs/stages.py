"""The stages: what each reads, writes and is configured by. The one statement of the graph.

The rules of the Snakefile and `dvc.yaml` are made from this list (workflow/rules/stages.smk, `favae graph`). A new stage is an entry
here, its schema in `favae.config`, and a module `favae/stages/<name>.py` with `run(job, context)`.
"""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from favae.runtime import paths

Where = Literal["result", "curves", "report"]


@dataclass(frozen=True)
class Output:
    """A file or folder that a stage writes, beside its card and its run record.

    `where` is `result` (the cell's folder), `curves` (a CSV of its own, so that figures need no checkpoint) or `report`
    (`data/<scale>/reports/<name>`, which `favae publish` copies to `reports/<scale>/<name>`). `folder` and `metrics` tell Snakemake
    and DVC what it is. `feeds`: other stages read it. `plot` is the column of a curve that DVC plots over `step`.
    """

    name: str
    where: Where = "result"
    folder: bool = False
    metrics: bool = False
    feeds: bool = False
    plot: str = ""

    def path(self, scale: str, stage: str, cell: str) -> Path:
        """Where it lies; `{scale}` and `{cell}` give the pattern of a rule."""
        if self.where == "curves":
            return paths.curves(scale, stage, cell)
        if self.where == "report":
            return paths.report_dir(scale, self.name)
        return paths.result_dir(scale, stage, cell) / self.name

    @property
    def key(self) -> str:
        """Its name in a rule: `model.safetensors` is `output.model`."""
        return self.name.partition(".")[0]


@dataclass(frozen=True)
class Stage:
    """One kind of job.

    Args:
        purpose: in a few words, for a reader of `dvc.yaml`.
        config: `module:name` of the class of its parameters, or of a function that chooses it. Imported when needed: planning must not
            wait for other stages' schemas.
        inputs: role -> stage; a cell names one cell of that stage for each role.
        outputs: what it writes.
        collects: stages all cells of which are inputs; such a stage has the one cell `all`.
        shared: parameter files that are read whole, beside recipe and numbers.
        cells: pattern of its cells' names, from the keys of a group (`params/grid.yaml`).
        gpu: whether it uses a GPU where there is one.
        local: takes seconds; runs beside Snakemake, also on a cluster.
    """

    name: str
    purpose: str
    config: str
    outputs: tuple[Output, ...]
    inputs: dict[str, str]
    cells: str = "all"
    collects: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    gpu: bool = True
    local: bool = False

    def load_config(self) -> Any:
        """What `validate` takes: a class, or a function from the parameters to one."""
        module, name = self.config.split(":")
        return getattr(importlib.import_module(module), name)

    @property
    def feeds(self) -> tuple[Output, ...]:
        """What other stages read of a cell, beside its card."""
        return tuple(output for output in self.outputs if output.feeds)


def _training(*outputs: Output, plot: str) -> tuple[Output, ...]:
    """What every training writes."""
    files = Output("model.safetensors", feeds=True), Output("config.json", feeds=True)
    return (*files, *outputs, Output("curves", where="curves", plot=plot))


_MEASURED = Output("metrics.json", metrics=True), Output("examples.npz")

STAGES = {
    stage.name: stage
    for stage in (
        Stage(
            "prepare_dataset",
            "published layout to shards with an index",
            "favae.config.dataset:DatasetConfig",
            (Output("shards", folder=True, feeds=True),),
            inputs={},
            cells="{row}",
            gpu=False,
        ),
        Stage(
            "train_autoencoder",
            "FA-VAE, VQ-GAN or an autoencoder of a companion paper on a prepared data set",
            "favae.config.training_kinds:training_config",
            _training(Output("samples.png"), plot="train/l1"),
            inputs={"dataset": "prepare_dataset"},
            cells="{dataset}-{row}",
        ),
        Stage(
            "compute_reference_statistics",
            "feature statistics of real images, once per data set",
            "favae.config.evaluation:ReferenceConfig",
            (Output("statistics", folder=True, feeds=True),),
            inputs={"dataset": "prepare_dataset"},
            cells="{dataset}",
        ),
        Stage(
            "evaluate_reconstruction",
            "a trained autoencoder on the held-out split of a data set, its own or another (zero-shot)",
            "favae.config.evaluation:EvaluationConfig",
            (*_MEASURED, Output("images.csv"), Output("spectrum.csv")),
            inputs={
                "model": "train_autoencoder",
                "dataset": "prepare_dataset",
                "reference": "compute_reference_statistics",
            },
            cells="{model}-on-{dataset}",
        ),
        Stage(
            "tokenize_images",
            "code indices of a data set under a frozen FA-VAE",
            "favae.config.cat:TokenizeConfig",
            (Output("tokens.npz", feeds=True), Output("captions.csv", feeds=True)),
            inputs={"model": "train_autoencoder", "dataset": "prepare_dataset"},
            cells="{model}",
        ),
        Stage(
            "train_cat",
            "text-to-image transformer on tokens",
            "favae.config.cat:CatConfig",
            _training(plot="train/cross_entropy"),
            inputs={"tokens": "tokenize_images"},
            cells="{tokens}",
        ),
        Stage(
            "generate_images",
            "images sampled from held-out captions, compared with real ones",
            "favae.config.cat:GenerateConfig",
            _MEASURED,
            inputs={
                "cat": "train_cat",
                "model": "train_autoencoder",
                "dataset": "prepare_dataset",
                "reference": "compute_reference_statistics",
            },
            cells="{cat}",
        ),
        Stage(
            "make_tables",
            "reported beside reproduced, as CSV, Markdown and LaTeX",
            "favae.config.reporting:TablesConfig",
            (Output("tables", where="report", folder=True),),
            inputs={},
            collects=("evaluate_reconstruction", "generate_images"),
            shared=("published",),
            gpu=False,
            local=True,
        ),
        Stage(
            "make_figures",
            "reconstructions, spectra, curves, samples",
            "favae.config.reporting:FiguresConfig",
            (Output("figures", where="report", folder=True),),
            inputs={},
            collects=("train_autoencoder", "evaluate_reconstruction", "train_cat", "generate_images"),
            gpu=False,
            local=True,
        ),
    )
}
