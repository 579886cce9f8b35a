"""Folds: a partition, what each option promises, and refusals that say what would do."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import KFold, StratifiedKFold, TimeSeriesSplit

from meden._checks import InputError
from meden.data import Dataset, Fold, as_dataset, holdout, make_folds, splits_hash


def classes_of(sizes: dict[str, int], *, groups: Any = None) -> Dataset:
    labels = np.repeat(list(sizes), list(sizes.values()))
    return as_dataset((np.arange(len(labels), dtype=float)[:, None], labels), groups=groups)


def numbers(n: int, *, groups: Any = None) -> Dataset:
    return as_dataset((np.arange(n, dtype=float)[:, None], np.arange(n) / 3), groups=groups)


GROUPS = np.repeat(np.arange(20), 5)
CASES: dict[str, tuple[Dataset, dict[str, Any]]] = {
    "classes": (classes_of({"a": 70, "b": 25, "c": 5}), {}),
    "numbers": (numbers(101), {}),
    "classes in groups": (classes_of({"a": 60, "b": 40}, groups=GROUPS[::-1] % 7), {}),
    "numbers in groups": (numbers(100, groups=GROUPS), {}),
    "classes in time": (classes_of({"a": 50, "b": 50}), {"order": np.random.default_rng(0).permutation(100)}),
    "numbers in time": (numbers(100), {"order": -np.arange(100)}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stop_fraction", [0, 0.15, 0.5])
def test_every_fold_is_a_partition(case: str, stop_fraction: float) -> None:
    data, options = CASES[case]
    folds = make_folds(data, 5, seed=1, stop_fraction=stop_fraction, **options)
    assert len(folds) == 5
    for fold in folds:
        rows = np.concatenate([fold.fit, fold.stop, fold.score])
        assert len(rows) == len(np.unique(rows))
        assert len(fold.fit)
        assert len(fold.score)
        assert (len(fold.stop) > 0) == (stop_fraction > 0)
        for part in (fold.fit, fold.stop, fold.score):
            assert part.dtype == np.int64
            assert (np.diff(part) > 0).all()
        if data.classes:
            assert len(np.unique(data.labels[fold.fit])) == len(data.classes)
        if "order" not in options:
            assert len(rows) == data.num_rows
    scored = np.concatenate([fold.score for fold in folds])
    assert len(np.unique(scored)) == len(scored)
    assert len(scored) == data.num_rows or "order" in options


@pytest.mark.parametrize("case", CASES)
def test_folds_follow_from_the_seed(case: str) -> None:
    data, options = CASES[case]
    first, again, other = (splits_hash(make_folds(data, 4, seed=s, **options)) for s in (3, 3, 4))
    assert first == again
    assert first != other or "order" in options


def test_the_global_stream_is_neither_read_nor_moved() -> None:
    data, _ = CASES["classes"]
    np.random.seed(0)
    first = splits_hash(make_folds(data, 5, seed=0))
    drawn = np.random.random()
    np.random.seed(0)
    assert drawn == np.random.random()
    assert splits_hash(make_folds(data, 5, seed=0)) == first


def test_scored_parts_are_scikit_learns() -> None:
    data, _ = CASES["classes"]
    seed = int(np.random.SeedSequence((8, 0)).generate_state(1)[0])
    theirs = StratifiedKFold(5, shuffle=True, random_state=seed).split(data.labels, data.labels)
    assert [f.score.tolist() for f in make_folds(data, 5, seed=8)] == [score.tolist() for _, score in theirs]
    data, _ = CASES["numbers"]
    theirs = KFold(5, shuffle=True, random_state=seed).split(data.labels)
    assert [f.score.tolist() for f in make_folds(data, 5, seed=8)] == [score.tolist() for _, score in theirs]


def test_classes_are_balanced_in_every_part() -> None:
    data = classes_of({"a": 800, "b": 200})
    for fold in make_folds(data, 5, seed=0, stop_fraction=0.25):
        assert [len(fold.fit), len(fold.stop), len(fold.score)] == [600, 200, 200]
        assert {float(data.labels[part].mean()) for part in (fold.fit, fold.stop, fold.score)} == {0.2}


@pytest.mark.parametrize("case", ["classes in groups", "numbers in groups"])
def test_groups_are_never_split(case: str) -> None:
    data, _ = CASES[case]
    assert data.groups is not None
    for fold in make_folds(data, 5, seed=0):
        parts = [set(data.groups[part]) for part in (fold.fit, fold.stop, fold.score)]
        assert not any(a & b for a, b in itertools.combinations(parts, 2))


def test_groups_from_a_column_an_array_and_at_the_fold_agree() -> None:
    frame = pd.DataFrame({"x": np.arange(100), "who": [f"p{g}" for g in GROUPS], "y": np.arange(100) / 3})
    column = as_dataset(frame, target="y", groups="who")
    array = as_dataset(frame, target="y", groups=frame["who"], drop=["who"])
    plain = as_dataset(frame, target="y", drop=["who"])
    assert column.feature_names == ("x",)
    hashes = {splits_hash(make_folds(d, 4, seed=0)) for d in (column, array)}
    assert hashes == {splits_hash(make_folds(plain, 4, seed=0, groups=frame["who"]))}
    assert hashes != {splits_hash(make_folds(plain, 4, seed=0))}


@pytest.mark.parametrize("case", ["classes in time", "numbers in time"])
def test_time_only_runs_forward(case: str) -> None:
    data, options = CASES[case]
    order = np.asarray(options["order"])
    folds = make_folds(data, 5, seed=0, **options)
    for fold in folds:
        assert order[fold.fit].max() < order[fold.stop].min()
        assert order[fold.stop].max() < order[fold.score].min()
    in_time = np.argsort(order)
    theirs = [np.sort(in_time[score]).tolist() for _, score in TimeSeriesSplit(5).split(in_time)]
    assert [fold.score.tolist() for fold in folds] == theirs


PANELS = {
    "5 shops, 60 days": (5, 60),
    "7 shops, 10 days": (7, 10),
    "50 shops, 6 days": (50, 6),
    "2 shops, 33 days": (2, 33),
}


@pytest.mark.parametrize("gap", [0, 1])
@pytest.mark.parametrize("panel", PANELS)
def test_no_moment_is_on_both_sides_of_a_cut(panel: str, gap: int) -> None:
    """Days of unequal sizes, shuffled, whose numbers are neither from 0 nor behind each other."""
    shops, days = PANELS[panel]
    random = np.random.default_rng(0)
    day = random.permutation(np.repeat(np.arange(days), random.integers(1, shops + 1, size=days))) * 7 - 3
    num_folds = 3 if gap else 4
    stop_fraction = 0.0 if gap and days == 6 else 0.15
    folds = make_folds(numbers(len(day)), num_folds, seed=0, order=day, gap=gap, stop_fraction=stop_fraction)
    for fold in folds:
        parts = [day[part] for part in (fold.fit, fold.stop, fold.score) if len(part)]
        for past, following in itertools.pairwise(parts):
            between = set(day[(day > past.max()) & (day < following.min())])
            assert past.max() < following.min()
            assert len(between) == gap
    scored = np.concatenate([fold.score for fold in folds])
    assert set(scored) == set(np.flatnonzero(day >= min(day[scored])))


def test_a_gap_is_scikit_learns() -> None:
    folds = make_folds(numbers(30), 4, seed=0, order=range(30), gap=3, stop_fraction=0)
    theirs = TimeSeriesSplit(4, gap=3).split(np.arange(30))
    assert [(f.fit.tolist(), f.score.tolist()) for f in folds] == [(a.tolist(), b.tolist()) for a, b in theirs]


@pytest.mark.parametrize("target", ["numbers", "classes"])
def test_panel_data_keep_both_rules(target: str) -> None:
    shop, day = np.tile(np.arange(20), 30), np.repeat(np.arange(30), 20)
    data = numbers(600) if target == "numbers" else classes_of({"a": 300, "b": 300})
    folds = make_folds(data, 4, seed=0, order=np.random.default_rng(0).permutation(day), groups=shop, gap=0)
    assert len(folds) == 4
    folds = make_folds(numbers(600), 4, seed=0, order=day, groups=shop)
    for fold in folds:
        for past, following in itertools.combinations((fold.fit, fold.stop, fold.score), 2):
            assert day[past].max() < day[following].min()
            assert not set(shop[past]) & set(shop[following])
    assert set(np.concatenate([shop[fold.score] for fold in folds])) == set(range(20))


def test_order_by_a_date_column() -> None:
    days = pd.date_range("2020-01-01", periods=40)[::-1]
    data = as_dataset(pd.DataFrame({"day": days, "name": ["a", "b"] * 20, "y": np.arange(40) / 3}), target="y")
    by_name, by_values = make_folds(data, 3, seed=0, order="day"), make_folds(data, 3, seed=0, order=days)
    assert splits_hash(by_name) == splits_hash(by_values)
    with pytest.raises(InputError, match=r"column of numbers or dates \(day\), got 'name'"):
        make_folds(data, 3, seed=0, order="name")


def test_the_only_row_of_a_class_stays_in_the_fit() -> None:
    data = classes_of({"a": 30, "b": 2, "c": 2})
    for fold in make_folds(data, 2, seed=0):
        assert set(data.labels[fold.fit]) == {0, 1, 2}


@pytest.mark.parametrize("sizes", [{"a": 4, "b": 4}, {"a": 50, "b": 3, "c": 2}, {f"c{i:02d}": 4 for i in range(30)}])
@pytest.mark.parametrize("stop_fraction", [0.01, 0.15, 0.5])
def test_small_classes_always_leave_a_row_to_fit(sizes: dict[str, int], stop_fraction: float) -> None:
    data = classes_of(sizes)
    for seed in range(10):
        for fold in make_folds(data, 2, seed=seed, stop_fraction=stop_fraction):
            assert set(data.labels[fold.fit]) == set(range(len(sizes)))


REFUSED: list[tuple[Dataset, int, dict[str, Any], str]] = [
    (numbers(10), 1, {}, "folds must be a whole number of at least 2, got 1"),
    (numbers(10), 11, {}, "folds must be at most 10 for 10 rows, got 11"),
    (numbers(10), 10, {"order": range(10)}, "folds must be at most 9 for 10 moments, got 10"),
    (numbers(10), 8, {"order": range(10), "gap": 2}, "folds must be at most 7 for 10 moments and gap=2, got 8"),
    (numbers(10), 3, {"order": [0, 1] * 5}, "folds must be at most 1 for 2 moments, got 3"),
    (numbers(10), 2, {"gap": 1}, "gap must be 0 for rows without an order, got 1"),
    (numbers(10), 2, {"order": range(10), "gap": -1}, "gap must be a whole number of at least 0"),
    (numbers(9, groups=[1, 2, 3] * 3), 4, {}, "the number of groups (3), got 4"),
    (classes_of({"a": 4, "b": 3}), 5, {}, "folds must be at most the number of rows of the largest class (4), got 5"),
    (classes_of({"a": 9, "rare": 1}), 2, {}, "at least two classes must have two or more rows"),
    (numbers(10), 2, {"stop_fraction": 0.6}, "stop_fraction must be a finite number in [0, 0.5], got 0.6"),
    (numbers(10), 2, {"seed": -1}, "seed must be a whole number of at least 0"),
    (numbers(10, groups=[0] * 5 + [1] * 5), 2, {"order": range(10), "stop_fraction": 0}, "groups and order must leave"),
    (numbers(10), 2, {"order": range(9)}, "order must have a value for each of 10 rows, got 9"),
    (numbers(10), 2, {"order": [None, *range(9)]}, "got 10 of which 1 are missing"),
    (numbers(10), 2, {"groups": range(9)}, "one label per row (10), got 9"),
    (numbers(10), 9, {"order": range(10)}, "stop_fraction must be 0 for a fold that trains on only 1"),
    (classes_of({"a": 2, "b": 2}), 2, {}, "stop_fraction must leave rows of every class to train on"),
    (numbers(6, groups=[1, 1, 1, 2, 2, 2]), 2, {}, "some to hold out, got 0.15 of 3 rows in 1 groups"),
]


@pytest.mark.parametrize(("data", "folds", "options", "said"), REFUSED)
def test_impossible_folds(data: Dataset, folds: int, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        make_folds(data, folds, **{"seed": 0, **options})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folds_that_are_said_to_work_do() -> None:
    data = classes_of({"a": 30, "b": 70})
    order = np.r_[np.arange(30), np.arange(30, 100)].astype(float)
    order[30] = 26.5  # one b among the first rows, then only from 31 on
    with pytest.raises(InputError, match=r"none of 'b' in fold 1 of 9; folds=2 would work"):
        make_folds(data, 9, seed=0, order=order, stop_fraction=0)
    assert len(make_folds(data, 2, seed=0, order=order, stop_fraction=0)) == 2


RARE = {f"c{i:02d}": 26 + 3 * (i < 3) for i in range(11)} | {"lone": 1, "pair": 2}


@pytest.mark.parametrize("sizes", [RARE, {"a": 30, "b": 4}, {"a": 6, "b": 5, "c": 2, "d": 1, "e": 1}])
@pytest.mark.parametrize("stop_fraction", [0, 0.15, 0.5])
def test_a_rare_class_does_not_decide_the_number_of_folds(sizes: dict[str, int], stop_fraction: float) -> None:
    data = classes_of(sizes)
    for seed in range(5):
        with pytest.warns(UserWarning, match=r"fewer rows than 5 folds .* \((4|2)\)") as said:
            folds = make_folds(data, 5, seed=seed, stop_fraction=stop_fraction)
        assert len(said) == 1
        assert len(folds) == 5
        scored = np.concatenate([fold.score for fold in folds])
        assert len(scored) == len(np.unique(scored))
        rows_of = np.bincount(data.labels)
        assert (np.bincount(data.labels[scored], minlength=len(rows_of)) == np.where(rows_of > 1, rows_of, 0)).all()
        for fold in folds:
            assert set(data.labels[fold.fit]) == set(range(len(sizes)))


def test_a_class_in_one_group_only_is_refused() -> None:
    data = classes_of({"a": 30, "b": 10}, groups=np.r_[np.arange(30) % 6, np.full(10, 6)])
    with pytest.raises(
        InputError, match=r"groups must leave every class .* none of 'b' in fold \d of 3; split without"
    ):
        make_folds(data, 3, seed=0)


def test_holdout() -> None:
    data = classes_of({"a": 60, "b": 40}, groups=GROUPS[::-1] % 7)
    plain = classes_of({"a": 60, "b": 40})
    train, held_out = holdout(plain, 0.9, seed=0)
    assert sorted([*train, *held_out]) == list(range(100))
    assert np.bincount(plain.labels[train]).tolist() == [6, 4]
    assert not np.array_equal(train, holdout(plain, 0.9, seed=1)[0])
    grouped_train, grouped_out = holdout(data, 0.3, seed=0)
    assert data.groups is not None
    assert not set(data.groups[grouped_train]) & set(data.groups[grouped_out])
    assert [len(part) for part in holdout(numbers(10), 0.2, seed=0)] == [8, 2]


@pytest.mark.parametrize("fraction", [0, 1, -0.1, "half", 0.99])
def test_holdout_refuses(fraction: Any) -> None:
    with pytest.raises(InputError, match="fraction must"):
        holdout(classes_of({"a": 6, "b": 4}), fraction, seed=0)


def test_splits_hash_sees_parts_and_their_borders() -> None:
    a, b, none = np.array([0, 1]), np.array([2]), np.array([], dtype=np.int64)
    folds = [Fold(a, b, none), Fold(a, none, b), Fold(b, a, none), Fold(np.array([0, 1, 2]), none, none)]
    assert len({splits_hash([fold]) for fold in folds}) == 4
    assert splits_hash(folds[:2]) != splits_hash(folds[1::-1])


@pytest.mark.parametrize("order", [None, [996, 198, 946, 90, 623, 580, 898, 298]], ids=["at random", "in time"])
@pytest.mark.parametrize("groups", [None, [8, 7, 7, 2, 7, 0, 5, 4]], ids=["rows", "groups"])
def test_folds_of_classes_that_are_all_rarer_than_the_folds(order: Any, groups: Any) -> None:
    x = np.arange(8.0)[:, None]
    data = as_dataset((x, np.array([2, 2, 0, 0, 2, 1, 1, 0])), groups=groups)
    try:
        folds = make_folds(data, 4, seed=0, order=order, stop_fraction=0.0)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert len(folds) == 4


def test_an_order_that_is_none_is_refused() -> None:
    data = as_dataset((np.ones((4, 1)), np.array([0, 1, 0, 1])))
    with pytest.raises(InputError, match="order must hold numbers, dates or sortable strings"):
        make_folds(data, 2, seed=0, order=np.ones(4, dtype=complex))
