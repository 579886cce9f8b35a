"""Groups of inputs: a column of a table is one group, however many inputs encode it."""

import pandas as pd
import torch

from meden.data import as_dataset
from meden.structure import input_groups


def test_all_inputs_of_a_column_are_one_group() -> None:
    frame = pd.DataFrame(
        {
            "age": [1.0, None, 3.0, 4.0, 5.0, 6.0],
            "pet": ["cat", "dog", "cat", "dog", "emu", None],
            "sold": pd.date_range("2024-01-01", periods=6, freq="30D"),
            "size": range(6),
            "y": [0.5, 1.5, 2.5, 3.5, 4.5, 5.5],
        }
    )
    encoder = as_dataset(frame, target="y").fit_encoder(range(6))
    by_name = dict.fromkeys(frame.columns[:-1], 0)
    for name, column in zip(encoder.input_names, encoder.input_columns, strict=True):
        assert name.startswith(column), "the names begin with that of the column"
        by_name[column] += 1
    assert by_name == {"age": 2, "pet": 4, "sold": 5, "size": 1}  # a day, and sine and cosine of year and week
    groups = input_groups(encoder.input_columns, ["0.weight", "skip.weight"])
    tensors = {"0.weight": torch.randn(7, encoder.num_inputs), "skip.weight": torch.randn(2, encoder.num_inputs)}
    for group_set in groups.sets:
        rows = group_set.take(tensors)
        for row, name in enumerate(group_set.names):
            own = [place for place, column in enumerate(encoder.input_columns) if column == name]
            expected = torch.cat([tensor[:, own].flatten() for tensor in tensors.values()])
            assert torch.equal(rows[row].sort().values, expected.sort().values)
    assert [name for group_set in groups.sets for name in group_set.names] == ["size", "age", "pet", "sold"]


def test_inputs_of_an_array_are_columns() -> None:
    data = as_dataset((torch.randn(5, 3), torch.randn(5)))
    assert data.fit_encoder(range(5)).input_columns == ("x0", "x1", "x2")
    assert [s.names for s in input_groups(("x0", "x1", "x2"), ["weight"]).sets] == [("x0", "x1", "x2")]
