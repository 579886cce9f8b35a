"""How often, with Wilson's interval; and knockoff+, against its definition and on noise whose truth is known."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest

from meden.study.stability import copies_for, false_discovery_rates, fewest_told, frequency

Array = NDArray[np.float64]


@pytest.mark.parametrize(("num", "total"), [(0, 10), (3, 10), (10, 10), (1, 2)])
def test_the_interval_of_independent_runs_is_wilsons(num: int, total: int) -> None:
    found = frequency((np.arange(total) < num)[:, None], overlap=0.0)
    expected = binomtest(num, total).proportion_ci(0.95, "wilson")
    assert found.share == num / total
    assert np.allclose([found.low, found.high], [expected.low, expected.high])


def test_folds_that_share_rows_say_less_and_seeds_say_no_more() -> None:
    kept = np.arange(5) < 3
    alone, shared = (frequency(kept[:, None], overlap) for overlap in (0.0, 0.25))
    assert shared.low < alone.low < alone.share < alone.high < shared.high
    assert frequency(np.stack([kept] * 7, axis=1), 0.25) == shared


def selected(weights: Array, rate: float) -> set[int]:
    """The filter of Gimenez and Zou as they define it: the lowest threshold at which the estimate is at most a rate."""
    own, copies = weights[:, 0], weights[:, 1:]
    leads = [weight > other.max() for weight, other in zip(own, copies, strict=True)]
    distance = [sorted(row)[-1] - np.median(sorted(row)[:-1]) for row in weights]
    for limit in sorted(set(distance)):
        below = sum(not lead and d >= limit for lead, d in zip(leads, distance, strict=True))
        above = [place for place, (lead, d) in enumerate(zip(leads, distance, strict=True)) if lead and d >= limit]
        if limit > 0 and above and (1 + below) / copies.shape[1] / len(above) <= rate:
            return set(above)
    return set()


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("rate", [0.05, 0.1, 0.2, 0.5])
def test_columns_of_a_rate_are_those_of_the_filter(copies: int, rate: float) -> None:
    random = np.random.default_rng(copies)
    for _ in range(30):
        weights = np.maximum(random.normal(size=(40, 1 + copies)), 0)  # with ties at 0
        weights[:15, 0] += 2
        assert set(np.flatnonzero(false_discovery_rates(weights) <= rate)) == selected(weights, rate)


@pytest.mark.parametrize("copies", [1, 4])
@pytest.mark.parametrize("num_true", [0, 5, 30])
def test_the_share_of_false_ones_is_at_most_the_rate(copies: int, num_true: int) -> None:
    random, rate, shares, found = np.random.default_rng(num_true), 0.2, [], 0
    for _ in range(400):
        weights = np.abs(random.normal(size=(100, 1 + copies)))
        weights[:num_true, 0] = np.abs(random.normal(3, 1, size=num_true))
        told = false_discovery_rates(weights) <= rate
        shares.append(told[num_true:].sum() / max(1, told.sum()))
        found += told[:num_true].sum()
    assert np.mean(shares) <= rate + 3 * np.std(shares) / np.sqrt(len(shares))
    if num_true == 30:
        assert found > 0.5 * 400 * num_true, "and it finds"


def test_what_weighs_no_more_than_a_copy_does_not_stand_out() -> None:
    weights = np.array([[1.0, 1.0], [0.0, 0.0], [0.5, 0.7], *[[3.0, 0.1]] * 10])
    rates = false_discovery_rates(weights)
    assert rates[:3].tolist() == [1, 1, 1] and (rates[3:] == 0.1).all()


@pytest.mark.parametrize(
    ("num", "rate", "enough"), [(4, 0.2, True), (13, 0.1, True), (5, 0.03, True), (30, 0.05, False)]
)
def test_copies_let_one_column_stand_out_where_they_are_not_too_many(num: int, rate: float, enough: bool) -> None:
    weights = np.zeros((num, 1 + copies_for(num, rate)))
    weights[0, 0] = 1.0
    assert weights[:, 1:].size <= 200
    assert ((false_discovery_rates(weights) <= rate).sum() == 1) == enough
    assert copies_for(10_000, rate) == 1


@pytest.mark.parametrize("copies", [1, 2, 3, 7])
@pytest.mark.parametrize("rate", [0.05, 1 / 49, 0.1, 1 / 3, 0.2, 0.3, 0.5])
def test_fewer_columns_than_said_are_never_told(copies: int, rate: float) -> None:
    least = fewest_told(copies, rate)
    for num in (least - 1, least):
        perfect = np.zeros((60, 1 + copies))
        perfect[:num, 0] = 1.0
        assert (false_discovery_rates(perfect) <= rate).sum() == (num if num == least else 0)
