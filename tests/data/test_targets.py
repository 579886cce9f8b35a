"""Targets and arrays: the task told from values, and what is refused."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from meden._checks import InputError
from meden.data import as_dataset
from meden.data.targets import read_target

RULE = [
    ("strings", ["b", "a", "b", "a"], ("a", "b")),
    ("booleans", [True, False, True, True], (False, True)),
    ("booleans among objects", pd.Series([True, False] * 3, dtype=object), (False, True)),
    ("categories of numbers", pd.Series([1.5, 2.5, 1.5], dtype="category"), (1.5, 2.5)),
    ("unused categories", pd.Series(pd.Categorical(["b", "a"], categories=["c", "b", "a"])), ("a", "b")),
    ("few whole numbers", [3, 1, 3, 1], (1, 3)),
    ("few whole floats", [0.0, 1.0, 0.0, 1.0], (0, 1)),
    ("nullable whole numbers", pd.Series([3, 1, 3, 1], dtype="Int64"), (1, 3)),
    ("twenty values", list(range(20)) * 2, tuple(range(20))),
    ("twenty-one values", list(range(21)) * 2, ()),
    ("whole, less than two rows each", list(range(10)), ()),
    ("fractions", [0.5, 1.5, 0.5, 1.5], ()),
]


@pytest.mark.parametrize(("values", "classes"), [case[1:] for case in RULE], ids=[case[0] for case in RULE])
def test_task_is_told_from_the_target(values: Any, classes: tuple[Any, ...]) -> None:
    target = read_target(pd.Series(values), "y")
    assert target.task == ("classification" if classes else "regression")
    assert target.classes == classes
    assert [type(c) for c in target.classes] == [type(c) for c in classes]
    if classes:
        assert [classes[i] for i in target.labels] == list(values)


def test_task_overrides_the_rule() -> None:
    whole = pd.Series([3, 1, 3, 1])
    assert read_target(whole, "y", task="regression").labels.tolist() == [3.0, 1.0, 3.0, 1.0]
    assert read_target(pd.Series([0.5, 1.5]), "y", task="classification").classes == (0.5, 1.5)


BAD_TARGETS = [
    ([1, 1, 1], None, "at least two different values, got only 1"),
    ([1.0, None, 2.0], None, "got 1 missing of 3; leave those rows out"),
    ([None, None], None, "got 2 missing of 2"),
    ([1.0, np.inf, 2.0], None, "finite values, got 1 infinite"),
    (["a", "b"], "regression", "must hold numbers for task='regression', got 'a'"),
    (pd.to_datetime(["2020-01-01", "2021-01-01"]), None, "labels or numbers, got dates"),
    ([[1], [2]], None, "must hold numbers, strings, booleans or dates"),
    ([1, 2], "clasification", "did you mean 'classification'"),
]


@pytest.mark.parametrize(("values", "task", "said"), BAD_TARGETS)
def test_bad_targets(values: Any, task: str | None, said: str) -> None:
    with pytest.raises(InputError) as caught:
        as_dataset(pd.DataFrame({"x": np.arange(len(values)), "y": values}), target="y", task=task)
    assert said in str(caught.value)


def test_arrays_are_used_as_they_are() -> None:
    x = torch.randn(6, 1, 4, 4)
    data = as_dataset((x, np.array([1.5, 2.0, 2.5, 3.0, 3.5, 4.0])))
    encoder = data.fit_encoder([0, 1])
    rows = np.array([5, 2])
    assert torch.equal(data.features(encoder, rows), x[[5, 2]])
    assert data.targets(encoder, rows).tolist() == [4.0, 2.5]
    assert encoder.decode(torch.tensor([[4.0], [2.5]])).values.tolist() == [4.0, 2.5]
    assert as_dataset((x, torch.randn(6, 3))).num_outputs == 3


TYPES = [
    (np.float64, torch.float32),
    (np.float16, torch.float32),
    (np.uint8, torch.float32),
    (bool, torch.float32),
    (np.int32, torch.int64),
    (">f8", torch.float32),
]


@pytest.mark.parametrize(("given", "used"), TYPES)
def test_array_types(given: Any, used: torch.dtype) -> None:
    x = np.array([[0, 1], [1, 1], [1, 0]]).astype(given)
    x.flags.writeable = False
    tensor = as_dataset((x[::-1], [1.5, 2, 3])).features(
        as_dataset((x[::-1], ["a", "b", "a"])).fit_encoder([0]), [0, 2]
    )
    assert tensor.dtype == used
    assert tensor.tolist() == [[1, 0], [0, 1]]


BAD_PAIRS: list[tuple[Any, Any, str]] = [
    (np.ones((4, 2)), [1, 2, 3], "the same number of rows, got 4 and 3"),
    (pd.DataFrame({"a": [1, 2]}), [1], "the same number of rows, got 2 and 1"),
    (np.array([[1.0, np.nan], [1, 2]]), [1, 2], "1 NaN and 0 infinite"),
    (torch.tensor([[1.0], [-torch.inf]]), [1, 2], "0 NaN and 1 infinite"),
    (np.array([["a"], ["b"]]), [1, 2], "X must hold numbers"),
    (np.ones(3), [1, 2, 3], "two or more dimensions, got (3,)"),
    (np.ones((0, 2)), [], "must have at least one row"),
    (np.ones((2, 2)), torch.tensor([1.0, torch.nan]), "y must hold finite numbers, got 1 NaN"),
    (np.ones((2, 2)), [np.nan, 1.0], "got 1 missing of 2"),
    (np.ones((2, 2)), np.array([[1], [2]]), "y must have shape (n,) for classification, got (2, 1)"),
    (
        np.ones((2, 2)),
        np.array([[1, 2], [3, -1]]),
        "at least two classes in [0, 1048575] (-100 where none counts; numbers to",
    ),
    (np.ones((2, 2)), np.array([[0, 2**40], [3, 4]]), f"must be floating point), got 0 to {2**40}"),
    (np.ones((2, 2)), np.full((2, 2), -100), "must hold at least two classes"),
    (np.ones((2, 2)), np.full((2, 2), 3), "got 3 to 3"),
    (torch.ones(2, 2, dtype=torch.complex64), [1, 2], "real numbers"),
]


@pytest.mark.parametrize(("x", "y", "said"), BAD_PAIRS)
def test_bad_pairs(x: Any, y: Any, said: str) -> None:
    with pytest.raises(InputError) as caught:
        as_dataset((x, y))
    assert said in str(caught.value)


@pytest.mark.parametrize("kind", [np.int64, np.uint8, ">i4", torch.int32])
def test_whole_numbers_of_several_tokens_are_classes(kind: Any) -> None:
    y = np.array([[2, 0, 4], [0, 100, 2], [4, 4, 0]])
    given = torch.as_tensor(y).to(kind) if isinstance(kind, torch.dtype) else y.astype(kind)
    data = as_dataset((np.ones((3, 3), dtype=int), given))
    assert data.task == "classification" and data.num_outputs == 101 and data.classes[:3] == (0, 1, 2)
    assert data.targets(data.fit_encoder([0]), [1, 2]).tolist() == [[0, 100, 2], [4, 4, 0]]
    assert as_dataset((np.ones((3, 3)), given), task="regression").labels.dtype == np.float64


def test_tokens_that_do_not_count_have_no_place_among_the_classes() -> None:
    data = as_dataset((np.ones((2, 2), dtype=int), np.array([[1, -100], [0, 1]])))
    assert data.classes == (0, 1) and data.labels.tolist() == [[1, -100], [0, 1]]
    weighed = data.fit_encoder([0]).target.weigh(torch.tensor([[1, -100], [0, 1]]), torch.tensor([1.0, 3.0]))
    assert weighed.tolist() == [[[0, 1], [0, 0]], [[3, 0], [0, 3]]]


def test_a_frame_and_a_series_meet_by_position() -> None:
    x = pd.DataFrame({"a": [1.0, 2.0, 3.0]}, index=[10, 11, 12])
    data = as_dataset((x, pd.Series(["u", "v", "u"], index=[7, 8, 9], name="label")))
    assert data.target == "label"
    assert data.labels.tolist() == [0, 1, 0]


def test_a_dataset_passes_unchanged_and_takes_no_settings() -> None:
    data = as_dataset("iris")
    assert as_dataset(data) is data
    with pytest.raises(InputError, match="must not be given for a Dataset"):
        as_dataset(data, task="classification")


def test_probabilities_are_a_softmax_and_frames_tell_them() -> None:
    data = as_dataset((np.eye(3), ["b", "a", "b"]))
    outputs = torch.tensor([[2.0, 1.0], [0.0, 3.0]])
    told = data.fit_encoder([0, 1, 2]).decode(outputs)
    np.testing.assert_allclose(told.probabilities, torch.softmax(outputs.double(), 1).numpy())
    assert told.values.tolist() == ["a", "b"]
    assert list(told.frame().columns) == ["prediction", "p_a", "p_b"]
    with pytest.raises(InputError, match=r"shape \(n, 2\), got \(2, 3\)"):
        data.fit_encoder([0, 1]).decode(torch.ones(2, 3))
