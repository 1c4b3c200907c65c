"""Top-k, top-p and Gumbel-max sampling: set sizes, boundaries, frequencies."""

import numpy as np
import pytest
import torch

from favae.models.sampling import sample_codes, top_k_filter, top_p_filter


def kept(logits: torch.Tensor) -> list[int]:
    return logits.isfinite().nonzero().flatten().tolist()


@pytest.mark.parametrize(("k", "size"), [(1, 1), (3, 3), (10, 10), (99, 10), (None, 10)])
def test_top_k_keeps_exactly_the_k_largest(k, size):
    logits = torch.randn(4, 10, generator=torch.Generator().manual_seed(0))
    result = top_k_filter(logits, k)
    for row, original in zip(result, logits, strict=True):
        assert kept(row) == sorted(original.argsort(descending=True)[:size].tolist())
        assert torch.equal(row[row.isfinite()], original[row.isfinite()])


def test_top_k_breaks_ties_to_exactly_k():
    assert len(kept(top_k_filter(torch.zeros(10), 4))) == 4


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        (0.01, [2]),  # the most probable code stays however small p
        (0.45, [2]),
        (0.55, [0, 2]),  # the code that crosses p stays
        (0.85, [0, 2, 3]),
        (1.0, [0, 1, 2, 3]),
        (None, [0, 1, 2, 3]),
    ],
)
def test_top_p_keeps_the_smallest_set_above_p(p, expected):
    logits = torch.tensor([0.3, 0.05, 0.5, 0.15]).log()
    assert kept(top_p_filter(logits, p)) == expected


def test_top_p_needs_to_exceed_p_not_to_reach_it():
    logits = torch.tensor([0.5, 0.25, 0.25]).log()
    assert len(kept(top_p_filter(logits, 0.5))) == 2


def test_top_p_is_relative_to_what_top_k_left():
    logits = torch.tensor([0.4, 0.3, 0.2, 0.1]).log()
    assert kept(top_p_filter(top_k_filter(logits, 2), 0.6)) == [0, 1]  # 0.4 / 0.7 < 0.6
    assert kept(top_p_filter(top_k_filter(logits, 2), 0.5)) == [0]


def test_top_p_set_sizes_in_a_batch_against_numpy():
    logits = torch.randn(50, 40, generator=torch.Generator().manual_seed(0)) * 3
    sizes = top_p_filter(logits, 0.9).isfinite().sum(-1).numpy()
    probability = np.sort(logits.double().softmax(-1).numpy())[:, ::-1]
    assert (sizes == 1 + (probability.cumsum(-1) <= 0.9).sum(-1)).all()
    assert len(set(sizes)) > 5


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_sampling_frequencies_are_the_softmax(temperature):
    probability = np.array([0.6, 0.3, 0.1, 0.0])
    logits = torch.tensor(probability, dtype=torch.float32).log().expand(40_000, -1)
    codes = sample_codes(logits, temperature=temperature, generator=torch.Generator().manual_seed(0))
    frequency = torch.bincount(codes, minlength=4).numpy() / 40_000
    expected = probability ** (1 / temperature)
    np.testing.assert_allclose(frequency, expected / expected.sum(), atol=0.012)  # 5 standard deviations
    assert frequency[3] == 0


def test_temperature_zero_takes_the_largest():
    logits = torch.randn(5, 9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(sample_codes(logits, temperature=0.0), logits.argmax(-1))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: top_k_filter(x, 0), "top_k is 0"),
        (lambda x: top_p_filter(x, 0.0), "top_p is 0.0"),
        (lambda x: top_p_filter(x, 1.5), "top_p is 1.5"),
        (lambda x: sample_codes(x, temperature=-1.0), "temperature is -1.0"),
    ],
)
def test_options_out_of_range_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call(torch.zeros(2, 3))
