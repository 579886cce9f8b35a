"""Subsets within subsets: nested, balanced, groups whole, the newest first in time."""

import itertools

import numpy as np
import pytest

from meden import InputError, as_dataset
from meden.data.subsets import nested

RANDOM = np.random.default_rng(0)
LABELS = np.repeat([0, 1, 2], [300, 90, 10])[RANDOM.permutation(400)]
X = RANDOM.normal(size=(400, 2)).astype(np.float32)


def of(y: np.ndarray, **more: object) -> object:
    return as_dataset((X[: len(y)], y), task="classification", **more)


def test_each_lies_in_the_next_and_is_like_the_whole() -> None:
    rows = RANDOM.permutation(400)[:350]
    order = nested(of(LABELS), rows, seed=3)
    sizes = (3, 10, 40, 160, 350)
    parts = [order.first(size) for size in sizes]
    assert [len(part) for part in parts] == list(sizes)
    assert all(set(small) < set(large) for small, large in itertools.pairwise(parts))
    assert sorted(parts[-1]) == sorted(rows)
    shares = np.bincount(LABELS[rows]) / len(rows)
    for part in parts:
        counts = np.bincount(LABELS[part], minlength=3)
        assert (counts > 0).all(), "every class from the first on"
        assert (abs(counts - shares * len(part)) < 2.5).all()


def test_the_seed_decides_and_the_order_of_the_rows_does_not_hold() -> None:
    data, rows = of(LABELS), np.arange(400)
    assert (nested(data, rows, seed=1).rows == nested(data, rows, seed=1).rows).all()
    first, other = (set(nested(data, rows, seed=seed).first(40)) for seed in (1, 2))
    assert len(first & other) < 20
    means = [nested(data, rows, seed=seed).first(40).mean() for seed in range(200)]
    assert np.mean(means) == pytest.approx(199.5, abs=5), "a table that is sorted is drawn from everywhere"


def test_groups_stay_whole_and_bring_their_classes_first() -> None:
    groups = np.arange(400) // 8
    y = np.where(groups == 17, 2, groups % 2)
    order = nested(of(y, groups=groups), np.arange(400), seed=0)
    for size in (24, 50, 200, 399):
        part = order.first(size)
        assert size - 8 < len(part) <= size and set(np.bincount(groups[part], minlength=50)) <= {0, 8}
        assert set(y[part]) == {0, 1, 2}
    assert len(order.first(3)) == 8, "the smallest there is"


def test_in_time_the_latest_past_comes_first() -> None:
    day = RANDOM.permutation(np.repeat(np.arange(100), 4))
    order = nested(of(LABELS), np.flatnonzero(day < 80), seed=0, order=day)
    part = order.first(43)
    assert sorted(set(day[part])) == list(range(70, 80)) and len(part) == 40, "moments stay whole"


def test_in_time_groups_stay_whole_too() -> None:
    day, groups = np.arange(400), RANDOM.permutation(np.repeat(np.arange(40), 10))
    order = nested(of(LABELS, groups=groups), np.arange(400), seed=0, order=day)
    part = order.first(30)
    newest = np.array([day[groups == g].max() for g in range(40)])
    assert set(groups[part]) == set(np.argsort(-newest)[:3]) and len(part) == 30


def test_numbers_are_drawn_at_random_and_no_rows_are_refused() -> None:
    y = np.sort(RANDOM.normal(size=400))
    data = as_dataset((X, y))
    means = [y[nested(data, np.arange(400), seed=seed).first(40)].mean() for seed in range(200)]
    assert np.mean(means) == pytest.approx(y.mean(), abs=0.05)
    with pytest.raises(InputError, match="rows must hold at least one position"):
        nested(data, np.array([]), seed=0)
