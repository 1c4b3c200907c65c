"""Paired data sets: published layouts, a user's two folders, and every kind of bad pair."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import maximum_filter, minimum_filter

from favae.data.images import BadImage
from favae.data.label_maps import (
    CELEBAMASK_PARTS,
    FACADES_COLOURS,
    merge_celebamask,
    nearest_colour,
    read_instance_map,
    read_label_map,
)
from favae.data.paired import (
    Pair,
    Part,
    ade20k_pairs,
    celebamask_pairs,
    check_sizes,
    cityscapes_pairs,
    count_pairs,
    edges_to_shoes_pairs,
    facades_pairs,
    folder_pairs,
    side_by_side_pairs,
    split_by_order,
)


def write(path: Path, array: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 8, 3), np.uint8) if array is None else array).save(path)
    return path


def labels(path: Path, *values: int, dtype: type = np.uint8) -> Path:
    return write(path, np.array([values], dtype))


@pytest.mark.parametrize(
    ("read", "condition", "held_out", "split"),
    [(facades_pairs, "right", "val/1", "val"), (edges_to_shoes_pairs, "left", "val/1", "test")],
)
def test_side_by_side_layouts_say_which_half_is_generated(
    tmp_path: Path, read: Callable[[Path], list[Pair]], condition: str, held_out: str, split: str
) -> None:
    for name in ("train/1.png", "train/2.png", "val/1.png"):
        write(tmp_path / name)
    pairs = read(tmp_path)
    assert [p.id for p in pairs] == ["train/1", "train/2", held_out] and pairs[-1].split == split
    assert {p.condition.half for p in pairs} == {condition}
    assert {p.image.half for p in pairs} == {"left", "right"} - {condition}
    assert check_sizes(pairs[0]) == (4, 4)


def test_an_odd_width_and_unknown_directions_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "train" / "1.png", np.zeros((4, 7, 3), np.uint8))
    with pytest.raises(BadImage, match=r"1.png: 7 pixels wide; expected two halves side by side, an even width"):
        check_sizes(facades_pairs(tmp_path)[0])
    with pytest.raises(ValueError, match="direction 'BtoA'; expected 'a_to_b' or 'b_to_a'"):
        side_by_side_pairs(tmp_path, "BtoA")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"absent/train does not exist; put the data set there"):
        facades_pairs(tmp_path / "absent")


def test_two_folders_are_paired_by_name_independent_of_suffixes(tmp_path: Path) -> None:
    for name in ("A/train/1.png", "B/train/1.jpg", "A/val/2.png", "B/val/2.png"):
        write(tmp_path / name)
    pairs = folder_pairs(tmp_path)
    assert [(p.id, p.split) for p in pairs] == [("train/1", "train"), ("val/2", "val")]
    assert pairs[0].condition == Part(tmp_path / "A/train/1.png") and pairs[0].image == Part(tmp_path / "B/train/1.jpg")


def test_folders_without_splits_train(tmp_path: Path) -> None:
    for name in ("masks/a.png", "images/a.jpg", "masks/b.png", "images/b.jpg"):
        write(tmp_path / name)
    assert count_pairs(folder_pairs(tmp_path, "masks", "images")) == {"train": 2, "val": 0, "test": 0}


def test_missing_partners_are_named(tmp_path: Path) -> None:
    for number in range(6):
        write(tmp_path / "A" / f"{number}.png")
    write(tmp_path / "B" / "0.png")
    with pytest.raises(
        ValueError, match=r"5 of 6 pairs have no partner in B: 1, 2, 3, \.\.\.; add the files or remove"
    ):
        folder_pairs(tmp_path)
    write(tmp_path / "B" / "0.jpg")
    with pytest.raises(ValueError, match=r"0\.jpg and .*0\.png have the same name; remove one of them"):
        folder_pairs(tmp_path)


def test_files_beside_the_splits_are_named(tmp_path: Path) -> None:
    for name in ("A/train/1.png", "B/train/1.png", "A/2.png", "B/2.png"):
        write(tmp_path / name)
    with pytest.raises(ValueError, match=r"A/2 is outside train, val and test, where others are; move it"):
        folder_pairs(tmp_path)


def test_different_sizes_are_named_unless_they_are_proportional(tmp_path: Path) -> None:
    condition, image = labels(tmp_path / "1.png", 0, 1), write(tmp_path / "1.jpg", np.zeros((2, 4, 3), np.uint8))
    pair = Pair("1", "train", Part(condition), Part(image))
    with pytest.raises(BadImage, match=r"1.png: 2x1 pixels, but its image 1.jpg has 4x2; expected one size"):
        check_sizes(pair)
    assert check_sizes(pair, "proportional") == (4, 2)
    other = Pair("1", "train", Part(condition), Part(write(tmp_path / "2.jpg", np.zeros((2, 5, 3), np.uint8))))
    with pytest.raises(BadImage, match="expected one aspect ratio"):
        check_sizes(other, "proportional")
    with pytest.raises(BadImage, match=r"3.png: another size than its label map 1.png"):
        instances = labels(tmp_path / "3.png", 0, 1, 2)
        check_sizes(Pair("1", "train", Part(condition), Part(condition), instances))


def test_files_that_are_missing_or_not_images_are_named(tmp_path: Path) -> None:
    text = tmp_path / "1.png"
    text.write_text("no image")
    for path, message in ((text, "not an image"), (tmp_path / "2.png", "missing")):
        with pytest.raises(BadImage, match=message):
            check_sizes(Pair("1", "train", Part(path), Part(path)))


def test_cityscapes_pairs_images_with_label_and_instance_ids(tmp_path: Path) -> None:
    for part in ("train", "val"):
        stem = f"{part}/aachen/aachen_000000_000019"
        write(tmp_path / f"leftImg8bit/{stem}_leftImg8bit.png")
        for kind in ("labelIds", "instanceIds", "color"):
            write(tmp_path / f"gtFine/{stem}_gtFine_{kind}.png")
    train, test = cityscapes_pairs(tmp_path)
    assert train.id == "train/aachen/aachen_000000_000019" and (train.split, test.split) == ("train", "test")
    assert train.instances is not None and train.instances.name.endswith("_instanceIds.png")
    (tmp_path / "gtFine/val/aachen/aachen_000000_000019_gtFine_instanceIds.png").unlink()
    with pytest.raises(ValueError, match="1 of 1 pairs have no partner in instances: aachen/aachen_000000_000019"):
        cityscapes_pairs(tmp_path)


def test_ade20k_pairs_images_with_annotations(tmp_path: Path) -> None:
    for part, short in (("training", "train"), ("validation", "val")):
        write(tmp_path / f"images/{part}/ADE_{short}_00000001.jpg")
        write(tmp_path / f"annotations/{part}/ADE_{short}_00000001.png")
    assert [(p.id, p.split) for p in ade20k_pairs(tmp_path)] == [
        ("training/ADE_train_00000001", "train"),
        ("validation/ADE_val_00000001", "test"),
    ]


def test_splits_by_order() -> None:
    part = Part(Path("x.png"))
    pairs = [Pair(f"{n:02d}", "train", part, part) for n in range(10)][::-1]
    ordered = split_by_order(pairs, 7, 1)
    assert [p.id for p in ordered if p.split == "val"] == ["07"]
    assert count_pairs(ordered) == {"train": 7, "val": 1, "test": 2}
    with pytest.raises(ValueError, match="8 train and 3 val of 10 pairs"):
        split_by_order(pairs, 8, 3)


def test_label_maps_are_indices_of_grey_and_palette_images(tmp_path: Path) -> None:
    grey = labels(tmp_path / "grey.png", 0, 2, 1)
    palette = Image.fromarray(np.array([[0, 2, 1]], np.uint8), mode="P")
    palette.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    palette.save(tmp_path / "palette.png")
    for path in (grey, tmp_path / "palette.png"):
        assert read_label_map(path, 3).tolist() == [[0, 2, 1]]


def test_wrong_label_maps_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadImage, match="16 bits; expected 8-bit class indices"):
        read_label_map(labels(tmp_path / "deep.png", 0, 26001, dtype=np.uint16), 35)
    with pytest.raises(BadImage, match="mode RGB; expected class indices"):
        read_label_map(write(tmp_path / "colour.png"), 35)
    with pytest.raises(BadImage, match="JPEG blurs class indices"):
        read_label_map(labels(tmp_path / "lossy.jpg", 0, 1), 35)
    with pytest.raises(BadImage, match="class 19 in 1 pixels; expected 0 to 18; correct the number of classes"):
        read_label_map(labels(tmp_path / "range.png", 0, 19), 19)
    with pytest.raises(BadImage, match="missing"):
        read_label_map(tmp_path / "absent.png", 19)


def test_255_is_a_class_out_of_range_unless_it_marks_pixels_without_a_class(tmp_path: Path) -> None:
    path = labels(tmp_path / "1.png", 0, 255)
    with pytest.raises(BadImage, match="class 255 in 1 pixels; expected 0 to 18; if 255 marks pixels without a class"):
        read_label_map(path, 19)
    assert read_label_map(path, 19, dont_care=True).tolist() == [[0, 255]]
    with pytest.raises(BadImage, match="class 30"):
        read_label_map(labels(tmp_path / "2.png", 30, 255), 19, dont_care=True)


def test_instance_maps_keep_sixteen_bits(tmp_path: Path) -> None:
    assert read_instance_map(labels(tmp_path / "1.png", 7, 26001, dtype=np.uint16)).tolist() == [[7, 26001]]
    with pytest.raises(BadImage, match="mode RGB; expected instance ids"):
        read_instance_map(write(tmp_path / "2.png"))


def test_colours_are_decoded_to_the_nearest_class() -> None:
    classes = np.arange(12, dtype=np.uint8).reshape(3, 4)
    pixels = np.array(FACADES_COLOURS, np.uint8)[classes]
    noisy = np.clip(pixels.astype(int) + np.random.default_rng(0).integers(-15, 16, pixels.shape), 0, 255)
    assert np.array_equal(nearest_colour(noisy.astype(np.uint8), FACADES_COLOURS), classes)
    with pytest.raises(ValueError, match="expected uint8"):
        nearest_colour(classes, FACADES_COLOURS)


def test_celebamask_s_parts_are_merged_in_their_order(tmp_path: Path) -> None:
    def part(name: str, *on: int) -> None:
        labels(tmp_path / "1" / f"02000_{name}.png", *(255 if column in on else 0 for column in range(5)))

    part("skin", 0, 1, 2, 3)
    part("l_eye", 1)
    part("hair", 3)
    assert merge_celebamask(tmp_path, 2000).tolist() == [[1, 4, 1, CELEBAMASK_PARTS.index("hair") + 1, 0]]
    with pytest.raises(BadImage, match=r"0/00007_skin\.png: no part of image 7 exists"):
        merge_celebamask(tmp_path, 7)


def test_celebamask_pairs_images_with_all_masks_of_their_number(tmp_path: Path) -> None:
    write(tmp_path / "CelebA-HQ-img" / "7.jpg", np.zeros((8, 8, 3), np.uint8))
    for part in ("skin", "hair"):
        labels(tmp_path / "CelebAMask-HQ-mask-anno" / "0" / f"00007_{part}.png", 255)
    (pair,) = celebamask_pairs(tmp_path)
    assert pair.id == "7" and [path.name for path in pair.parts] == ["00007_hair.png", "00007_skin.png"]
    write(tmp_path / "CelebA-HQ-img" / "8.jpg", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="1 of 2 pairs have no partner in CelebAMask-HQ-mask-anno: 8"):
        celebamask_pairs(tmp_path)


def test_real_facades_have_the_published_names_and_twelve_colours(real_data: Path) -> None:
    pairs = facades_pairs(real_data / "raw" / "facades")
    assert count_pairs(pairs) == {"train": 400, "val": 100, "test": 0}
    assert {check_sizes(pair) for pair in pairs} == {(256, 256)}
    assert {p.id for p in pairs if p.split == "train"} == {f"train/{n}" for n in range(1, 401)}
    found = set()
    for pair in pairs[:40]:
        pixels = np.asarray(Image.open(pair.condition.path).convert("RGB"))[:, 256:]
        classes = nearest_colour(pixels, FACADES_COLOURS)
        distance = np.abs(pixels.astype(int) - np.array(FACADES_COLOURS)[classes]).max(2)
        flat = (maximum_filter(pixels, (5, 5, 1)) - minimum_filter(pixels, (5, 5, 1))).max(2) <= 6
        assert distance[flat].max() <= 6  # away from borders, which JPEG blurs
        found |= set(np.unique(classes))
    assert found == set(range(12))


def test_real_edges_are_black_on_white_on_the_left(real_data: Path) -> None:
    pairs = edges_to_shoes_pairs(real_data / "raw" / "edges2shoes")
    assert count_pairs(pairs) == {"train": 100, "val": 0, "test": 20}
    for pair in pairs[:10]:
        assert check_sizes(pair) == (256, 256)
        left = np.asarray(Image.open(pair.condition.path).convert("L"))[:, :256]
        assert 0.005 < (left < 128).mean() < 0.05


def test_real_face_masks_have_nineteen_classes_whose_left_is_the_image_s_right(real_data: Path) -> None:
    pairs = folder_pairs(real_data / "raw" / "celebamask", "masks", "images")
    assert count_pairs(split_by_order(pairs, 700, 100)) == {"train": 700, "val": 100, "test": 100}
    maps = [read_label_map(pair.condition.path, 19) for pair in pairs[:50]]
    assert {check_sizes(pair) for pair in pairs[:50]} == {(512, 512)}
    mean_column = {c: np.mean([np.nonzero(m == c)[1].mean() for m in maps if (m == c).any()]) for c in (4, 5)}
    assert mean_column[4] > 256 > mean_column[5]


def test_real_cityscapes_maps_are_8_bit_labels_and_16_bit_instances(real_data: Path) -> None:
    root = real_data / "raw" / "cityscapes" / "gtFine" / "val"
    label = sorted(root.rglob("*_labelIds.png"))[0]
    instances = label.with_name(label.name.replace("labelIds", "instanceIds"))
    ids = read_instance_map(instances)
    classes = np.where(ids >= 1000, ids // 1000, ids)
    assert np.array_equal(classes, read_label_map(label, 35))
    with pytest.raises(BadImage, match="16 bits"):
        read_label_map(instances, 35)


def test_real_ade20k_has_151_values_and_coco_has_pixels_without_a_class(real_data: Path) -> None:
    pairs = ade20k_pairs(real_data / "raw" / "ade20k" / "ADEChallengeData2016")
    assert count_pairs(pairs) == {"train": 1, "val": 0, "test": 3}
    for pair in pairs:
        check_sizes(pair)
        read_label_map(pair.condition.path, 151)
    coco = sorted((real_data / "raw" / "coco_stuff" / "val_label").iterdir())[0]
    read_label_map(coco, 182, dont_care=True)
    with pytest.raises(BadImage, match="set dont_care"):
        read_label_map(coco, 182)
