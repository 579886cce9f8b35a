"""What goes on with a smaller model: states and groups of optimizers, penalties at work in them, averages."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import meden
from meden import InputError, Regularizer
from meden.penalties import L1, L2, GroupLasso, PullTo

GONE = [1, 3]


def net() -> nn.Sequential:
    """Return a network of which two hidden units are read by nothing, and compute nothing."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3, bias=False))
    with torch.no_grad():
        model[0].weight[GONE] = 0
        model[0].bias[GONE] = 0
        model[2].weight[:, GONE] = 0
    return model.double()


def train(model: nn.Module, optimizer: torch.optim.Optimizer, num: int, start: int = 0) -> list[float]:
    losses = []
    for step in range(start, start + num):
        x = torch.sin(torch.arange(32.0, dtype=torch.float64).view(8, 4) + step)

        def closure(x: torch.Tensor = x) -> torch.Tensor:
            optimizer.zero_grad()
            loss = (model(x) - x[:, :3]).square().mean()
            loss.backward()
            return loss

        losses.append(optimizer.step(closure).item())
    return losses


X = torch.randn(6, 4, dtype=torch.float64)
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.01),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1, foreach=True),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.05),
    "Adadelta": lambda p: torch.optim.Adadelta(p, lr=1.0),
    "Adamax": lambda p: torch.optim.Adamax(p, lr=0.01),
    "NAdam": lambda p: torch.optim.NAdam(p, lr=0.01),
    "RAdam": lambda p: torch.optim.RAdam(p, lr=0.01),
    "ASGD": lambda p: torch.optim.ASGD(p, lr=0.05),
    "Rprop": lambda p: torch.optim.Rprop(p, lr=0.01),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimizer_goes_on(name: str) -> None:
    """Units whose weights are zero on both sides of a tanh have no gradients: nothing has to hold them."""
    model = net()
    optimizer = OPTIMIZERS[name](model.parameters())
    train(model, optimizer, 5)
    large, expected = copy.deepcopy((model, optimizer))
    small = meden.compact(model, X, optimizer=optimizer)
    assert [tuple(p.shape) for p in optimizer.param_groups[0]["params"]] == [(3, 4), (3,), (3, 3)]
    assert all(p is q for p, q in zip(optimizer.param_groups[0]["params"], small.model.parameters(), strict=True))
    torch.testing.assert_close(
        train(small.model, optimizer, 20, 5), train(large, expected, 20, 5), rtol=1e-10, atol=1e-13
    )


def test_groups_keep_their_order_and_settings_and_undo_brings_all_back() -> None:
    model = net()
    optimizer = torch.optim.Adam(
        [{"params": [model[2].weight], "lr": 0.1}, {"params": model[0].parameters(), "lr": 0.2}]
    )
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    train(model, optimizer, 3)
    params, state = [g["params"] for g in optimizer.param_groups], copy.deepcopy(optimizer.state_dict())
    small = meden.compact(model, X, optimizer=optimizer)
    assert [tuple(p.shape) for g in optimizer.param_groups for p in g["params"]] == [(3, 3), (3, 4), (3,)]
    assert [g["lr"] for g in optimizer.param_groups] == [0.1, 0.2]
    train(small.model, optimizer, 1)
    scheduler.step()
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([0.01, 0.02])
    small.undo()
    assert [g["params"] for g in optimizer.param_groups] == params
    now = optimizer.state_dict()["state"]
    assert all(torch.equal(now[i][key], value) for i, slots in state["state"].items() for key, value in slots.items())
    small.undo()  # a second call does nothing


def test_a_bias_that_comes_into_being_is_trained_beside_its_weight() -> None:
    model = net()
    with torch.no_grad():
        model[0].bias[1] = 0.5
        model[2].weight[:, 1] = 1.0
    optimizer = torch.optim.SGD(
        [{"params": model[2].parameters(), "lr": 0.1}, {"params": model[0].parameters()}], lr=0.2
    )
    small = meden.compact(model, X, optimizer=optimizer)
    assert [id(p) for p in optimizer.param_groups[0]["params"]] == [id(small.model[2].weight), id(small.model[2].bias)]
    assert len(optimizer.param_groups[1]["params"]) == 2


def test_factored_states_are_cut_along_what_they_have() -> None:
    model = net()
    optimizer = torch.optim.Adafactor(model.parameters(), lr=0.01)
    train(model, optimizer, 2)
    small = meden.compact(model, X, optimizer=optimizer)
    state = optimizer.state[small.model[0].weight]
    assert [tuple(state[key].shape) for key in ("row_var", "col_var")] == [(3, 1), (1, 4)]
    train(small.model, optimizer, 2)


@pytest.mark.parametrize(
    "kind", [L1(1e-3), GroupLasso(1e-3, size_weighted=False), L2(0.1), PullTo(L2(0.1))], ids=lambda p: type(p).__name__
)
def test_penalties_go_on(kind: Any) -> None:
    model = net()
    twin = copy.deepcopy(model)
    optimizers = [torch.optim.Adam(m.parameters(), lr=0.01) for m in (model, twin)]
    handles = [meden.regularize(o, m, [Regularizer(kind)]) for o, m in zip(optimizers, (model, twin), strict=True)]
    for m, optimizer in zip((model, twin), optimizers, strict=True):
        train(m, optimizer, 5)
    small = meden.compact(model, X, optimizer=optimizers[0])
    assert handles[0].num_steps == 5
    assert handles[0].values() == pytest.approx(handles[1].values(), rel=1e-12)
    losses = train(small.model, optimizers[0], 20, 5)
    torch.testing.assert_close(losses, train(twin, optimizers[1], 20, 5), rtol=1e-10, atol=1e-13)
    small.undo()
    train(model, optimizers[0], 1)
    assert handles[0].num_steps == 26


