"""Scores of label maps, and the segmenter: closed forms, and learning coloured squares."""

import math

import pytest
import torch
from torch import Tensor

from favae.config.pairs import LabelsConditionConfig
from favae.config.segmentation import SegmenterConfig
from favae.data.batches import Batch
from favae.evaluation.segmentation import Confusion
from favae.models.segmenter import Segmenter
from favae.stages.evaluate_segmentation import CONTROLS, _controls
from favae.training.distributed import Ranks
from favae.training.gan import TrainingData
from favae.training.segmenter import SegmenterTask


def scored(predicted: Tensor, labels: Tensor, classes: int) -> Confusion:
    confusion = Confusion(classes)
    for p, t in zip(predicted.split(2), labels.split(2), strict=True):
        confusion.update(p, t)
    return confusion


def test_equal_maps_score_1_and_absent_classes_are_left_out() -> None:
    labels = torch.tensor([[[0, 1], [1, 3]]] * 3)
    confusion = scored(labels, labels, 5)
    assert confusion.miou == confusion.accuracy == 1 and confusion.n == 3
    assert [math.isnan(iou) for iou in confusion.iou_K.tolist()] == [False, False, True, False, True]


def test_a_shifted_stripe_has_its_closed_form() -> None:
    """Stripe of 4 of 16 columns shifted by 1: intersection 3, union 5; background 11 of 13."""
    labels = torch.zeros(2, 8, 16, dtype=torch.int64)
    labels[:, :, 4:8] = 1
    confusion = scored(labels.roll(1, 2), labels, 2)
    assert confusion.miou == pytest.approx((3 / 5 + 11 / 13) / 2) and confusion.accuracy == pytest.approx(14 / 16)


def test_unknown_pixels_count_as_wrong_in_the_including_accuracy() -> None:
    labels = torch.zeros(1, 4, 4, dtype=torch.uint8)
    labels[:, 0] = 255
    confusion = scored(torch.zeros(1, 4, 4, dtype=torch.int64), labels, 2)
    assert confusion.accuracy == 1 and confusion.accuracy_including == 0.75


def test_the_mean_iou_of_a_set_is_that_of_its_summed_counts() -> None:
    generator = torch.Generator().manual_seed(0)
    predicted, labels = (torch.randint(0, 4, (6, 8, 8), generator=generator) for _ in range(2))
    sets = [(predicted == c, labels == c) for c in range(4)]
    by_hand = [float((p & t).sum() / (p | t).sum()) for p, t in sets]
    assert scored(predicted, labels, 4).miou == pytest.approx(sum(by_hand) / 4)
    with pytest.raises(ValueError, match="got predictions"):
        Confusion(4).update(predicted, labels[:2])


def test_the_segmenter_keeps_the_size_and_has_the_stated_number_of_parameters() -> None:
    network = Segmenter(19)
    assert network(torch.zeros(2, 3, 32, 48)).shape == (2, 19, 32, 48)
    assert sum(p.numel() for p in network.parameters()) == 1_105_675
    with pytest.raises(ValueError, match="multiples of 16: use fewer levels"):
        network(torch.zeros(2, 3, 40, 40))
    with pytest.raises(ValueError, match="levels"):
        Segmenter(3, levels=0)


class Squares:
    """Two classes that colour tells apart, with a border without a class."""

    def __init__(self, count: int) -> None:
        labels = (torch.rand(count, 1, 16, 16, generator=torch.Generator().manual_seed(0)) > 0.5).to(torch.uint8)
        labels = labels[:, :, ::4, ::4].repeat_interleave(4, 2).repeat_interleave(4, 3)
        self.planes_BCHW = torch.cat([labels * 200 + 20, labels * 30 + 90, 255 - labels * 90, labels], 1)
        self.planes_BCHW[:, 3, 0] = 255
        self.planes = {"image": 3, "labels": 1}

    def __len__(self) -> int:
        return len(self.planes_BCHW)

    def stored(self, rows: list[int]) -> Tensor:
        return self.planes_BCHW[list(rows)]


def test_it_learns_to_tell_colours_apart() -> None:
    training = {
        "seed": 0,
        "batch_size": 4,
        "length": "1 step",
        "validate_every": "1 step",
        "checkpoint_every": "1 step",
    }
    tree = {"model": {"classes": 2, "base_channels": 4, "levels": 1}, "lr": 0.01, "training": training}
    config, split = SegmenterConfig.model_validate(tree), Squares(8)
    torch.manual_seed(0)
    condition = LabelsConditionConfig(kind="labels", classes=2, dont_care="zeros")
    data = TrainingData(split, split, condition)  # type: ignore[arg-type]
    task = SegmenterTask(config, data, Ranks(0, 1, torch.device("cpu")))
    before = task.validate()["miou"]
    stored = split.stored(list(range(8)))
    for step in range(30):
        task.train_step(Batch(stored[:, :3], [], [], stored[:, 3:]), step)  # type: ignore[arg-type]
    found = task.validate()
    assert found["miou"] > 0.95 > before and found["objective"] == pytest.approx(1 - found["miou"])
    assert task.sample().shape == (3 * 16, 8 * 16, 3)


def test_controls_are_what_they_are_called() -> None:
    real = torch.rand(3, 3, 8, 8) * 2 - 1
    labels = torch.randint(0, 2, (3, 8, 8), dtype=torch.uint8)
    colours = torch.rand(256, 3)
    found = _controls(real, labels, colours)
    assert tuple(found) == CONTROLS and torch.equal(found["real"], real)
    assert torch.equal(found["other"][1], real[0]) and found["grey"].std(1).max() < 1e-6
    assert torch.allclose(found["blurred"][:, :, 3, 3], real[:, :, 2:5, 2:5].mean((2, 3)), atol=1e-6)
    assert torch.equal(found["mean_colours"][1, :, 2, 3], colours[int(labels[1, 2, 3])])
