"""Models of Keras: their variables keep their shapes, so that what could leave stays, by name."""

import pytest
import torch

import meden

keras = pytest.importorskip("keras")

from meden.integrations.keras import as_module  # noqa: E402


@pytest.mark.parametrize("inputs", ["gather", "columns"])
def test_what_could_leave_a_model_of_keras_stays_and_is_named(inputs: str) -> None:
    layers = [keras.layers.Dense(6), keras.layers.BatchNormalization(), keras.layers.ReLU(), keras.layers.Dense(3)]
    model, x = as_module(keras.Sequential([keras.Input((5,)), *layers])), torch.randn(4, 5)
    with torch.no_grad():
        model.get_parameter("dense_1.kernel")[1] = 0
        model.get_parameter("dense.kernel")[2] = 0
    small = meden.compact(model, x, inputs=inputs)
    assert small.plan.channels == ()
    fixed = "(KerasLayer) is a layer of Keras, whose variables keep their shapes"
    front = "in front of dense (KerasLayer) no inputs can be selected"
    assert small.plan.stay["dense[1]"].endswith(fixed)
    assert small.plan.stay["input[2]"] == (front if inputs == "gather" else f"dense {fixed}")
    torch.testing.assert_close(small.model.eval()(x), model.eval()(x))
