"""Rules on a split: each fault planted, and the same split without it."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.model_selection import GroupKFold

from meden import diagnose
from meden._checks import InputError
from meden.data import Fold, as_dataset, make_folds
from meden.diagnosis import Split, split_of

FOLD = Fold(np.arange(60), np.arange(60, 80), np.arange(80, 120))


def inputs(num=120, seed=0):
    return pd.DataFrame(np.random.default_rng(seed).standard_normal((num, 5)))


def found(split):
    return {finding.code: finding for finding in diagnose(split).findings}


def test_honest_splits_of_all_kinds_have_nothing_to_say():
    groups = np.repeat(np.arange(30), 4)
    folds = make_folds(as_dataset("iris"), 5, seed=0)
    assert found(Split(folds=folds)) == {}
    assert found(Split(folds=[FOLD], inputs=inputs(), moments=np.arange(120))) == {}
    for before, score in GroupKFold(5).split(groups, groups=groups):
        assert found(Split(folds=[Fold(before, [], score)], inputs=inputs(), groups=groups)) == {}


def test_stop_rows_that_score_are_told_by_their_ids_in_every_fold():
    some = Split(folds=[Fold(["a", "b"], ["c", "d"], ["d", "e"]), Fold(["a", "c"], ["b"], ["d", "e"])])
    finding = found(some)["stop_rows_scored"]
    assert finding.severity == "error" and finding.value == 1 / 4
    ends = binomtest(1, 4).proportion_ci(method="wilson")
    assert finding.interval == pytest.approx((ends.low, ends.high))
    assert "1 of the 4 scored rows also decide when to stop" in finding.message


def test_stop_rows_that_score_are_told_by_what_they_hold():
    x, y = inputs(), np.arange(120)
    parts = {name: (x.iloc[rows], y[rows]) for name, rows in vars(FOLD).items()}
    assert found(split_of(**parts)) == {}
    assert set(found(split_of(**parts | {"stop": parts["score"]}))) == {"stop_rows_scored"}


def test_parts_that_are_the_same_rows_are_known_in_coarse_tables_too():
    x = pd.DataFrame({"sex": np.array(["f", "m"], dtype=object)[np.arange(120) % 2], "visit": np.arange(120) % 3})
    y = np.arange(120) // 7 % 2
    fit, held_out = (x[:60], y[:60]), (x[60:], y[60:])
    assert found(split_of(fit=fit, stop=(x[30:60], y[30:60]), score=held_out)) == {}
    assert found(split_of(fit=fit, stop=held_out, score=held_out))["stop_rows_scored"].value == 1
    assert found(split_of(fit=fit, score=(fit[0].copy(), fit[1])))["rows_across"].value == 1
    alike = pd.DataFrame({"sex": ["f"] * 60}), np.zeros(60)
    assert found(split_of(fit=alike, score=alike)) == {}


@pytest.mark.parametrize("kind", ["same", "equal", "nearly equal"])
def test_rows_on_both_sides_are_found(kind):
    x = inputs()
    fold = FOLD
    if kind == "same":
        fold = Fold(FOLD.fit, FOLD.stop, np.r_[FOLD.score, 3, 4])
        count = 42
    else:
        x.iloc[[80, 81]] = x.iloc[[3, 4]].to_numpy() + (1e-4 if kind == "nearly equal" else 0.0)
        count = 40
    finding = found(Split(folds=[fold], inputs=x))["rows_across"]
    assert finding.value == pytest.approx(2 / count) and f"{kind} row for 2" in finding.message
    assert kind == "same" or "80 and 3, 81 and 4" in finding.message


def test_torn_groups_are_counted_by_their_rows():
    groups = np.repeat(np.arange(30), 4)
    groups[80] = groups[0]  # a row that scores, of a group that fits
    groups[81:83] = groups[60]  # and two of one that stops
    finding = found(Split(folds=[FOLD], groups=groups))["groups_torn"]
    assert finding.value == 3 / 40 and "2 groups are split" in finding.message
    assert found(Split(folds=[FOLD])) == {}


def test_rows_without_a_group_or_a_moment_are_tied_to_none():
    groups = np.repeat(np.arange(30.0), 4)
    groups[[0, 80]] = np.nan
    moments = np.arange(120.0)
    moments[[0, 80]] = np.nan
    assert found(Split(folds=[FOLD], groups=groups, moments=moments)) == {}
    assert found(Split(folds=[Fold([1], [], [0])], moments=moments)) == {}  # when it was is not known


def test_the_future_must_not_explain_the_past():
    moments = pd.date_range("2026-01-01", periods=120)
    assert found(Split(folds=[FOLD], moments=moments)) == {}
    assert found(Split(folds=[FOLD], moments=[0] * 120)) == {}
    mixed = np.arange(120)
    mixed[[10, 100]] = mixed[[100, 10]]  # a row that scores is as old as one that fits, which now is later
    finding = found(Split(folds=[FOLD], moments=mixed))["later_rows_fit"]
    late = sum(mixed[row] > min(mixed[80:]) for row in range(80))
    assert finding.value == pytest.approx(late / 80)


def test_several_folds_are_counted_together():
    folds = [Fold([0, 1], [], [2, 3]), Fold([2, 3], [], [3, 0])]
    finding = found(Split(folds=folds))["rows_across"]
    assert finding.value == 1 / 4


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"folds": []}, "folds must hold at least one fold, got none"),
        ({"folds": [Fold([], [], [1])]}, "each fold must have rows that fit, got none in fold 0"),
        ({"folds": [Fold([1], [], [])]}, "each fold must have rows that score, got none in fold 0"),
        ({"folds": [FOLD], "inputs": inputs(100)}, "score of fold 0 must be positions from 0 to 99, got "),
        ({"folds": [Fold(["a"], [], ["b"])], "groups": [1, 2]}, "fit of fold 0 must be positions from 0 to 1, got "),
        (
            {"folds": [FOLD], "inputs": inputs(), "target": [1]},
            "inputs, target, .* the same number of rows, got inputs 120, target 1",
        ),
    ],
)
def test_what_is_no_split_is_told_in_one_line(given, message):
    with pytest.raises(InputError, match=f"^{message}"):
        Split(**given)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"fit": 3, "score": 4}, "fit must be a pair .inputs, target., got int"),
        ({"fit": (inputs(), [1])}, "fit must have a target for each of its 120 rows"),
        ({"fit": (inputs()[[0]], np.zeros(120))}, "score must have the columns of fit"),
        ({"fit": (np.zeros(120), np.zeros(120))}, "fit must have inputs of shape"),
    ],
)
def test_parts_that_do_not_fit_are_told_in_one_line(parts, message):
    with pytest.raises(InputError, match=f"^{message}"):
        split_of(**{"score": (inputs(), np.zeros(120))} | parts)


def test_honest_splits_of_many_tables_are_not_called_and_planted_faults_are():
    """The full-size version is benchmarks/honesty_alarms.py."""
    path = Path(__file__).parents[2] / "benchmarks" / "honesty_alarms.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    rounds = [benchmark.one_round(seed) for seed in range(2, 7)]
    assert [alarms for alarms, _ in rounds] == [set()] * 5
    assert all(all(planted.values()) for _, planted in rounds)
