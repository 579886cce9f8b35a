"""Inputs that nothing reads: picked in front of the layers that read the others, not taken, or kept."""

import copy

import pytest
import torch
from torch import nn

import meden
from meden import InputError
from meden.edits.gather import Gather


def zeroed(model: nn.Module, weight: torch.Tensor, columns: list[int]) -> nn.Module:
    with torch.no_grad():
        weight[:, columns] = 0
    return model.eval()


def table() -> nn.Module:
    """Return a network with a norm in front, of which the inputs 1 and 3 are read by nothing."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2))
    model[0].running_mean.normal_()
    return zeroed(model, model[1].weight, [1, 3])


class Skip(nn.Module):
    """A layer that reads inputs beside hidden units."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(4, 3), nn.Linear(7, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.cat([self.hidden(x).relu(), x], 1))


def test_the_layer_that_reads_them_picks_the_others_by_default() -> None:
    model, x = table(), torch.randn(6, 5)
    small = meden.compact(model, x).model
    assert small[0].num_features == 5 and small[1].in_features == 3
    assert small[1].input_gather.positions.tolist() == [0, 2, 4]
    assert list(small.state_dict()) == list(model.state_dict())
    torch.testing.assert_close(small(x), model(x))
    assert torch.equal(copy.deepcopy(small)(x), small(x))


def test_the_model_takes_fewer_columns() -> None:
    model, x = table(), torch.randn(6, 5)
    small = meden.compact(model, x, inputs="columns")
    assert small.plan.columns == (0, 2, 4) and "takes 3 inputs: 0, 2, 4" in str(small)
    assert small.model[0].num_features == 3 and not any(isinstance(m, Gather) for m in small.model.modules())
    torch.testing.assert_close(small.model(x[:, [0, 2, 4]]), model(x))


def test_they_are_kept() -> None:
    small = meden.compact(table(), torch.randn(6, 5), inputs="keep")
    assert small.plan.channels == () and small.plan.columns is None
    assert small.model[1].in_features == 5


def test_pixels_are_picked_behind_the_flattening() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 2))
    zeroed(model, model[1].weight, [0, 5, 11])
    x = torch.randn(3, 1, 3, 4)
    small = meden.compact(model, x).model
    assert small[1].in_features == 9
    torch.testing.assert_close(small(x), model(x))
    with pytest.raises(InputError, match='inputs must be "gather" or "keep" for an example that is not one tensor'):
        meden.compact(model, x, inputs="columns")


@pytest.mark.parametrize("inputs", ["gather", "columns"])
def test_channels_of_images_and_steps_of_sequences(inputs: str) -> None:
    torch.manual_seed(0)
    conv = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))
    zeroed(conv, conv[0].weight, [1])
    images = torch.randn(2, 3, 4, 4)
    small = meden.compact(conv, images, inputs=inputs).model
    assert small[0].in_channels == 2
    given = images[:, [0, 2]] if inputs == "columns" else images
    torch.testing.assert_close(small(given), conv(images))

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(4, 3, batch_first=True, bidirectional=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.rnn(x)[0][:, -1]

    rnn = Last().eval()
    zeroed(rnn, rnn.rnn.weight_ih_l0, [0, 2])
    zeroed(rnn, rnn.rnn.weight_ih_l0_reverse, [0, 2])
    words = torch.randn(2, 5, 4)
    small = meden.compact(rnn, words, inputs=inputs).model
    assert small.rnn.input_size == 2
    torch.testing.assert_close(small(words[..., [1, 3]] if inputs == "columns" else words), rnn(words))


@pytest.mark.parametrize("inputs", ["gather", "columns"])
def test_a_layer_that_reads_inputs_beside_units_loses_both(inputs: str) -> None:
    torch.manual_seed(0)
    model = Skip()
    zeroed(model, model.out.weight, [1, 4])  # a unit, and the second input
    zeroed(model, model.hidden.weight, [1])
    x = torch.randn(5, 4)
    small = meden.compact(model, x, inputs=inputs).model
    assert (small.hidden.in_features, small.hidden.out_features, small.out.in_features) == (3, 2, 5)
    torch.testing.assert_close(small(x[:, [0, 2, 3]] if inputs == "columns" else x), model(x))


def test_what_cannot_be_picked_in_front_of_a_layer_stays() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(2, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.weight.T

    model = nn.Sequential(Scaled())
    zeroed(model, model[0].weight, [2])
    small = meden.compact(model, torch.randn(3, 4))
    assert dict(small.plan.stay) == {"input[2]": "in front of 0 (Scaled) no inputs can be selected"}
    assert tuple(meden.compact(model, torch.randn(3, 4), inputs="columns").model[0].weight.shape) == (2, 3)
    Scaled.weight_axes = {"units": 0, "inputs": 1}
    assert tuple(meden.compact(model, torch.randn(3, 4)).model[0].weight.shape) == (2, 3)


@pytest.mark.parametrize("inputs", ["gather", "columns"])
def test_a_model_that_reads_no_input_is_refused(inputs: str) -> None:
    model = table()
    zeroed(model, model[3].weight, [0, 1, 2, 3])
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InputError, match='got a constant output for all 5 inputs; inputs="keep"'):
        meden.compact(model, torch.randn(6, 5), inputs=inputs)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    small = meden.compact(model, torch.randn(6, 5), inputs="keep")
    assert small.model[1].out_features == 1 and small.plan.idle == ("1[0]",)


def test_a_word_that_is_none_of_them() -> None:
    with pytest.raises(InputError, match="inputs must be one of gather, columns, keep, got 'column'"):
        meden.compact(table(), torch.randn(6, 5), inputs="column")
