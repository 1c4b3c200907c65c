"""Linear decay of the learning rate: values of the official schedules."""

import pytest
import torch

from favae.training.decay import linear_decay


@pytest.mark.parametrize(
    ("lr_step", "expected"),
    [
        ("before", {1: 1, 99: 1, 100: 0.9901, 199: 0.0099, 200: 0}),
        ("after", {1: 1, 100: 1, 101: 0.9901, 200: 0.0099}),
        ("spade", {1: 1, 101: 1, 102: 0.99, 200: 0.01}),
    ],
)
def test_factors_of_the_three_official_schedules(lr_step: str, expected: dict[int, float]) -> None:
    for epoch, factor in expected.items():
        assert linear_decay(epoch, 100, 100, lr_step) == pytest.approx(factor, abs=5e-5)  # type: ignore[arg-type]
    assert (linear_decay(200, 100, 100, lr_step) == 0) is (lr_step == "before")  # type: ignore[arg-type]


@pytest.mark.parametrize("lr_step", ["before", "after"])
def test_pix2pix_s_schedules_are_torch_s_lambda_stepped_before_or_after_the_epoch(lr_step: str) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda e: 1.0 - max(0, e + 1 - 5) / (3 + 1))
    for epoch in range(1, 9):
        optimizer.step()
        if lr_step == "before":
            scheduler.step()
        assert optimizer.param_groups[0]["lr"] == pytest.approx(linear_decay(epoch, 5, 3, lr_step))  # type: ignore[arg-type]
        if lr_step == "after":
            scheduler.step()


def test_without_decay_the_rate_is_constant_and_it_is_never_negative() -> None:
    assert (
        linear_decay(1000, 50, 0) == 1 and linear_decay(1000, 100, 100) == 0 and linear_decay(300, 9, 9, "spade") == 0
    )


def test_impossible_schedules_are_refused() -> None:
    with pytest.raises(ValueError, match="epoch 0, constant 1, decay 1"):
        linear_decay(0, 1, 1)
    with pytest.raises(ValueError, match="lr_step 'never'; expected one of before, after, spade"):
        linear_decay(1, 1, 1, "never")  # type: ignore[arg-type]