@pytest.mark.parametrize("kind", ["units", "inputs"])
def test_penalties_of_groups_that_span_tensors_go_on(kind: Any) -> None:
    """The groups that are left are penalised as before; those that left add nothing, since they are zero."""
    model = net()
    with torch.no_grad():
        model[0].weight[:, 2] = 0
    twin = copy.deepcopy(model)
    penalty = Regularizer(GroupLasso(1e-2, size_weighted=False), groups=meden.groups_of(model, X, kind=kind))
    optimizers = [torch.optim.Adam(m.parameters(), lr=0.01) for m in (model, twin)]
    handles = [meden.regularize(o, m, [penalty]) for o, m in zip(optimizers, (model, twin), strict=True)]
    small = meden.compact(model, X, optimizer=optimizers[0])
    assert small.model[0].in_features == 3 and small.model[0].out_features == 3
    assert handles[0].values() == pytest.approx(handles[1].values(), rel=1e-12)
    hold = torch.ones_like(twin[0].weight).index_fill(1, torch.tensor([2]), 0.0)
    twin[0].weight.register_hook(hold.mul)
    losses = train(small.model, optimizers[0], 20)
    torch.testing.assert_close(losses, train(twin, optimizers[1], 20), rtol=1e-10, atol=1e-13)
    zeros = [num for handle in handles for num in handle.num_zero_groups().values()]
    assert zeros[1] - zeros[0] == (2 if kind == "units" else 1)
    small.undo()
    assert handles[0].values() == pytest.approx(meden.regularize(*_fresh(model), [penalty]).values())


def _fresh(model: nn.Module) -> tuple[torch.optim.Optimizer, nn.Module]:
    return torch.optim.SGD(model.parameters(), lr=0.1), model


def averaged(model: nn.Module, average: Any) -> torch.Tensor:
    with torch.no_grad():
        if isinstance(average, meden.Averager):
            with average.applied():
                return model(X)
        return average(X)


def make_averager(model: nn.Module) -> meden.Averager:
    return meden.Averager(model, meden.Averaging(decay=0.9), epochs=1, steps_per_epoch=100)


def make_averaged(model: nn.Module) -> AveragedModel:
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))


@pytest.mark.parametrize("make", [make_averager, make_averaged])
def test_averages_go_on(make: Callable[[nn.Module], Any]) -> None:
    model = net()
    with torch.no_grad():
        model[0].bias[1] = 0.3  # a constant, which a bias takes over
        model[2].weight[:, 1] = 1.0
    model[0].bias.requires_grad_(False)
    model[2].weight.register_hook(lambda grad: grad.index_fill(1, torch.tensor([1]), 0.0))
    optimizer, average = torch.optim.SGD(model.parameters(), lr=0.1), make(model)

    def update(m: nn.Module, opt: torch.optim.Optimizer, avg: Any, num: int) -> None:
        for step in range(num):
            train(m, opt, 1, step)
            avg.update() if isinstance(avg, meden.Averager) else avg.update_parameters(m)

    update(model, optimizer, average, 3)
    expected = averaged(model, average)
    twin = meden.compact(model, X)  # without the average
    small = meden.compact(model, X, optimizer=optimizer, averages=[average])
    torch.testing.assert_close(averaged(small.model, average), expected, rtol=1e-10, atol=0)
    assert sum(p.numel() for p in small.model.parameters()) == sum(p.numel() for p in twin.model.parameters())
    update(small.model, optimizer, average, 3)
    assert not torch.equal(averaged(small.model, average), expected)
    small.undo()
    torch.testing.assert_close(averaged(model, average), expected, rtol=0, atol=0)
    update(model, optimizer, average, 1)


def test_what_cannot_follow_is_refused_before_anything_changes() -> None:
    model, other = net(), net()
    with pytest.raises(InputError, match="optimizer must keep its state by parameter to be updated along, got LBFGS"):
        meden.compact(model, X, optimizer=torch.optim.LBFGS(model.parameters()))
    with pytest.raises(
        InputError, match=r"optimizer must only step parameters of the model, got others, of shapes \[\("
    ):
        meden.compact(model, X, optimizer=torch.optim.SGD(other.parameters(), lr=0.1))
    with pytest.raises(InputError, match=r"optimizer must be a torch.optim.Optimizer, got float"):
        meden.compact(model, X, optimizer=0.1)  # type: ignore[arg-type]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.state[model[0].weight]["history"] = torch.zeros(7)
    with pytest.raises(
        InputError, match=r"keep 'history' in its parameter's shape to be updated along: 0.weight must have .*\(7,\)"
    ):
        meden.compact(model, X, optimizer=optimizer)
    optimizer.state.clear()
    params = list(optimizer.param_groups[0]["params"])
    for strange, says in (
        (make_averager(other), "averages must be of the model that is compacted, got those of another"),
        (nn.Linear(4, 3), "averages must hold the tensors of the model, got a Linear without 0.weight"),
        (3, "averages must be a meden.Averager, a torch.optim.swa_utils.AveragedModel or a copy of the model, got int"),
    ):
        with pytest.raises(InputError, match=says):
            meden.compact(model, X, optimizer=optimizer, averages=strange)  # type: ignore[arg-type]
        assert optimizer.param_groups[0]["params"] == params
