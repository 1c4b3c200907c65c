"""The stages: what each one reads and writes, and the schema of its parameters. The graph is stated only here.

The rules of the Snakefile and `dvc.yaml` are made from this list (workflow/rules/stages.smk, `favae graph`). A new stage needs
an entry here, its schema in `favae.config`, and a module `favae/stages/<name>.py` with `run(job, context)`.
"""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from favae.runtime import paths

Where = Literal["result", "curves", "report"]


@dataclass(frozen=True)
class StageOutput:
    """A file or folder that a stage writes, in addition to its card and its run record.

    `where` is `result` (the cell's folder), `curves` (a separate CSV file, so that figures need no checkpoint) or `report`
    (`data/<scale>/reports/<name>`, which `favae publish` copies to `reports/<scale>/<name>`). `folder` and `metrics` tell Snakemake
    and DVC the kind of the output. `feeds`: other stages read it. `plot` is the column of a curve that DVC plots over `step`.
    """

    name: str
    where: Where = "result"
    folder: bool = False
    metrics: bool = False
    feeds: bool = False
    plot: str = ""

    def path(self, scale: str, stage: str, cell: str) -> Path:
        """Path of the output; with `{scale}` and `{cell}` as arguments, the pattern of a rule."""
        if self.where == "curves":
            return paths.curves(scale, stage, cell)
        if self.where == "report":
            return paths.report_dir(scale, self.name)
        return paths.result_dir(scale, stage, cell) / self.name

    @property
    def key(self) -> str:
        """Name of the output in a rule: `model.safetensors` is `output.model`."""
        return self.name.partition(".")[0]


@dataclass(frozen=True)
class Stage:
    """One kind of job.

    Args:
        purpose: in a few words, for readers of `dvc.yaml`.
        config: `module:name` of the schema of its parameters, or of a function that chooses the schema. Imported when needed,
            so that planning does not wait for the schemas of other stages.
        inputs: role -> stage; each cell names one cell of that stage per role.
        outputs: files and folders that it writes.
        collects: stages of which all cells are inputs; such a stage has only the cell `all`.
        shared: parameter files that are read as a whole, in addition to recipe and numbers.
        cells: pattern of the names of its cells, from the keys of a group (`params/grid.yaml`).
        gpu: whether it uses a GPU if one is available.
        together: role; short jobs with the same input in this role can share one job of a cluster.
        local: takes seconds; runs on the machine of Snakemake, even if other jobs are sent to a cluster.
        version: part of every content key, so that keys stay what they were. Never raised: whether code changed is found by its
            fingerprint (`favae.fingerprint`).
    """

    name: str
    purpose: str
    config: str
    outputs: tuple[StageOutput, ...]
    inputs: dict[str, str]
    cells: str = "all"
    collects: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    gpu: bool = True
    together: str = ""
    local: bool = False
    version: int = 1

    def load_config(self) -> Any:
        """The schema for `validate`: a class, or a function that chooses one from the parameters."""
        module, name = self.config.split(":")
        return getattr(importlib.import_module(module), name)

    @property
    def resumes(self) -> bool:
        """Whether its jobs are trainings: they save when they are told to stop, and resume from there."""
        return any(output.where == "curves" for output in self.outputs)

    @property
    def feeds(self) -> tuple[StageOutput, ...]:
        """Outputs that other stages read, in addition to the card."""
        return tuple(output for output in self.outputs if output.feeds)


def _training(*outputs: StageOutput, plot: str) -> tuple[StageOutput, ...]:
    """Outputs of a training: model, configuration, learning curves and `outputs`."""
    files = StageOutput(paths.WEIGHTS, feeds=True), StageOutput(paths.MODEL_CONFIG, feeds=True)
    return (*files, *outputs, StageOutput("curves", where="curves", plot=plot))


_MEASURED = StageOutput("metrics.json", metrics=True), StageOutput("examples.npz")

