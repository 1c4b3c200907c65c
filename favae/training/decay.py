"""Linear decay of a learning rate by epoch (pix2pix, SPADE)."""

from typing import Literal, get_args

LrStep = Literal["before", "after", "spade"]


def linear_decay(epoch: int, constant: int, decay: int, lr_step: LrStep = "before") -> float:
    """Factor on the learning rate in an epoch: 1 at first, then linearly down.

    Args:
        epoch: from 1.
        constant: epochs at the full rate.
        decay: epochs of decay after them; 0 for none.
        lr_step: when the schedule is advanced. "before" each epoch (pix2pix's code of 2021): with 100 constant and 100
            decay epochs, the factor is .9901 in epoch 100 and exactly 0 in epoch 200. "after" each epoch (its older
            code): epoch 101 has .9901, epoch 200 .0099. "spade": epoch 101 has 1, epoch 102 .99, epoch 200 .01.

    Raises:
        ValueError: epoch < 1, a negative length, or unknown `lr_step`.
    """
    if epoch < 1 or constant < 0 or decay < 0:
        raise ValueError(
            f"linear decay got epoch {epoch}, constant {constant}, decay {decay}; expected at least 1, 0, 0"
        )
    if lr_step not in get_args(LrStep):
        raise ValueError(f"linear decay got lr_step {lr_step!r}; expected one of {', '.join(get_args(LrStep))}")
    if decay == 0:
        return 1.0
    if lr_step == "spade":
        return max(0.0, 1.0 - max(0, epoch - 1 - constant) / decay)
    steps = epoch if lr_step == "before" else epoch - 1
    return max(0.0, 1.0 - max(0, steps + 1 - constant) / (decay + 1))
