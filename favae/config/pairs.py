"""Parameters of paired data sets: an image, and the label map, edges or other image from which it is generated."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from favae.config.base import Positive, Schema

Count = Annotated[int, Field(ge=0)]
ClassIndex = Annotated[int, Field(ge=0, le=255)]


class ImageConditionConfig(Schema):
    """The input is an RGB image: edges, colours of labels, or a photograph."""

    kind: Literal["image"]

    @property
    def channels(self) -> int:
        """Channels of the network's input."""
        return 3

    @property
    def planes(self) -> dict[str, int]:
        """Bytes per pixel in the shards, by what they hold."""
        return {"condition": 3}


class LabelsConditionConfig(Schema):
    """The input is a map of class indices 0 to `classes` - 1, which becomes one channel per class on the device.

    - `dont_care`: what 255 means. `refuse`: the map is bad. `channel`: one more class. `zeros`: no class.
    - `edges`: one more channel, with the borders of instances; needs instance maps.
    - `colours: facades`: the map is an image in the twelve colours of Facades, of which each pixel gets the nearest.
    - `flip_pairs`: left and right classes, exchanged when an image is mirrored.
    """

    kind: Literal["labels"]
    classes: Annotated[int, Field(ge=2, le=255)]
    dont_care: Literal["refuse", "channel", "zeros"] = "refuse"
    edges: bool = False
    colours: Literal["none", "facades"] = "none"
    flip_pairs: tuple[tuple[ClassIndex, ClassIndex], ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if wrong := [pair for pair in self.flip_pairs if max(pair) >= self.classes]:
            raise ValueError(f"flip_pairs has {list(wrong[0])}, but classes are 0 to {self.classes - 1}")
        if self.colours == "facades" and self.classes != 12:
            raise ValueError(f"colours: facades has 12 classes, but classes is {self.classes}")
        return self

    @property
    def channels(self) -> int:
        """Channels of the network's input."""
        return self.classes + (self.dont_care == "channel") + self.edges

    @property
    def planes(self) -> dict[str, int]:
        """Bytes per pixel in the shards, by what they hold."""
        return {"labels": 1} | ({"instances": 2} if self.edges else {})


ConditionConfig = Annotated[ImageConditionConfig | LabelsConditionConfig, Field(discriminator="kind")]


class OrderSplitConfig(Schema):
    """In the order of names, the first `train` pairs are train, the next `val` are val, the rest test."""

    train: Positive
    val: Count


class PairsLayoutConfig(Schema):
    """Pairs of a condition and an image. `form` is how they are published:

    - `facades`, `edges2shoes`: pix2pix's image halves side by side (labels right; edges left);
    - `cityscapes`: `leftImg8bit/<split>/<city>` and `gtFine`, with `edges` also its 16-bit instance ids;
    - `ade20k`: `images` and `annotations` of the scene parsing challenge;
    - `celebamask`: `CelebA-HQ-img/<n>.jpg` and `CelebAMask-HQ-mask-anno/<n // 2000>/<n>_<part>.png`;
    - `side_by_side`: `<train|val|test>/<name>`, two halves, generated in `direction`;
    - `folders`: two folders (`condition_folder`, `image_folder`) with files of the same names.

    A held-out part that is published as the only one is `test`; `val_from_train` pairs are taken out of train for val.
    `order` splits forms without published splits. Sizes of a pair must be equal; `sizes: proportional` accepts one aspect
    ratio.
    """

    kind: Literal["pairs"]
    form: Literal["facades", "edges2shoes", "cityscapes", "ade20k", "celebamask", "side_by_side", "folders"]
    root: str
    condition: ConditionConfig
    direction: Literal["a_to_b", "b_to_a"] = "a_to_b"
    condition_folder: str = "A"
    image_folder: str = "B"
    order: OrderSplitConfig | None = None
    val_from_train: Count = 0
    sizes: Literal["equal", "proportional"] = "equal"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        condition = self.condition
        if isinstance(condition, LabelsConditionConfig) and condition.edges and self.form != "cityscapes":
            raise ValueError("edges: only Cityscapes is published with instance maps; remove edges")
        halves = self.form in ("facades", "edges2shoes", "side_by_side")
        indices = isinstance(condition, LabelsConditionConfig) and condition.colours == "none"
        if halves and indices:
            raise ValueError(f"form {self.form} holds colours, not class indices: use condition image, or set colours")
        if self.order and self.val_from_train:
            raise ValueError("order already gives a val split; remove val_from_train")
        return self
