"""What a reader must know of the training behind a number: its measured step, the selection rule, and whether the GAN had started."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from favae.config.base import Schema
from favae.config.errors import ConfigError
from favae.config.load import validate
from favae.jobs.stages import STAGES
from favae.results.cards import Card, read_card

SUMMARY = "training"  # in the summary of the card of an evaluation
_PREFIX = "train_"
_BEHIND_OTHERS = ("train_autoencoder", "train_segmenter")


class Training(Schema):
    """Facts about the checkpoint that was measured. `gan_start` is None without a GAN, or where its step cannot be known."""

    step: int
    steps: int
    selection: str
    gan: bool = False
    gan_start: int | None = None

    @property
    def text(self) -> str:
        """In a few words: `step 1,200 of 1,200 (last), GAN from step 900`."""
        rule = "best on val" if self.selection == "best" else self.selection
        return f"step {self.step:,} of {self.steps:,} ({rule}){self._gan}"

    @property
    def short(self) -> str:
        """The same for a column."""
        return f"{self.step:,}, {self.selection}{self._gan.replace(' from step', ' from')}"

    @property
    def _gan(self) -> str:
        if not self.gan:
            return ""
        if self.gan_start is None:
            return ", GAN from a step that is not known here"
        return f", GAN from step {self.gan_start:,}" if self.step > self.gan_start else ", before the GAN started"


def facts_of(card: Card, images: int | None) -> Training | None:
    """Facts of a training from its card; `images` is the size of its training split. None where the card does not say them.

    A card of a time when GANs were selected on val may not name the rule; then an earlier step than the last tells it.
    """
    try:
        config: Any = validate(STAGES[card.stage].load_config(), card.parameters, card.stage)
        step, steps = int(card.summary["best_step"]), int(card.summary["steps"])
    except (ConfigError, KeyError):
        return None
    selection = "best" if step < steps else config.training.selection
    adversarial = getattr(getattr(config, "objective", None), "adversarial", None)
    if adversarial is None or not getattr(adversarial, "weight", 1):
        return Training(step=step, steps=steps, selection=selection)
    start = _start(config, images)
    return Training(step=step, steps=steps, selection=selection, gan=True, gan_start=start)


def _start(config: Any, images: int | None) -> int | None:
    if not hasattr(config.objective.adversarial, "start"):  # pix2pix, SPADE and StyleGAN2: from the first step
        return 0
    counted = config.objective.adversarial.start.unit == "epochs"  # the only length that depends on the data set
    return None if counted and images is None else config.adversarial_start(images or 0)


def training_behind(inputs: Mapping[str, Any], locate: Callable[[Path], Path]) -> Training | None:
    """Facts of the last training among the cards that a result read; `locate` says where a card of `data/` lies.

    None if there is none, or its card is not here.
    """
    trained = [Path(name) for name in inputs if Path(name).parts[-3].startswith(_PREFIX)]
    if not trained:
        return None
    # Of two, the one that made the images: a text-to-image transformer, not the autoencoder of its codes; a generator, not
    # the segmenter that scores it.
    path = max(trained, key=lambda name: (name.parts[-3] not in _BEHIND_OTHERS, name.as_posix()))
    try:
        card = read_card(locate(path))
        return facts_of(card, _images(card, locate))
    except (FileNotFoundError, ValueError):
        return None


def _images(card: Card, locate: Callable[[Path], Path]) -> int | None:
    for name in card.inputs:
        if Path(name).parts[-3] == "prepare_dataset":
            try:
                return int(read_card(locate(Path(name))).summary["counts"]["train"])
            except (FileNotFoundError, ValueError, KeyError):
                return None
    return None
