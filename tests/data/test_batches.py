"""Batches depend on seed and step only: not on earlier calls, the number of processes, or prefetching."""

import itertools
import threading

import numpy as np
import pytest
import torch

from favae.data.batches import TrainingBatches


def _rows(batches: TrainingBatches, steps: range) -> list[int]:
    return [int(row) for step in steps for row in batches.batch(step).rows]


def test_an_epoch_is_a_permutation_without_the_incomplete_last_batch(prepared):
    batches = TrainingBatches(prepared(), batch_size=3, seed=0)
    assert batches.steps_per_epoch == 3
    for epoch in range(4):
        rows = _rows(batches, range(3 * epoch, 3 * epoch + 3))
        assert len(set(rows)) == 9 and set(rows) <= set(range(10))


def test_every_epoch_and_every_seed_has_another_order(prepared):
    split = prepared()
    orders = {
        tuple(_rows(TrainingBatches(split, 10, seed), range(epoch, epoch + 1)))
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 9


def test_the_order_is_fixed_for_all_versions_and_machines(prepared):
    bits = np.random.Philox(np.random.SeedSequence([5, 0, 2])).random_raw(10)
    expected = sorted(range(10), key=lambda row: int(bits[row]))
    assert _rows(TrainingBatches(prepared(), 5, seed=5), range(4, 6)) == expected


def test_first_places_are_uniform(prepared):
    split = prepared()
    first = [int(TrainingBatches(split, 10, seed).batch(0).rows[0]) for seed in range(2000)]
    counts = np.bincount(first, minlength=10)
    assert ((counts - 200) ** 2 / 200).sum() < 33.7  # chi-squared with 9 degrees of freedom, p = 1e-4


@pytest.mark.parametrize("augment", ["none", "flip"])
def test_a_batch_does_not_depend_on_earlier_calls(prepared, augment):
    split = prepared()
    used = TrainingBatches(split, 3, seed=1, augment=augment)
    for step in (0, 11, 5):
        used.batch(step)
    fresh, again = TrainingBatches(split, 3, seed=1, augment=augment).batch(7), used.batch(7)
    assert torch.equal(fresh.images, again.images) and fresh.captions == again.captions
    assert np.array_equal(fresh.rows, again.rows)


@pytest.mark.parametrize("augment", ["none", "flip"])
def test_processes_together_get_the_batch_of_one_process(prepared, augment):
    split = prepared()
    one = TrainingBatches(split, 4, seed=3, augment=augment)
    two = [TrainingBatches(split, 2, seed=3, rank=rank, world_size=2, augment=augment) for rank in range(2)]
    assert one.steps_per_epoch == two[0].steps_per_epoch == 2
    for step in range(5):
        parts = [batches.batch(step) for batches in two]
        assert torch.equal(torch.cat([p.images for p in parts]), one.batch(step).images)
        assert parts[0].captions + parts[1].captions == one.batch(step).captions


def test_without_augmentation_pixels_are_as_stored(prepared):
    split = prepared()
    batch = TrainingBatches(split, 4, seed=0).batch(2)
    assert torch.equal(batch.images, split.images(batch.rows))


def test_flip_mirrors_about_half_of_the_images_left_to_right(prepared):
    split = prepared()
    batches = TrainingBatches(split, 10, seed=0, augment="flip")
    mirrored = []
    for step in range(60):
        batch = batches.batch(step)
        for x_CHW, stored in zip(batch.images, split.images(batch.rows), strict=True):
            assert torch.equal(x_CHW, stored) or torch.equal(x_CHW, stored.flip(2))
            mirrored.append(not torch.equal(x_CHW, stored))
    assert abs(np.mean(mirrored) - 0.5) < 4 * 0.5 / np.sqrt(600)


def test_captions_alternate_over_epochs(prepared):
    split = prepared()
    batches = TrainingBatches(split, 10, seed=0)
    for step in range(0, 6, 2):
        seen = [
            dict(zip(b.rows.tolist(), b.captions, strict=True)) for b in (batches.batch(step), batches.batch(step + 1))
        ]
        for row in range(10):
            assert {s[row] for s in seen} == set(split.captions(row))
    firsts = [c.endswith("first") for c in batches.batch(0).captions]
    assert any(firsts) and not all(firsts)


def test_a_data_set_without_captions_has_none(prepared):
    split = prepared(layout={"kind": "folder", "root": "images"})
    assert TrainingBatches(split, 2, seed=0).batch(0).captions == []


@pytest.mark.parametrize("prefetch", [0, 1, 4])
def test_prefetching_gives_the_same_batches(prepared, prefetch):
    batches = TrainingBatches(prepared(), 3, seed=2, augment="flip", prefetch=prefetch)
    for step, batch in enumerate(itertools.islice(batches.iter_from(5), 7), start=5):
        assert torch.equal(batch.images, batches.batch(step).images)


def test_closing_the_iterator_stops_its_thread(prepared):
    before = threading.active_count()
    iterator = TrainingBatches(prepared(), 3, seed=2).iter_from(0)
    next(iterator)
    assert threading.active_count() == before + 1
    iterator.close()
    assert threading.active_count() == before


def test_an_error_while_prefetching_reaches_the_caller(prepared, monkeypatch):
    batches = TrainingBatches(prepared(), 3, seed=2)

    def fail(step: int) -> None:
        raise OSError(f"disk gone at {step}")

    monkeypatch.setattr(batches, "batch", fail)
    with pytest.raises(OSError, match="disk gone at 4"):
        next(batches.iter_from(4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 11}, "11 on 1 processes needs 11 images, but the train split .* has 10"),
        ({"batch_size": 6, "world_size": 2}, "needs 12 images"),
        ({"batch_size": 0}, "expected batch_size > 0"),
        ({"batch_size": 1, "rank": 1}, "rank 1 of 1"),
        ({"batch_size": 1, "augment": "rotate"}, "unknown augment 'rotate'"),
    ],
)
def test_impossible_batches_are_errors(prepared, options, message):
    with pytest.raises(ValueError, match=message):
        TrainingBatches(prepared(), seed=0, **options)
