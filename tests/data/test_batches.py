"""Batches: permutations without replacement that follow from seed and epoch alone."""

import math
from typing import Any

import numpy as np
import pytest

from meden._checks import InputError
from meden.data import batches, epoch_permutation, largest_batch, num_batches, passes


@pytest.mark.parametrize("n", [1, 2, 7, 100])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 1000, "full"])
def test_every_row_comes_once_an_epoch(n: int, batch_size: Any) -> None:
    cut = list(batches(n, batch_size, seed=0, epoch=2))
    assert sorted(np.concatenate(cut).tolist()) == list(range(n))
    size = n if batch_size == "full" else min(n, batch_size)
    assert len(cut) == num_batches(n, batch_size)
    sizes = [len(batch) for batch in cut]
    assert max(sizes) - min(sizes) <= 1 and sizes == sorted(sizes, reverse=True)
    assert n == 1 or size == 1 or min(sizes) > 1
    assert max(sizes) <= size or (size, n % 2, max(sizes)) == (2, 1, 3), "no row is alone in a batch"
    assert (len(cut) - 1) * size < n, "one batch less would not hold all rows"
    assert np.array_equal(np.concatenate(cut), epoch_permutation(n, 0, 2))


def test_epochs_and_seeds_differ_and_recur() -> None:
    orders = {(s, e): tuple(epoch_permutation(50, s, e)) for s in range(5) for e in range(5)}
    assert len(set(orders.values())) == 25
    assert all(tuple(epoch_permutation(50, s, e)) == order for (s, e), order in reversed(orders.items()))


def test_every_row_is_as_likely_first() -> None:
    first = np.bincount([epoch_permutation(5, 0, epoch)[0] for epoch in range(2000)], minlength=5)
    assert abs(first - 400).max() < 5 * math.sqrt(2000 * 0.2 * 0.8)


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, True, "half", None])
def test_bad_batch_sizes(batch_size: Any) -> None:
    with pytest.raises(InputError, match="batch_size must be a whole number of at least 1"):
        num_batches(10, batch_size)


@pytest.mark.parametrize(("n", "batch_size"), [(10, 4), (9, 4), (7, 1), (5, "full"), (3, 8)])
@pytest.mark.parametrize("steps_per_epoch", [1, 2, 3, 5, 8])
def test_epochs_of_any_length_are_pieces_of_one_stream(n: int, batch_size: Any, steps_per_epoch: int) -> None:
    stream = [rows for epoch in range(40) for rows in batches(n, batch_size, seed=3, epoch=epoch)]
    for epoch in range(5):
        own = batches(n, batch_size, seed=3, epoch=epoch, steps_per_epoch=steps_per_epoch)
        wanted = stream[epoch * steps_per_epoch : (epoch + 1) * steps_per_epoch]
        assert len(own) == num_batches(n, batch_size, steps_per_epoch) == steps_per_epoch
        assert [rows.tolist() for rows in own] == [rows.tolist() for rows in wanted]
        assert max(map(len, stream)) == largest_batch(n, batch_size)


def test_batches_know_the_pass_they_are_of() -> None:
    for number, parts in passes(10, 4, seed=0, epoch=2, steps_per_epoch=7):
        assert set(np.concatenate(parts).tolist()) <= set(epoch_permutation(10, 0, number).tolist())
        assert any(np.array_equal(parts[-1], whole) for whole in batches(10, 4, seed=0, epoch=number))


@pytest.mark.parametrize("steps_per_epoch", [0, -1, 1.5, True])
def test_bad_steps_of_an_epoch(steps_per_epoch: Any) -> None:
    with pytest.raises(InputError, match="steps_per_epoch must be a whole number of at least 1"):
        num_batches(10, 4, steps_per_epoch)
