import math

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.preprocessing import RobustScaler

import meden
from meden.data import as_dataset, make_folds
from meden.data.fitted import NumberColumn, robust_scaling
from meden.data.tables import TableEncoder, read_columns
from meden.data.targets import NumbersCodec, target_from_dict
from meden.models import TabularNet
from meden.models.tabular import SLOW, PeriodicEmbedding, TangentLinear
from meden.training.fit_many import fit_many


def test_outputs_start_at_zero_and_have_the_shape_of_the_answers():
    x = torch.randn(5, 10)
    assert torch.equal(TabularNet(10, 3, num_numbers=4)(x), torch.zeros(5, 3))
    assert TabularNet(10, 3, num_numbers=4, num_targets=2, width=8)(x).shape == (5, 2, 3)
    assert TabularNet(10, 1, width=8, depth=0)(x).shape == (5, 1)


def test_embeddings_are_mixtures_of_cosines():
    torch.manual_seed(0)
    layer, x = PeriodicEmbedding(2, frequency=0.5), torch.randn(4, 2)
    told = layer(x).view(4, 2, -1)
    for number in range(2):
        frequency, phase, mix, bias = (SLOW * part[number] for part in layer.parameters())
        waves = torch.cos(x[:, [number]] * frequency + phase)
        assert torch.allclose(told[:, number], waves @ mix + bias, atol=1e-5)
    frequencies = SLOW / (2 * math.pi) * PeriodicEmbedding(1000, frequency=0.5).embedding_frequency
    assert abs(frequencies.std().item() - 0.5) < 0.02


def test_a_factor_in_the_forward_pass_is_a_factor_of_adams_rate():
    """One step of Adam moves each number by the rate: the effective bias moves SLOW times as far as a plain one."""
    torch.manual_seed(0)
    layer = TangentLinear(4, 3)
    before = SLOW * layer.bias.detach().clone()
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.01)
    layer(torch.randn(8, 4)).square().sum().backward()
    optimizer.step()
    assert torch.allclose((SLOW * layer.bias.detach() - before).abs(), torch.full((3,), 0.01 * SLOW), rtol=1e-3)


def test_penalties_on_weights_reach_the_linear_layers_only():
    chosen = meden.params.select(TabularNet(6, 2, num_numbers=3, width=8, depth=1), "weights")
    assert list(chosen) == ["layers.1.weight", "layers.4.weight"]


def test_members_are_the_same_alone_and_together():
    data = as_dataset("wine")
    recipe = meden.Recipe(optimizer="adam", lr=0.04, epochs=3, batch_size=64)
    members = [
        meden.Member(recipe.replace(dropout=p), fold) for fold in make_folds(data, 2, seed=0) for p in (0.1, 0.3)
    ]
    make = lambda num_inputs, num_outputs: TabularNet(num_inputs, num_outputs, num_numbers=13, width=8, depth=2)  # noqa: E731
    alone, together = (fit_many(make, members, data, chunk=chunk) for chunk in (1, None))
    for one, other in zip(alone, together, strict=True):
        assert np.allclose(one.held_out.losses, other.held_out.losses, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_numbers": 11}, r"num_numbers must be at most num_inputs \(10\), got 11"),
        ({"width": 0}, "width must be a whole number of at least 1, got 0"),
        ({"dropout": 1.0}, "dropout must be a finite number in"),
        ({"frequency": 0}, "frequency must be a finite number above 0, got 0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        TabularNet(10, 3, **arguments)


def test_robust_scaling_is_scikit_learns_and_clipping_is_smooth():
    values = np.random.default_rng(0).standard_cauchy(200)
    column = NumberColumn.fit("c", values, robust=True)
    scaled = RobustScaler().fit_transform(values[:, None])
    assert np.allclose(column.encode(values), scaled / np.sqrt(1 + (scaled / 3) ** 2))
    assert np.abs(column.encode(values)).max() < 3
    assert robust_scaling(np.full(9, 0.1))[1] == 0 and robust_scaling(np.empty(0)) == (0.0, 0.0)


def test_numbers_come_first_and_encoders_survive_json():
    frame = pd.DataFrame({"pet": ["cat", "dog"] * 3, "a": [1.0, 2.0, None, 4.0, 5.0, 6.0], "b": [True, False] * 3})
    frame["day"] = pd.date_range("2024-01-01", periods=6)
    encoder = read_columns(frame).fit()
    assert encoder.input_names[:4] == ("a", "day", "pet=cat", "pet=dog") and encoder.input_names[4] == "a is missing"
    x = encoder.encode(encoder.read(frame))
    assert x[:, encoder.input_names.index("pet=dog")].tolist() == [0, 1] * 3
    assert TableEncoder.from_dict(encoder.to_dict()) == encoder


def test_several_numbers_are_standardised_one_by_one():
    labels = np.array([[1.0, 100.0], [3.0, 500.0]])
    data = as_dataset((pd.DataFrame({"x": [1.0, 2.0, 3.0]}), [1.0, 2.0, 4.0]))
    codec = NumbersCodec((2.0, 300.0), (1.0, 200.0))
    assert codec.encode(labels).tolist() == [[-1, -1], [1, 1]]
    assert target_from_dict({"mean": [2.0, 300.0], "std": [1.0, 200.0]}) == codec
    assert np.allclose(codec.decode(codec.encode(labels)).values, labels) and data.task == "regression"
