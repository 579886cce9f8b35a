"""The target's column of new rows is read as it was in training, or one line says why not."""

import json

import numpy as np
import pandas as pd
import pytest

from meden import InputError, as_dataset
from meden.data import Encoder
from meden.data.labels import LabelColumn

X = np.linspace(0, 1, 8)
COLUMNS = {
    "texts": (["no", "yes"] * 4, ["yes", " no", "yes"], [1, 0, 1]),
    "words for nothing": (["NA", "x"] * 4, ["x", "NA"], [1, 0]),
    "whole numbers": ([1, 2, 1, 2, 3, 3, 3, 1], [3.0, 1], [2, 0]),
    "whole numbers as texts": ([1, 2, 1, 2, 3, 3, 3, 1], ["3", "1"], [2, 0]),
    "booleans": ([True, False] * 4, [True, True, False], [1, 1, 0]),
    "booleans as texts": ([True, False] * 4, ["True", "False"], [1, 0]),
    "categories of numbers": (pd.Categorical([5, 6] * 4), [6, 5], [1, 0]),
    "texts of numbers and others": (["01", "x"] * 4, ["01", "x"], [0, 1]),
    "numbers": (X * 3, [0.5, 2], [0.5, 2.0]),
    "decimal commas": ([f"{x:.3f}".replace(".", ",") for x in X], ["0,5", "1,25"], [0.5, 1.25]),
    "units": ([f"{x:.3f} kg" for x in X], ["0.5 kg", "1 kg"], [0.5, 1.0]),
}


@pytest.mark.filterwarnings("ignore:columns that were read in a special way")
@pytest.mark.parametrize(("trained", "new", "read"), COLUMNS.values(), ids=COLUMNS)
def test_columns_are_read_as_in_training(trained, new, read):
    data = as_dataset(pd.DataFrame({"x": X, "y": trained}), target="y")
    encoder = data.fit_encoder(range(8))
    again = Encoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    assert again == encoder and again.label.name == "y"
    assert again.labels(pd.Series(new)).tolist() == read
    assert again.labels(pd.Series(trained)).tolist() == data.labels.tolist()


def test_arrays_of_numbers_are_taken_as_they_are():
    encoder = as_dataset((np.ones((9, 2)), np.random.default_rng(0).random((9, 3)))).fit_encoder(range(9))
    assert encoder.labels([[1, 2, 3.5]]).tolist() == [[1.0, 2.0, 3.5]]
    with pytest.raises(InputError, match="finite numbers in every row, got another value in row 1"):
        encoder.labels([[1.0, 2, 3], [1, np.nan, 3]])


def encoder_of(labels, **options):
    return as_dataset(pd.DataFrame({"x": X, "y": labels}), target="y", **options).fit_encoder(range(8))


BAD = [
    (["a", "b"] * 4, ["a", "c", "c"], r"labels seen in training \('a', 'b'\), got 'c' \(row 1\), 'c' \(row 2\); leave"),
    ([1, 2] * 4, [1, 7], r"labels seen in training \(1, 2\), got '7' \(row 1\)"),
    ([1, 2] * 4, [1, "x"], r"must hold numbers, as in training, got 'x' \(row 1\)"),
    (X, ["1.5", "much"], r"must hold numbers, as in training, got 'much' \(row 1\)"),
    (X, [1.5, np.inf], r"must hold numbers, as in training, got 'inf' \(row 1\)"),
    (["a", "b"] * 4, ["a", None, "b", None], "a value in every row, got 2 missing of 4; .* the first is row 1"),
    (X, [np.nan, 1], "a value in every row, got 1 missing of 2; .* the first is row 0"),
]


@pytest.mark.parametrize(("trained", "new", "told"), BAD)
def test_what_training_did_not_have_is_named(trained, new, told):
    with pytest.raises(InputError, match=f"target 'y' {told}" if told.startswith("must") else told):
        encoder_of(trained).labels(pd.Series(new, dtype=object if None in new or "x" in new else None))


def test_marks_for_nothing_are_those_of_training_and_more():
    trained = encoder_of(["a", "b"] * 4, na=["-"])
    for encoder, mark in ((trained, "-"), (trained.reading_as(na=["?"]), "?")):
        with pytest.raises(InputError, match="1 missing of 2"):
            encoder.labels(pd.Series(["a", mark]))
    assert encoder_of(X).reading_as(",").labels(pd.Series(["0,5"])).tolist() == [0.5]


def test_texts_stand_as_in_a_file_where_they_are_no_plain_numbers():
    assert encoder_of(X).label.text_columns == encoder_of([1, 2] * 4).label.text_columns == ()
    assert encoder_of(["01", "x"] * 4).label.text_columns == ("y",)
    assert LabelColumn().text_columns == ()
