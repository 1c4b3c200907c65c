"""One-hot label maps and instance borders."""

import pytest
import torch

from favae.models.label_maps import instance_edges, label_channels, label_input


def test_each_pixel_has_its_class() -> None:
    labels = torch.tensor([[[0, 2], [1, 2]]], dtype=torch.uint8)
    expected = torch.tensor([[[1.0, 0], [0, 0]], [[0, 0], [1, 0]], [[0, 1], [0, 1]]])
    assert torch.equal(label_input(labels, 3)[0], expected)


def test_unlabelled_pixels_are_refused_a_class_of_their_own_or_none() -> None:
    labels = torch.tensor([[[0, 255]]], dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"class 255; expected 0 to 1.*set dont_care"):
        label_input(labels, 2)
    assert label_input(labels, 2, "channel")[0, :, 0, 1].tolist() == [0, 0, 1]
    assert label_input(labels, 2, "zeros")[0, :, 0, 1].tolist() == [0, 0]
    assert label_channels(2, "channel") == 3 and label_channels(35, edges=True) == 36


@pytest.mark.parametrize("wrong", [3, -1])
def test_a_class_out_of_range_is_named(wrong: int) -> None:
    with pytest.raises(ValueError, match=f"class {wrong}; expected 0 to 2"):
        label_input(torch.tensor([[[0, wrong]]]), 3)


def test_a_vertical_border_over_four_rows_is_eight_pixels() -> None:
    instances = torch.zeros(1, 4, 6, dtype=torch.int32)
    instances[:, :, 3:] = 26001
    edges = instance_edges(instances)
    assert edges.shape == (1, 1, 4, 6) and edges.sum() == 8 and torch.equal(edges[0, 0, :, 2:4], torch.ones(4, 2))


def test_edges_follow_the_classes_as_the_last_channel() -> None:
    labels = torch.zeros(2, 4, 6, dtype=torch.long)
    instances = torch.arange(24).view(1, 4, 6).expand(2, 4, 6)
    maps = label_input(labels, 3, instances_BHW=instances)
    assert maps.shape == (2, label_channels(3, edges=True), 4, 6) and torch.equal(maps[:, 3], torch.ones(2, 4, 6))


def test_maps_that_are_not_class_indices_are_refused() -> None:
    with pytest.raises(ValueError, match=r"torch.float32 of shape \(1, 2, 2\); expected class indices"):
        label_input(torch.zeros(1, 2, 2), 3)
    with pytest.raises(ValueError, match="dont_care 'ignore'; expected one of refuse, channel, zeros"):
        label_input(torch.zeros(1, 2, 2, dtype=torch.uint8), 3, "ignore")  # type: ignore[arg-type]
