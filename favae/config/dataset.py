"""Parameters of a prepared data set: which published layout is read, how it is split, and how images are converted.

Splits are always called `train`, `val` and `test`: models are selected on `val`, numbers are reported on `test`. The
official FA-VAE code selects the best epoch on the test list; here the two sets are disjoint. If a publication has only
two parts, its held-out part is `test`, and `val` is taken out of its training part: the `val_from_train` images whose id
has the smallest SHA-256. This needs no list, covers all classes and people, and changes little when images are added.
`val_from_train: 0` trains on the whole published training part.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from favae.config.base import NonNegative, Positive, Schema, Seed, Side
from favae.config.pairs import PairsLayoutConfig

Split = Literal["train", "val", "test"]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
UpToOne = Annotated[float, Field(gt=0, le=1)]


class DatasetTerms(Schema):
    """Terms of a data set (`_terms` of its parameter file). No result depends on them, only what is shown to others.

    `publish` says which images may appear on pages for others: `all`; `generated`, conditions (label maps, edges) and what is
    generated from them; `nothing`, neither photographs of the data set nor reconstructions of them.
    """

    licence: str
    source: str = ""
    publish: Literal["all", "generated", "nothing"]


class ListFilesConfig(Schema):
    """Published lists of file names, one per line (gzip if the name ends in .gz), relative to the raw-data folder."""

    train: str
    test: str


class TilesLayoutConfig(Schema):
    """Tiles of photographs that are part of scikit-image and scikit-learn; needs no raw data.

    Each photograph is cut into a training region and a held-out band, and the band into val and test, with `gap` source
    pixels between regions. Square windows slide within one region, so no two splits share a source pixel.

    `images` are names of photographs. `windows` are window sides as fractions of the photograph's short side; strides
    are fractions of the window. `held_out` is the band's fraction of the photograph's width or height, `val_share` the
    fraction of the band that becomes `val`. Tiles whose pixels (0..255) have a standard deviation below `min_std` have
    too little content and are left out.
    """

    kind: Literal["tiles"]
    images: Annotated[list[str], Field(min_length=1)]
    windows: Annotated[list[UpToOne], Field(min_length=1)]
    train_stride: UpToOne = 0.4
    held_out_stride: UpToOne = 0.5
    held_out: Share = 0.38
    val_share: Share = 0.4
    gap: Count = 16
    min_std: NonNegative = 6.0


class CelebAHQLayoutConfig(Schema):
    """CelebAMask-HQ: `CelebA-HQ-img/<number>.jpg`, `CelebA-HQ-to-CelebA-mapping.txt`, `celeba-caption/<number>.txt`.

    `split: celeba_partition` joins the mapping with CelebA's `list_eval_partition.txt`, as the official FA-VAE
    preparation does: 24,183 / 2,993 / 2,824 images. `split: lists` reads taming-transformers' 25,000 / 5,000 lists
    (its validation list is `test`; `val` is taken out of train). `split: mm_celebahq` is the split of MM-CelebA-HQ:
    images 0..23,999 train, 24,000..29,999 test (its author, issue 6 of IIGROUP/MM-CelebA-HQ-Dataset).
    `captions: mm_celebahq` reads the ten captions per image of MM-CelebA-HQ. `files: present` leaves out listed images
    whose file is missing.
    """

    kind: Literal["celebahq"]
    root: str = "celebahq"
    split: Literal["celeba_partition", "mm_celebahq", "lists"] = "celeba_partition"
    lists: ListFilesConfig | None = None
    val_from_train: Count = 0
    captions: Literal["mm_celebahq", "none"] = "mm_celebahq"
    files: Literal["listed", "present"] = "listed"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _lists_only_with_split_lists(self.split, self.lists)
        if self.split == "celeba_partition" and self.val_from_train:
            raise ValueError("val_from_train: CelebA's partition has its own val part; remove it or use split: lists")
        return self


class FFHQLayoutConfig(Schema):
    """FFHQ: PNG files named by number, flat or in the thousand folders of the publication.

    `split: number` is the convention 0..59,999 training, 60,000..69,999 validation; `split: json` reads `category` from
    `ffhq-dataset-v2.json`; `split: lists` reads taming-transformers' 60,000 / 10,000 lists. The held-out 10,000 are
    `test`. The official code trains on all 60,000 and has no third part, so `val` is taken out of the 60,000.
    """

    kind: Literal["ffhq"]
    root: str = "ffhq"
    split: Literal["number", "json", "lists"] = "number"
    lists: ListFilesConfig | None = None
    val_from_train: Count = 1000
    files: Literal["listed", "present"] = "listed"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _lists_only_with_split_lists(self.split, self.lists)
        if self.split == "number" and self.files == "present":
            raise ValueError(
                "files: present needs split: json or lists; remove it, as split: number reads existing files"
            )
        return self


class ImageNetLayoutConfig(Schema):
    """ILSVRC-2012: `train/<wnid>/*` (1,281,167) and `val/`, flat or by wnid (50,000, which are `test` here).

    A label is the index of the wnid among the sorted training folders; images of a flat `val/` have no label. The labels
    of the official test part are not public, so `val` is taken out of train.
    """

    kind: Literal["imagenet"]
    root: str = "imagenet"
    val_from_train: Count = 10000


class CelebALayoutConfig(Schema):
    """Aligned CelebA: `img_align_celeba/<number>.jpg`.

    `split: test_list` is the split of the Focal Frequency Loss paper: its published list of 3,000 names (`test_list`,
    relative to `root`) is `test`; all other images (199,599 of 202,599) are `train`, except `val_from_train` of them.
    `split: partition` reads CelebA's own `list_eval_partition.txt` (162,770 / 19,867 / 19,962).
    """

    kind: Literal["celeba"]
    root: str = "celeba"
    split: Literal["test_list", "partition"] = "test_list"
    test_list: str = "ffl_test_3000.txt"
    val_from_train: Count = 1000
    files: Literal["listed", "present"] = "listed"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.split == "partition" and self.val_from_train:
            raise ValueError("val_from_train: CelebA's partition has its own val part; set it to 0 or use test_list")
        return self


class FolderLayoutConfig(Schema):
    """Any folder of images, searched recursively.

    `split: subfolders` reads `train/`, `val/`, `test/` (those that exist; an image outside them is an error).
    `split: hash` assigns each image of one folder to a split by a seeded SHA-256 of its relative name: `val_share` and
    `test_share` of them are held out, and an image keeps its split when others are added or removed.
    `captions: sidecar` reads `<name>.txt` beside each image, one caption per line. `captions: label_maps` says which classes
    of CelebAMask-HQ are in the map `<name>.png` of the folder `label_maps`, relative to the raw-data folder.
    """

    kind: Literal["folder"]
    root: str
    split: Literal["subfolders", "hash"] = "subfolders"
    val_share: Share = 0.1
    test_share: Share = 0.1
    seed: Seed = 0
    captions: Literal["sidecar", "label_maps", "none"] = "none"
    label_maps: str | None = None

    @model_validator(mode="after")
    def _maps_for_captions(self) -> Self:
        if (self.captions == "label_maps") != (self.label_maps is not None):
            raise ValueError(
                f"captions is {self.captions!r} but label_maps is {self.label_maps!r}; captions: label_maps needs their folder"
            )
        return self

    @model_validator(mode="after")
    def _train_left(self) -> Self:
        if self.val_share + self.test_share >= 1:
            raise ValueError(
                f"val_share {self.val_share} + test_share {self.test_share} must be below 1, to leave training images"
            )
        return self


class MNISTLayoutConfig(Schema):
    """MNIST's four idx files, plain or gzip: 60,000 train (`val_from_train` of them become val) and 10,000 test.

    `checksums: official` compares the MD5 of the unzipped files with the published data set; `unchecked` reads any
    data set in the same four files (Fashion-MNIST, KMNIST).
    """

    kind: Literal["mnist"]
    root: str = "mnist"
    val_from_train: Count = 5000
    checksums: Literal["official", "unchecked"] = "official"


LayoutConfig = Annotated[
    TilesLayoutConfig
    | CelebAHQLayoutConfig
    | FFHQLayoutConfig
    | ImageNetLayoutConfig
    | CelebALayoutConfig
    | FolderLayoutConfig
    | MNISTLayoutConfig
    | PairsLayoutConfig,
    Field(discriminator="kind"),
]


class DatasetConfig(Schema):
    """One prepared data set.

    - `resize: squash` resizes both sides to `image_size` and loses the aspect ratio (official FA-VAE, PIL bilinear with
      antialiasing); `center_crop` resizes the short side, then crops the centre (VQ-GAN, RQ-VAE, Focal Frequency Loss).
    - `exif: apply` applies the EXIF orientation; `ignore` leaves images as stored (official FA-VAE).
    - `non_rgb: convert` converts other modes to RGB (or to grey, if `channels: 1`) and counts them: palettes are expanded,
      16 bits scaled to 8, CMYK converted by Pillow's formula without colour profiles, transparency composited on white (so
      an opaque alpha channel, as in FFHQ, is dropped). `bad` treats such an image as a bad image.
    - `on_bad_image: fail` reads everything, reports every bad image and writes no data; `skip` leaves them out and counts
      them.
    - `expected_counts` are compared with what the layout found, before `limit` and before bad images are skipped.
    - `limit` is the number of images to keep of a split: those whose id has the smallest SHA-256.
    - `binarize: threshold` makes each resized pixel white if it is above half, otherwise black (official STFT-VAE code);
      `sample` makes it white with the probability of its brightness, drawn once with the image's id as the seed. This
      follows the fixed binarised MNIST of Larochelle and Murray (2011), whose own draw is not public in this form.
    - `shard_rows` is the number of images per `.npy` file.
    - `image_width` is the width of images that are not square; they are resized to both sides (`squash`).
    - `train_size`: train images are stored with this side, from which training cuts random squares of `image_size`
      (pix2pix: 286 and 256). Images of val and test are stored with `image_size`.
    - `filter` is Pillow's filter for resizing, always antialiased; label maps are sampled at the nearest pixel.
    - An image of more than `most_megapixels` million pixels is a bad image, rejected before it is decoded.
    - `more_training` is a folder of further images, relative to the raw-data folder and searched recursively. All are `train`,
      and none becomes `val`.
    """

    layout: LayoutConfig
    image_size: Side
    channels: Literal[1, 3] = 3
    resize: Literal["squash", "center_crop"] = "squash"
    exif: Literal["apply", "ignore"] = "apply"
    non_rgb: Literal["convert", "bad"] = "convert"
    on_bad_image: Literal["fail", "skip"] = "fail"
    binarize: Literal["none", "threshold", "sample"] = "none"
    expected_counts: dict[Split, Count] | None = None
    limit: dict[Split, Positive] | None = None
    shard_rows: Positive = 8192
    most_megapixels: Annotated[int, Field(gt=0, le=100_000)] = 200
    image_width: Side | None = None
    train_size: Side | None = None
    filter: Literal["bilinear", "bicubic", "lanczos", "box"] = "bilinear"
    more_training: str | None = None

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.image_width is not None and (self.resize != "squash" or self.train_size is not None):
            raise ValueError("image_width: images that are not square need resize: squash and no train_size")
        if self.train_size is not None and self.train_size < self.image_size:
            raise ValueError(f"train_size {self.train_size} is below image_size {self.image_size}; make it larger")
        if isinstance(self.layout, PairsLayoutConfig) and (self.channels, self.binarize) != (3, "none"):
            raise ValueError("pairs are stored as RGB images: remove channels and binarize")
        if self.more_training is not None and isinstance(self.layout, PairsLayoutConfig | TilesLayoutConfig):
            raise ValueError(f"more_training: images cannot be added to {self.layout.kind}; remove it")
        return self

    def stored_size(self, split: Split) -> tuple[int, int]:
        """Height and width of the stored images of a split."""
        side = self.train_size if self.train_size and split == "train" else self.image_size
        return side, self.image_width or side

    @property
    def roots(self) -> list[str]:
        """Folders below the raw-data folder that are read: the layout's first. Empty for the shipped photographs."""
        return [root for root in (getattr(self.layout, "root", None), self.more_training) if root is not None]

    @property
    def planes(self) -> dict[str, int]:
        """Bytes per pixel in the shards, by what they hold: the image first, then its condition, if there is one."""
        condition = self.layout.condition.planes if isinstance(self.layout, PairsLayoutConfig) else {}
        return {"image": self.channels, **condition}


def _lists_only_with_split_lists(split: str, lists: ListFilesConfig | None) -> None:
    if (split == "lists") != (lists is not None):
        raise ValueError(
            f"split is {split!r} but lists is {lists}; split: lists needs two list files, other splits must have none"
        )
