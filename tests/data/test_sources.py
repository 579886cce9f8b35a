"""Rows by number: the same from tensors, a Dataset and its workers; and what a Dataset may not hold."""

import random

import numpy as np
import pytest
import torch
from torch.utils.data import IterableDataset

import meden
from meden.data import DatasetSource, Part, TensorSource

X, Y = torch.arange(24.0).view(12, 2), torch.arange(12) % 3
PARTS = [np.array([5, 0, 11]), range(2, 4), np.array([7])]


class Items:
    """Rows of the tensors above; some replaced, all of them counted."""

    def __init__(self, **replaced):
        self.replaced = {int(name[1:]): item for name, item in replaced.items()}

    def __len__(self):
        return len(Y)

    def __getitem__(self, row):
        return self.replaced.get(row, (X[row], int(Y[row])))


class Noisy(Items):
    """Rows with noise from each of the three global generators."""

    def __getitem__(self, row):
        return torch.tensor([random.random(), np.random.rand(), torch.rand(()).item()]), 0


def read(source, parts=PARTS, seed=0):
    return [(x.tolist(), y.tolist()) for x, y in source.read(parts, seed)]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_dataset_gives_what_tensors_give(num_workers):
    source = DatasetSource(Items(), num_workers=num_workers)
    for parts in (PARTS, PARTS[::-1], [range(12)]):
        next(source.read(PARTS))  # and no more: the next reading has nothing of it
        assert read(source, parts) == read(TensorSource(X, Y), parts)


def test_a_range_of_tensors_is_no_copy():
    ((x, _),) = TensorSource(X, Y).read([range(3, 6)])
    assert x.data_ptr() == X[3].data_ptr()


def test_a_part_counts_its_own_rows():
    part = Part(TensorSource(X, Y), np.array([4, 9, 2]))
    assert len(part) == 3
    assert read(part, [np.array([2, 0]), range(1, 3)]) == read(TensorSource(X, Y), [np.array([2, 4]), np.array([9, 2])])


def test_noise_depends_on_the_seed_and_the_row_alone():
    here, workers = DatasetSource(Noisy()), DatasetSource(Noisy(), num_workers=2)
    rows = read(here, [range(12)])[0][0]
    assert len({tuple(row) for row in rows}) == 12
    assert read(workers, [[3], [8, 1]])[1][0] == [rows[8], rows[1]]
    assert read(workers, [[8]])[0][0] == [rows[8]] != read(workers, [[8]], seed=1)[0][0]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_global_generators_are_left_alone(num_workers):
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    before = torch.rand(()).item(), np.random.rand(), random.random()
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    read(DatasetSource(Noisy(), num_workers=num_workers))
    assert before == (torch.rand(()).item(), np.random.rand(), random.random())


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize(
    ("items", "message"),
    [
        (Items(_11=(torch.zeros(3), 0)), r"got x \(2,\) torch.float32 in item 5 and \(3,\) torch.float32 in item 11"),
        (Items(_7=(torch.zeros(3), 0)), r"got x \(2,\) torch.float32 in item 5 and \(3,\) torch.float32 in item 7"),
        (Items(_7=(torch.zeros(2), 0.5)), r"got y \(\) torch.int64 in item 5 and \(\) torch.float64 in item 7"),
        (Items(_0=torch.zeros(2)), r"item 0 of the Dataset must be a pair \(x, y\), got Tensor"),
        (Items(_0=("a word", 1)), "item 0 x must be a tensor, an array or a number, got str"),
        (Items(_7=(torch.tensor([1.0, torch.nan]), 1)), "item 7 x must be finite, got 1 values"),
    ],
)
def test_bad_items_are_named_in_one_line(items, message, num_workers):
    with pytest.raises(meden.InputError, match=message) as caught:
        read(DatasetSource(items, num_workers=num_workers))
    assert "\n" not in str(caught.value)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(())


class NoLength:
    def __getitem__(self, row):
        return X[row], Y[row]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DatasetSource(NoLength()), "must be map-style, with a length and integer indexing, got NoLength"),
        (lambda: DatasetSource(Stream()), "must be map-style, .* got Stream"),
        (lambda: DatasetSource([]), "must have items, got list of length 0"),
        (lambda: DatasetSource(Items(), num_workers=-1), "num_workers must be a whole number of at least 0"),
    ],
)
def test_what_is_no_dataset(make, message):
    with pytest.raises(meden.InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


class OwnGenerator(Items):
    """Draws from a generator that nobody seeds."""

    def __init__(self):
        super().__init__()
        self.generator = np.random.default_rng(0)

    def __getitem__(self, row):
        x, y = super().__getitem__(row)
        return x + float(self.generator.normal()), y


def test_a_dataset_with_a_generator_of_its_own_is_told_of_once():
    source = DatasetSource(OwnGenerator())
    with pytest.warns(UserWarning, match="item 2 of the Dataset must be the same each time it is read") as said:
        list(source.read([np.array([2, 1])]))
        list(source.read([np.array([0])]))
    assert len(said) == 1


def test_a_dataset_that_draws_from_the_global_generators_is_no_cause_for_worry(recwarn):
    list(DatasetSource(Noisy()).read([np.array([2, 1])]))
    assert not recwarn.list
