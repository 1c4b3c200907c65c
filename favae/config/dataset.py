"""Parameters of a prepared data set: which published layout is read, how it is split, and how pictures become pixels.

Splits are always called `train`, `val` and `test`: models are selected on `val`, numbers are reported on `test`. The
official FA-VAE code validates on the test list and keeps the best epoch by it; here the two share no picture. Where a
publication has only two parts, its held-out part is `test` and `val` is taken out of its training part:
`val_from_train` pictures, those whose id has the smallest SHA-256. That needs no list, spreads over classes and people,
and hardly moves when a picture is added. `val_from_train: 0` trains on the whole published part.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from favae.config.base import NonNegative, Positive, Schema, Seed, Side

Split = Literal["train", "val", "test"]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
UpToOne = Annotated[float, Field(gt=0, le=1)]


class ListFilesConfig(Schema):
    """Published lists of file names, one a line (gzip when the name ends in .gz), relative to the raw-data folder."""

    train: str
    test: str


class TilesLayoutConfig(Schema):
    """Tiles of photographs that ship inside scikit-image and scikit-learn; needs no raw data.

    Each picture is cut once into a training region and a held-out band, the band into val and test, with `gap` source
    pixels between regions. Square windows slide inside one region only, so no two splits share a source pixel.

    `windows` are sides as a share of the picture's short side; strides are a share of the window; `held_out` is the
    band's share of the picture's width or height, `val_share` the part of the band that becomes `val`. Tiles whose
    pixels have a standard deviation below `min_std` (of 0..255) show nothing and are left out.
    """

    kind: Literal["tiles"]
    pictures: Annotated[list[str], Field(min_length=1)]
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
    preparation does: 24,183 / 2,993 / 2,824 pictures. `split: lists` reads taming-transformers' 25,000 / 5,000 lists
    (its validation list is `test`; `val` is taken out of train). `split: mm_celebahq` is MM-CelebA-HQ's own: pictures
    0..23,999 train, 24,000..29,999 test (its author, issue 6 of IIGROUP/MM-CelebA-HQ-Dataset). `captions: mm_celebahq`
    are the ten of MM-CelebA-HQ.
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
    `test`: the official code trains on all of the 60,000 and has no third part, so `val` is taken out of them.
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
            raise ValueError("files: present chooses among listed files; split: number lists what is there already")
        return self


class ImageNetLayoutConfig(Schema):
    """ILSVRC-2012: `train/<wnid>/*` (1,281,167) and `val/`, flat or by wnid (50,000, which are `test` here).

    Labels are the index of the wnid among the sorted training folders; a flat `val/` has none. Nobody publishes the
    labels of the official test part, so `val` is taken out of train.
    """

    kind: Literal["imagenet"]
    root: str = "imagenet"
    val_from_train: Count = 10000


class CelebALayoutConfig(Schema):
    """Aligned CelebA: `img_align_celeba/<number>.jpg`.

    `split: test_list` is the Focal Frequency Loss paper's: its published list of 3,000 names (`test_list`, relative to
    `root`) is `test`, every other picture trains (199,599 of 202,599), less `val_from_train`. `split: partition` reads
    CelebA's own `list_eval_partition.txt` (162,770 / 19,867 / 19,962).
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
    """Any folder of pictures, searched recursively.

    `split: subfolders` reads `train/`, `val/`, `test/` (those that exist; any picture outside them is an error).
    `split: hash` deals the pictures of one folder by a seeded SHA-256 of their relative name: `val_share` and
    `test_share` of them are held out, and a picture keeps its split when others come or go. `captions: sidecar` reads
    `<name>.txt` beside each picture, one caption a line.
    """

    kind: Literal["folder"]
    root: str
    split: Literal["subfolders", "hash"] = "subfolders"
    val_share: Share = 0.1
    test_share: Share = 0.1
    seed: Seed = 0
    captions: Literal["sidecar", "none"] = "none"

    @model_validator(mode="after")
    def _train_left(self) -> Self:
        if self.val_share + self.test_share >= 1:
            raise ValueError(f"val_share {self.val_share} + test_share {self.test_share} leave nothing to train on")
        return self


class MNISTLayoutConfig(Schema):
    """MNIST's four idx files, plain or gzip: 60,000 train (less `val_from_train`) and 10,000 test.

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
    | MNISTLayoutConfig,
    Field(discriminator="kind"),
]


class DatasetConfig(Schema):
    """One prepared data set.

    - `resize: squash` resizes both sides to `image_size` and loses the aspect ratio (official FA-VAE, PIL bilinear with
      antialiasing); `center_crop` resizes the short side, then crops the centre (VQ-GAN, RQ-VAE, Focal Frequency Loss).
    - `exif: apply` turns pictures as their EXIF orientation says; `ignore` leaves them as stored (official FA-VAE).
    - `non_rgb: convert` makes RGB (or grey, `channels: 1`) of any other mode and counts it: palettes expanded, 16-bit
      scaled to 8, CMYK by Pillow's formula without colour profiles, transparency composited on white (an opaque alpha
      channel, as in FFHQ, is thereby just dropped). `bad` treats such a picture as a bad image.
    - `on_bad_image: fail` reads everything, reports every bad image, writes no data; `skip` leaves them out and counts.
    - `expected_counts` are compared with what the layout found, before `limit` and before bad images are skipped.
    - `limit` keeps that many pictures of a split: those whose id has the smallest SHA-256.
    - `binarize: threshold` makes each resized pixel black or white, white above half (official STFT-VAE code);
      `sample` makes it white with the probability of its brightness, drawn once by the picture's id, as the fixed
      binarised MNIST of Larochelle and Murray (2011), whose own draw is not public in this form.
    - `shard_rows` pictures go into one `.npy` file.
    - An image of more than `most_megapixels` million pixels is a bad image, refused before it is decoded.
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


def _lists_only_with_split_lists(split: str, lists: ListFilesConfig | None) -> None:
    if (split == "lists") != (lists is not None):
        raise ValueError(f"split: {split} with lists: {lists}; give the two list files exactly when split is 'lists'")
