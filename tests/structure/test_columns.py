"""Groups of inputs: a column of a table is one group, however many inputs encode it."""

import pandas as pd
import torch

from meden.data import as_dataset
from meden.models import MLP
from meden.structure import groups_of


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
    model = MLP(encoder.num_inputs, 1, width=3)
    groups = groups_of(model, torch.randn(2, encoder.num_inputs), "inputs", columns=encoder.input_columns)
    weight = dict(model.named_parameters())["1.weight"]
    found = {name: row for s in groups.sets for name, row in zip(s.names, s.take({"1.weight": weight}), strict=True)}
    assert set(found) == set(by_name)
    for name, row in found.items():
        own = [place for place, column in enumerate(encoder.input_columns) if column == name]
        assert torch.equal(row.sort().values, weight[:, own].flatten().sort().values)


def test_inputs_of_an_array_are_columns() -> None:
    data = as_dataset((torch.randn(5, 3), torch.randn(5)))
    assert data.fit_encoder(range(5)).input_columns == ("x0", "x1", "x2")
