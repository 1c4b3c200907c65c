"""The inputs of a job, by their roles in the grid."""

from pathlib import Path

import torch

from favae.config.dataset import DatasetConfig, Split
from favae.config.load import validate
from favae.config.pairs import LabelsConditionConfig, PairsLayoutConfig
from favae.config.training import TrainingConfig
from favae.data.batches import TrainingBatches
from favae.data.dataset import PreparedSplit, has_split
from favae.data.tokens import TokenSplit
from favae.evaluation.frechet import FeatureStatistics, load_reference
from favae.inference.export import TextToImage, load_any_autoencoder, load_autoencoder, load_text_to_image
from favae.inference.generate import TrainedGenerator, load_generator, load_segmenter
from favae.jobs.grid import Job
from favae.models import FAVAE, Autoencoder
from favae.models.segmenter import Segmenter
from favae.results.cards import read_card
from favae.runtime import paths
from favae.training.distributed import Ranks
from favae.training.gan import TrainingData


class Inputs:
    """Opens the inputs of `job`. Each method raises KeyError if the job's stage has no such role.

    For missing or damaged files, methods raise FileNotFoundError or ValueError with a message that names the file.
    """

    def __init__(self, job: Job) -> None:
        self._cards = {role: job.inputs[role] for role in job.roles}

    def split(self, name: Split) -> PreparedSplit:
        """A split of the data set."""
        return PreparedSplit(self._shards, name)

    def split_if_any(self, name: Split) -> PreparedSplit | None:
        """A split of the data set, or None if the data set has no such split."""
        return self.split(name) if has_split(self._shards, name) else None

    @property
    def counts(self) -> dict[str, int]:
        """Number of images in each split of the data set."""
        return read_card(self._cards["dataset"]).summary["counts"]

    @property
    def dataset(self) -> DatasetConfig:
        """The parameters with which the data set was prepared."""
        card = self._cards["dataset"]
        return validate(DatasetConfig, read_card(card).parameters, str(card))

    def tokens(self, name: Split) -> TokenSplit:
        """Code indices and captions of a split."""
        return TokenSplit(self._folder("tokens"), name)

    def model(self, device: torch.device) -> Autoencoder:
        """The trained autoencoder, of any kind."""
        return load_any_autoencoder(self._folder("model"), device)

    def tokenizer(self, device: torch.device) -> FAVAE:
        """The trained autoencoder, which must have a codebook."""
        return load_autoencoder(self._folder("model"), device)

    def generator(self, device: torch.device) -> TrainedGenerator:
        """The trained generator: pix2pix, SPADE or StyleGAN2."""
        return load_generator(self._folder("model"), device)

    def segmenter(self, device: torch.device) -> Segmenter:
        """The trained segmenter."""
        return load_segmenter(self._folder("segmenter"), device)

    def text_to_image(self, device: torch.device) -> TextToImage:
        """The trained CAT with its text encoder."""
        return load_text_to_image(self._folder("cat"), device)

    def reference(self, images: str) -> dict[str, FeatureStatistics]:
        """Feature statistics, by feature network, of the real images of a split or of `all`."""
        return load_reference(self._folder("reference") / paths.STATISTICS, images)

    @property
    def _shards(self) -> Path:
        return self._folder("dataset") / paths.SHARDS

    def _folder(self, role: str) -> Path:
        return self._cards[role].parent


def conditioned_batches(inputs: Inputs, training: TrainingConfig, ranks: Ranks) -> tuple[TrainingData, TrainingBatches]:
    """Splits and training batches of images with their conditions, if the data set has any."""
    dataset, train = inputs.dataset, inputs.split("train")
    condition = dataset.layout.condition if isinstance(dataset.layout, PairsLayoutConfig) else None
    batches = TrainingBatches(
        train,
        ranks.share(training.batch_size),
        training.seed,
        ranks.rank,
        ranks.world_size,
        augment=training.augment,
        crop=dataset.image_size if dataset.train_size else None,
        flip_pairs=condition.flip_pairs if isinstance(condition, LabelsConditionConfig) else (),
    )
    return TrainingData(train, inputs.split_if_any("val"), condition, dataset.stored_size("val")), batches
