"""Rows without features: labels of every kind, numbers, or nothing but how many there are."""

import numpy as np
import pandas as pd
import pytest
import torch

from meden import InputError
from meden.data import make_folds
from meden.data.rows import as_rows


@pytest.mark.parametrize(
    "rows",
    [
        [0, 1, 1, 0],
        np.array([0, 1, 1, 0]),
        torch.tensor([0, 1, 1, 0]),
        pd.Series([0, 1, 1, 0]),
        np.array([0, 1, 1, 0], np.int8),
    ],
)
def test_labels_come_in_any_container(rows):
    found = as_rows(rows)
    assert found.task == "classification" and found.classes == (0, 1) and found.labels.tolist() == [0, 1, 1, 0]
    assert found.inputs.x.shape == (4, 0)


def test_labels_balance_folds_and_groups_stay_whole():
    labels = np.repeat([0, 1], [40, 20])
    for fold in make_folds(as_rows(labels), 4, seed=0):
        assert np.bincount(labels[fold.score]).tolist() == [10, 5]
    groups = np.repeat(np.arange(15), 4)
    for fold in make_folds(as_rows(60, groups=groups), 3, seed=0):
        assert not set(groups[fold.score]) & set(groups[fold.fit])


def test_numbers_and_bare_rows():
    assert as_rows(np.linspace(0, 1, 9)).task == "regression" and as_rows(np.int64(3)).num_rows == 3
    named = as_rows(pd.Series(["a", "b", "a", "b"], name="kind"))
    assert named.target == "kind" and as_rows(3).target == "rows"
    assert as_rows([1, 2, 2, 1], task="regression").task == "regression"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"rows": 1}, "at least 2, got 1"),
        ({"rows": True}, "rows must be labels"),
        ({"rows": np.ones((2, 2))}, r"of shape \(2, 2\)"),
        ({"rows": ["a"]}, "at least 2"),
        ({"rows": [1, None, 2]}, "missing"),
        ({"rows": 5, "task": "regression"}, "task must be None"),
        ({"rows": [0, 1], "task": "ranking"}, "task must be one of"),
        ({"rows": 5, "groups": [1, 2]}, "one label per row"),
    ],
)
def test_what_is_no_row_is_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        as_rows(**arguments)
