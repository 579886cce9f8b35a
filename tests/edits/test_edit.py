"""Edits in general: modules replaced and tensors shrunk, proven on an example, undone, and undone when they fail."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from meden import InputError
from meden.edits import Edit, apply_edits, replace_module, set_attribute


def net() -> nn.Sequential:
    """Return a network of which the hidden units 1 and 3 lead nowhere."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))
    model[3].weight.data[:, [1, 3]] = 0
    return model.train()


KEPT = [0, 2, 4, 5]


def shrunk(layer: nn.Linear, rows: list[int] | slice, columns: list[int] | slice) -> nn.Linear:
    weight = layer.weight.detach()[rows][:, columns].clone()
    new = nn.Linear(*reversed(weight.shape))
    new.weight.data, new.bias.data = weight, layer.bias.detach()[rows].clone()
    return new


def compaction(model: nn.Sequential) -> list[Edit]:
    """Plan the removal of the dead units: two layers are replaced, one has its tensors shrunk in place."""
    first, last = shrunk(model[0], KEPT, slice(None)), shrunk(model[3], slice(None), KEPT)
    norm = model[1]
    narrower = {name: nn.Parameter(getattr(norm, name).detach()[KEPT]) for name in ("weight", "bias")}
    narrower |= {name: getattr(norm, name)[KEPT] for name in ("running_mean", "running_var")}
    return [
        Edit("0", "Linear", "6 units", "4 units", partial(replace_module, model, "0", first)),
        *(Edit(f"1.{n}", "BatchNorm1d", "6", "4", partial(set_attribute, norm, n, t)) for n, t in narrower.items()),
        Edit("1.num_features", "BatchNorm1d", "6", "4", partial(set_attribute, norm, "num_features", 4)),
        Edit("3", "Linear", "6 inputs", "4 inputs", partial(replace_module, model, "3", last)),
    ]


def state(model: nn.Module) -> list[tuple[str, object]]:
    return [(name, tensor) for name, tensor in model.state_dict(keep_vars=True).items()]


def same_objects(model: nn.Module, before: list[tuple[str, object]]) -> bool:
    return all(a == c and b is d for (a, b), (c, d) in zip(state(model), before, strict=True))


def test_units_are_removed_proven_and_put_back() -> None:
    model, x = net(), torch.randn(7, 5)
    expected, before = copy.deepcopy(model).eval()(x), state(model)
    edits = apply_edits(model, compaction(model), example=x, tolerance=1e-6)
    assert [p.shape for p in model.parameters()] == [(4, 5), (4,), (4,), (4,), (2, 4), (2,)]
    assert all(module.training for module in model.modules())
    torch.testing.assert_close(copy.deepcopy(model).eval()(x), expected)
    torch.optim.SGD(model.parameters(), 0.1).zero_grad()  # shrunk tensors are parameters
    assert str(edits).splitlines()[:2] == ["name            layer        before    after",
                                           "0               Linear       6 units   4 units"]  # fmt: skip
    edits.undo()
    assert same_objects(model, before) and model[1].num_features == 6
    assert torch.equal(copy.deepcopy(model).eval()(x), expected)


def test_the_tolerance_is_a_share_of_the_largest_element() -> None:
    layer = nn.Linear(1, 2, bias=False)
    before = layer.weight = nn.Parameter(torch.tensor([[500.0], [1.0]]))
    moved = nn.Parameter(torch.tensor([[500.0], [1.5]]))  # by 0.001 of 500
    model = nn.Sequential(layer)
    edits = [Edit("0", "Linear", "", "", lambda: set_attribute(layer, "weight", moved))]
    for tolerance in (0.0, 0.9e-3):
        with pytest.raises(InputError, match=rf"by more than {tolerance:g} of .*got 0\.001 on"):
            apply_edits(model, edits, example=torch.ones(1, 1), tolerance=tolerance)
        assert layer.weight is before
    apply_edits(model, edits, example=torch.ones(1, 1), tolerance=1.1e-3)
    assert layer.weight is moved


@pytest.mark.parametrize("value", [float("nan"), 2.0])
def test_what_is_no_number_or_was_zero_proves_nothing(value: float) -> None:
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data.zero_()
    edit = Edit("0", "Linear", "", "", lambda: set_attribute(layer, "weight", nn.Parameter(torch.full((1, 1), value))))
    with pytest.raises(InputError, match="got inf on this example"):
        apply_edits(nn.Sequential(layer), [edit], example=torch.ones(1, 1), tolerance=0.5)
    assert layer.weight.item() == 0


def test_another_shape_is_refused_and_undone() -> None:
    model = net()
    before = state(model)
    edit = Edit("3", "Linear", "", "", lambda: replace_module(model, "3", nn.Linear(6, 3)))
    with pytest.raises(InputError, match="got inf on this example"):
        apply_edits(model, [edit], example=torch.ones(2, 5), tolerance=1.0)
    assert same_objects(model, before)


def test_a_change_that_fails_or_breaks_the_model_is_undone() -> None:
    model = net()
    before = state(model)
    with pytest.raises(RuntimeError, match=r"should contain 4 elements"):  # a part alone
        apply_edits(model, compaction(model)[:1], example=torch.ones(2, 5))
    assert same_objects(model, before)
    with pytest.raises(AttributeError):
        apply_edits(model, [*compaction(model), Edit("9", "", "", "", lambda: replace_module(model, "9", nn.ReLU()))])
    assert same_objects(model, before) and all(module.training for module in model.modules())


def test_a_dry_run_changes_nothing() -> None:
    model = net()
    before = state(model)
    planned = apply_edits(model, compaction(model), dry_run=True, example=torch.ones(2, 5))
    assert planned.names[0] == "0" and not planned.undos and same_objects(model, before)


def test_bad_input() -> None:
    class Words(nn.Module):
        def forward(self, x: torch.Tensor) -> str:
            return f"{len(x)} rows"

    with pytest.raises(InputError, match="example must produce an output that holds tensors"):
        apply_edits(Words(), [], example=torch.ones(2))
    with pytest.raises(InputError, match=r"tolerance must be .* at least 0, got -1"):
        apply_edits(net(), [], tolerance=-1)