STAGES = {
    stage.name: stage
    for stage in (
        Stage(
            "prepare_dataset",
            "published layout to shards with an index",
            "favae.config.dataset:DatasetConfig",
            (StageOutput("shards", folder=True, feeds=True),),
            inputs={},
            cells="{row}",
            gpu=False,
        ),
        Stage(
            "train_autoencoder",
            "FA-VAE, VQ-GAN or an autoencoder of a companion paper on a prepared data set",
            "favae.config.training_kinds:training_config",
            _training(StageOutput("samples.png"), plot="train/l1"),
            inputs={"dataset": "prepare_dataset"},
            cells="{dataset}-{row}",
        ),
        Stage(
            "compute_reference_statistics",
            "feature statistics of real images, once per data set",
            "favae.config.evaluation:ReferenceConfig",
            (StageOutput("statistics", folder=True, feeds=True),),
            inputs={"dataset": "prepare_dataset"},
            cells="{dataset}",
        ),
        Stage(
            "evaluate_reconstruction",
            "a trained autoencoder on the held-out split of a data set, its own or another (zero-shot)",
            "favae.config.evaluation:EvaluationConfig",
            (*_MEASURED, StageOutput("images.csv"), StageOutput("spectrum.csv")),
            inputs={
                "model": "train_autoencoder",
                "dataset": "prepare_dataset",
                "reference": "compute_reference_statistics",
            },
            cells="{model}-on-{dataset}",
            together="model",
        ),
        Stage(
            "tokenize_images",
            "code indices of a data set under a frozen FA-VAE",
            "favae.config.cat:TokenizeConfig",
            (StageOutput("tokens.npz", feeds=True), StageOutput("captions.csv", feeds=True)),
            inputs={"model": "train_autoencoder", "dataset": "prepare_dataset"},
            cells="{model}",
            together="model",
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
            "images sampled for held-out captions, compared with real images",
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
            "train_generator",
            "pix2pix, SPADE or StyleGAN2 on a prepared data set",
            "favae.config.training_kinds:generator_config",
            _training(StageOutput("samples.png"), plot="train/generator"),
            inputs={"dataset": "prepare_dataset"},
            cells="{dataset}-{row}",
        ),
        Stage(
            "evaluate_generator",
            "images of a trained generator, compared with the real ones of a split",
            "favae.config.evaluation:GeneratorEvaluationConfig",
            (*_MEASURED, StageOutput("images.csv"), StageOutput("spectrum.csv")),
            inputs={
                "model": "train_generator",
                "dataset": "prepare_dataset",
                "reference": "compute_reference_statistics",
            },
            cells="{model}-on-{dataset}",
            together="model",
        ),
        Stage(
            "train_segmenter",
            "a segmenter on the real pairs of a labelled data set, to score generated images",
            "favae.config.segmentation:SegmenterConfig",
            _training(StageOutput("samples.png"), plot="train/cross_entropy"),
            inputs={"dataset": "prepare_dataset"},
            cells="{dataset}",
        ),
        Stage(
            "evaluate_segmentation",
            "labels that the segmenter finds in generated images, compared with their conditions",
            "favae.config.segmentation:SegmentationConfig",
            (_MEASURED[0],),
            inputs={"model": "train_generator", "dataset": "prepare_dataset", "segmenter": "train_segmenter"},
            cells="{model}",
            together="model",
        ),
        Stage(
            "evaluate_captions",
            "whether a thing named in a caption changes what sampled images show",
            "favae.config.cat:CaptionTestConfig",
            (_MEASURED[0], StageOutput("images.csv"), StageOutput("samples.png")),
            inputs={
                "cat": "train_cat",
                "model": "train_autoencoder",
                "dataset": "prepare_dataset",
                "segmenter": "train_segmenter",
            },
            cells="{cat}",
        ),
        Stage(
            "make_tables",
            "published and reproduced numbers, as CSV, Markdown and LaTeX",
            "favae.config.reporting:TablesConfig",
            (StageOutput("tables", where="report", folder=True),),
            inputs={},
            collects=(
                "evaluate_reconstruction",
                "generate_images",
                "evaluate_generator",
                "evaluate_segmentation",
                "evaluate_captions",
            ),
            shared=("published",),
            gpu=False,
            local=True,
            version=4,
        ),
        Stage(
            "make_figures",
            "reconstructions, spectra, curves, samples",
            "favae.config.reporting:FiguresConfig",
            (StageOutput("figures", where="report", folder=True),),
            inputs={},
            collects=(
                "train_autoencoder",
                "evaluate_reconstruction",
                "train_cat",
                "generate_images",
                "train_generator",
                "evaluate_generator",
            ),
            gpu=False,
            local=True,
        ),
    )
}
