"""Noise columns relate to the other columns as their own column does, and tell nothing of the target."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from meden import InputError
from meden.data import as_dataset
from meden.data.columns import Values, missing
from meden.data.knockoffs import gaussian_knockoffs, knockoff_distances, knockoffs, with_noise_columns
from meden.data.tables import Table

Array = NDArray[np.float64]


def neighbours(num: int, share: float) -> Array:
    """Correlations that fall with the distance of columns."""
    place = np.arange(num)
    return share ** np.abs(place[:, None] - place)


@pytest.mark.parametrize("copies", [1, 3])
def test_copies_have_the_covariance_of_the_columns(copies: int) -> None:
    covariance, random = neighbours(6, 0.6), np.random.default_rng(0)
    x = random.multivariate_normal(np.zeros(6), covariance, 100_000)
    distances = knockoff_distances(covariance, copies)
    drawn = gaussian_knockoffs(x, covariance, copies, random)
    together = np.cov(np.concatenate([x, *drawn], axis=1).T)
    between = covariance - np.diag(distances)
    expected = np.block([[covariance if i == j else between for j in range(1 + copies)] for i in range(1 + copies)])
    assert np.abs(together - expected).max() < 0.02
    assert distances.min() > (1 + copies) / copies * np.linalg.eigvalsh(covariance)[0] / 2


def mixed(num_rows: int = 400) -> pd.DataFrame:
    """Columns of all kinds that follow from one number, with missing cells."""
    random = np.random.default_rng(1)
    shared = random.normal(size=num_rows)
    frame = pd.DataFrame({"number": shared + 0.3 * random.normal(size=num_rows)})
    frame["flag"] = shared > 0.2
    frame["pet"] = np.select([shared < -0.4, shared < 0.6], ["dog", "ant"], "cat")  # in no order of letters
    frame["day"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.round(30 * shared), unit="D")
    frame["alone"] = random.exponential(size=num_rows)
    frame.loc[::9, "number"], frame.loc[3::11, "pet"] = np.nan, None
    frame["y"] = random.normal(size=num_rows)
    return frame


def values_of(frame: pd.DataFrame, **options: int) -> tuple[dict[str, Values], list[tuple[str, ...]]]:
    made, names = with_noise_columns(as_dataset(frame, target="y"), **options)
    assert isinstance(made.inputs, Table)
    return dict(made.inputs.values), names


def test_a_copy_holds_the_cells_of_its_column_in_another_order() -> None:
    values, names = values_of(mixed(), copies=2)
    assert len(values) == 15 and names[0] == ("number (noise 1)", "number (noise 2)")
    for own, copies in zip(list(values)[:5], names, strict=True):
        for copy in copies:
            absent = missing(values[own])
            assert (missing(values[copy]) == absent).all()
            assert sorted(values[copy][~absent]) == sorted(values[own][~absent])
            assert (values[copy][~absent] != values[own][~absent]).any()


def as_numbers(column: Values) -> Array:
    """Levels of pets in the order of what they follow from."""
    return np.array([{"dog": 0.0, "ant": 1.0, "cat": 2.0}.get(cell, cell) for cell in column], dtype=np.float64)


def test_copies_relate_to_other_columns_as_their_own_does() -> None:
    values, _ = values_of(mixed(2000))
    frame = pd.DataFrame({name: as_numbers(np.where(missing(v), np.nan, v)) for name, v in values.items()})
    ranks = frame.corr("spearman")
    own = ["number", "flag", "pet", "day", "alone"]
    for a in own:
        for b in set(own) - {a}:
            assert abs(ranks.loc[a, b] - ranks.loc[f"{a} (noise 1)", b]) < 0.12, (a, b)
            assert abs(ranks.loc[a, b] - ranks.loc[f"{a} (noise 1)", f"{b} (noise 1)"]) < 0.15, (a, b)
    assert abs(ranks.loc["alone", "alone (noise 1)"]) < 0.1, "as little of its own column as can be"


def test_the_target_has_no_part_in_it_and_the_seed_decides() -> None:
    frame = mixed(100)
    first, _ = values_of(frame, seed=5)
    other, _ = values_of(frame.assign(y=frame["number"].fillna(0) * 100), seed=5)
    another, _ = values_of(frame, seed=6)
    assert all((first[name] == other[name])[~missing(first[name])].all() for name in first)
    assert any((first[name] != another[name])[~missing(first[name])].any() for name in first)


def test_arrays_count_their_columns_on() -> None:
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    made, names = with_noise_columns(as_dataset((x, x[:, 0])), copies=2)
    assert names == [("x3", "x4"), ("x5", "x6"), ("x7", "x8")] and made.feature_names[-1] == "x8"
    assert torch.equal(made.inputs.x[:, :3], x)  # type: ignore[union-attr]
    assert torch.equal(made.inputs.x[:, 5].sort().values, x[:, 1].sort().values)  # type: ignore[union-attr]
    with pytest.raises(InputError, match="must have columns"):
        with_noise_columns(as_dataset((torch.zeros(4, 2, 2), torch.arange(4.0))))


def test_names_that_look_like_copies_are_left_alone() -> None:
    made, names = with_noise_columns(as_dataset(pd.DataFrame({"a (noise 1)": range(9), "y": range(9)}), target="y"))
    assert names == [("a (noise 1) (noise_ 1)",)] and len(made.feature_names) == 2


@pytest.mark.parametrize("shape", [(30, 80), (60, 3), (40, 1)])
def test_columns_that_are_many_constant_or_the_same(shape: tuple[int, int]) -> None:
    x = np.random.default_rng(0).normal(size=shape)
    columns = [*x.T, x[:, 0], np.zeros(shape[0]), np.full(shape[0], np.nan)]
    for own, (copy,) in zip(columns, knockoffs(columns, 1), strict=True):
        assert np.array_equal(np.sort(copy), np.sort(own), equal_nan=True)


def permuted(columns: list[Array], seed: int) -> list[list[Array]]:
    order = np.random.default_rng(seed).permutation(len(columns[0]))
    return [[column[order]] for column in columns]


def false_share(copies_of: Callable[..., list[list[Array]]], num_sets: int = 25) -> tuple[float, float]:
    """Return the share of false ones and of true ones found at a rate of 0.2, by a lasso on correlated columns."""
    from sklearn.linear_model import lasso_path

    from meden.study.stability import false_discovery_rates

    num_rows, num, num_true = 200, 40, 8
    false, found = [], []
    for seed in range(num_sets):
        random = np.random.default_rng(seed)
        x = random.multivariate_normal(np.zeros(num), neighbours(num, 0.9), num_rows)
        true = random.choice(num, num_true, replace=False)
        y = x[:, true] @ random.choice([-0.6, 0.6], num_true) + random.normal(size=num_rows)
        both = np.column_stack([x, *[copy for (copy,) in copies_of(list(x.T), seed)]])
        _, coefficients, _ = lasso_path(both - both.mean(0), y - y.mean(), alphas=40, eps=1e-2)
        weights = np.abs(coefficients).mean(axis=1).reshape(2, num).T
        told = np.flatnonzero(false_discovery_rates(weights) <= 0.2)
        false.append(len(set(told) - set(true)) / max(1, len(told)))
        found.append(len(set(told) & set(true)) / num_true)
    return float(np.mean(false)), float(np.mean(found))


def test_false_ones_are_as_few_as_allowed_where_permuted_copies_let_many_pass() -> None:
    false, found = false_share(lambda columns, seed: knockoffs(columns, 1, seed))
    assert false < 0.25 and found > 0.4
    assert false_share(permuted)[0] > 0.3, "a permuted copy does not stand beside what the column stands beside"
