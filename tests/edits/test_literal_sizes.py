"""Models that know a size in their code: what can leave leaves, the rest stays by name; nothing at all is refused."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import meden
from meden import InputError


class Forward(nn.Sequential):
    """Layers by number, and a forward of one's own."""

    def __init__(self, forward: Callable[..., torch.Tensor], *layers: nn.Module) -> None:
        super().__init__(*layers)
        self.of = forward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.of(self, x)


def lenet(m: Forward, x: torch.Tensor) -> torch.Tensor:
    x = F.relu(m[1](F.relu(m[0](x)))).mean(3)
    return m[3](F.relu(m[2](x.view(-1, 16))))


def heads(m: Forward, x: torch.Tensor) -> torch.Tensor:
    """Attention of 2 heads of 2."""
    q, k, v = (m[i](x).view(*x.shape[:2], 2, 2).transpose(1, 2) for i in (0, 1, 2))
    y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(*x.shape[:2], 4)
    return m[5](F.relu(m[4](m[3](y))))


def sliced(m: Forward, x: torch.Tensor) -> torch.Tensor:
    h = F.relu(m[0](x))
    return m[3](F.relu(m[1](h[:, :3]) + m[2](h[:, 3:])))


def zero(*parts: tuple[torch.Tensor, int, Any]) -> None:
    with torch.no_grad():
        for tensor, axis, positions in parts:
            tensor.movedim(axis, 0)[positions] = 0


def made(name: str) -> tuple[nn.Module, torch.Tensor, set[str]]:
    """Return a model, an example, and which layers become smaller."""
    torch.manual_seed(0)
    if name == "lenet":
        model = Forward(lenet, nn.Conv2d(1, 3, 3), nn.Conv2d(3, 4, 3), nn.Linear(16, 5), nn.Linear(5, 2))
        zero((model[1].weight, 1, 1), (model[2].weight, 1, range(4, 8)), (model[3].weight, 1, 2))
        return model, torch.randn(4, 1, 8, 8), {"0", "1", "2", "3"}
    if name == "heads":
        model = Forward(heads, *(nn.Linear(4, 4) for _ in range(4)), nn.Linear(4, 6), nn.Linear(6, 2))
        zero((model[3].weight, 1, [0, 1]), (model[5].weight, 1, 2))
        return model, torch.randn(2, 3, 4), {"4", "5"}
    model = Forward(sliced, nn.Linear(4, 6), nn.Linear(3, 5), nn.Linear(3, 5), nn.Linear(5, 2))
    zero((model[1].weight, 1, 0), (model[3].weight, 1, 2))
    return model, torch.randn(4, 4), {"1", "2", "3"}


@pytest.mark.parametrize("name", ["lenet", "heads", "sliced"])
def test_what_a_literal_size_needs_stays_and_the_rest_leaves(name: str) -> None:
    model, x, layers = made(name)
    sgd, average = torch.optim.SGD(model.parameters(), lr=0.1), copy.deepcopy(model)
    small = meden.compact(model, x, optimizer=sgd, averages=average)
    assert {row.layer for row in small.plan.rows} == layers
    assert small.plan.stay and all(why.startswith("without it ") for why in small.plan.stay.values()), small.plan.stay
    for net in (small.model, average):
        torch.testing.assert_close(net(x), model(x))
    assert {id(p) for p in sgd.param_groups[0]["params"]} == {id(p) for p in small.model.parameters()}


def test_where_nothing_can_leave_the_first_refusal_is_raised() -> None:
    torch.manual_seed(0)
    model = Forward(lambda m, x: m[1](F.relu(m[0](x)).view(-1, 6)), nn.Linear(4, 6), nn.Linear(6, 2))
    zero((model[1].weight, 1, 2))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InputError, match=r"model must run once it is compacted, but the model .Forward. does not run"):
        meden.compact(model, torch.randn(4, 4))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_inputs_are_picked_for_a_module_that_is_called_by_keyword() -> None:
    torch.manual_seed(0)
    model = Forward(lambda m, x: m[1](F.relu(m[0](input=x))), nn.Linear(4, 3), nn.Linear(3, 2))
    zero((model[0].weight, 1, 1))
    small = meden.compact(model, torch.randn(5, 4))
    assert small.plan.channels == ("input[1]",) and small.model[0].in_features == 3


RANDOM = {
    "normal": lambda m, x: m[1](m[0](x) + torch.randn_like(m[0](x))),
    "dropout": lambda m, x: m[1](F.dropout(m[0](x), 0.5)),
}


@pytest.mark.parametrize("name", RANDOM)
def test_a_model_that_gives_another_output_each_time_is_told_so(name: str) -> None:
    torch.manual_seed(0)
    model = Forward(RANDOM[name], nn.Linear(4, 6), nn.Linear(6, 2))
    with pytest.raises(InputError, match="model must give the same output each time in evaluation"):
        meden.compact(model, torch.randn(5, 4))


def test_no_number_is_the_same_as_no_number_in_its_place() -> None:
    torch.manual_seed(0)
    model = Forward(lambda m, x: m[1](F.relu(m[0](x))).log(), nn.Linear(4, 6), nn.Linear(6, 8))
    zero((model[1].weight, 1, 2))
    x = torch.randn(5, 4)
    assert model(x).isnan().any()
    assert meden.compact(model, x).plan.channels == ("0[2]",)
