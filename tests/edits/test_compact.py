"""Smaller models with the same output: what leaves, counted by hand, over architectures, and training that goes on."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import meden


class Residual(nn.Module):
    """Convolutions with a residual sum, a depthwise convolution, batch norm and group norm."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.inner = nn.Conv2d(width, 8, 1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.groups = nn.GroupNorm(4, 8)
        self.outer = nn.Conv2d(8, width, 1)
        self.head = nn.Linear(width, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm(self.stem(x)))
        x = x + self.outer(F.relu(self.groups(self.depthwise(self.inner(x)))))
        return self.head(x.mean((2, 3)))


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], **settings: object) -> None:
        super().__init__()
        self.rnn = kind(4, 6, batch_first=True, **settings)
        self.head = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(x)[0])


def mlp() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5)),
        *(nn.Linear(8, 7), nn.ReLU(), nn.Dropout(0.5), nn.Linear(7, 3)),
    )


def randomised(model: nn.Module) -> nn.Module:
    """Give norms' moments and scales, too, numbers that are not those of the start."""
    with torch.no_grad():
        for module in model.modules():
            for tensor in (getattr(module, name, None) for name in ("weight", "running_mean", "running_var")):
                if isinstance(tensor, torch.Tensor) and tensor.ndim == 1:
                    tensor.uniform_(0.5, 1.5)
            if isinstance(getattr(module, "bias", None), torch.Tensor):
                module.bias.uniform_(0.1, 0.5)
    return model


def zero(*parts: tuple[torch.Tensor, int, object]) -> None:
    """Set slices to zero."""
    with torch.no_grad():
        for tensor, axis, positions in parts:
            tensor.movedim(axis, 0)[positions] = 0


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def zeros_in_mlp(m: nn.Module) -> int:
    """Three units that nothing reads, two that are constants (by weights, by a norm's scale), one input."""
    m[1].running_mean[1] = m[0].bias[1].item()  # as training makes it of a constant
    zero((m[4].weight, 1, [0, 3]), (m[0].weight, 0, [1]), (m[1].weight, 0, [6]))
    zero((m[7].weight, 1, [2]), (m[0].weight, 1, 4))
    return (5 - 1) * (8 - 4) + 4 + 2 * 4 + 4 * (7 - 1) + 6 + 6 * 3 + 3


def zeros_in_residual(m: Residual) -> int:
    """A group of the group norm that nothing reads, and a filter that is part of the residual sum."""
    zero((m.outer.weight, 1, [2, 3]))
    zero((m.inner.weight, 1, 4), (m.head.weight, 1, 4))
    w, i = 6 - 1, 8 - 2
    return (3 * 9 * w + w) + 2 * w + (w * i + i) + (9 * i + i) + 2 * i + (i * w + w) + (w * 5 + 5)


def zeros_in_recurrent(gates: int) -> Callable[[nn.Module], int]:
    def zeros(m: Recurrent) -> int:
        """Two units that only read each other, and an input."""
        hh = m.rnn.weight_hh_l0
        zero((m.head.weight, 1, [1, 4]), (m.rnn.weight_ih_l0, 1, 2))
        with torch.no_grad():
            others = [row for row in range(len(hh)) if row % 6 not in (1, 4)]
            hh[others, 1] = hh[others, 4] = 0
        h = 6 - 2
        return gates * (h * (4 - 1) + h * h + 2 * h) + 2 * h + 2

    return zeros


def encoder() -> nn.Module:
    return nn.TransformerEncoderLayer(8, 4, 12, batch_first=True)


def zeros_in_encoder(m: nn.TransformerEncoderLayer) -> int:
    """A head that the projection does not read, a unit that is not read, one that is a constant."""
    zero((m.self_attn.out_proj.weight, 1, [2, 3]), (m.linear2.weight, 1, [0]), (m.linear1.weight, 0, [5, 6]))
    d, f = 8 - 2, 12 - 3
    return 3 * (8 * d + d) + d * 8 + 8 + (8 * f + f) + (f * 8 + 8) + 4 * 8


CASES = {
    "mlp": (mlp, zeros_in_mlp, lambda: torch.randn(16, 5)),
    "residual": (Residual, zeros_in_residual, lambda: torch.randn(4, 3, 5, 5)),
    "gru": (lambda: Recurrent(nn.GRU), zeros_in_recurrent(3), lambda: torch.randn(4, 5, 4)),
    "lstm": (lambda: Recurrent(nn.LSTM), zeros_in_recurrent(4), lambda: torch.randn(4, 5, 4)),
    "encoder": (encoder, zeros_in_encoder, lambda: torch.randn(3, 5, 8)),
}


def made(name: str, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, int, torch.Tensor]:
    torch.manual_seed(0)
    make, zeros, example = CASES[name]
    model = randomised(make()).to(dtype).train()
    return model, zeros(model), example().to(dtype)


def output(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return copy.deepcopy(model).eval()(x)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", CASES)
def test_the_output_is_the_same_and_the_parameters_are_those_left(name: str, dtype: torch.dtype) -> None:
    model, parameters, x = made(name, dtype)
    before = copy.deepcopy(model.state_dict())
    small = meden.compact(model, x[:2])
    assert count(small.model) == parameters == small.plan.parameters[1]
    tolerance = {torch.float64: 1e-10, torch.float32: 1e-5}[dtype]
    for given in (x, torch.randn_like(x)):
        expected = output(model, given)
        assert (output(small.model, given) - expected).abs().max() <= tolerance * expected.abs().max()
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert all(module.training for module in small.model.modules())
    assert all(p.dtype == dtype and p.requires_grad for p in small.model.parameters())
    small.undo()
    assert all(torch.equal(tensor, before[key]) for key, tensor in small.model.state_dict().items())
    assert torch.equal(output(small.model, x), output(model, x))


def held(model: nn.Module, cuts: meden.edits.Cuts) -> nn.Module:
    """Hold all that leaves at what it is."""
    params = dict(model.named_parameters())
    for (name, axis), positions in cuts.gone.items():
        if name in params:
            mask = torch.ones_like(params[name])
            mask.movedim(axis, 0)[list(positions)] = 0
            params[name].register_hook(mask.mul)
    return model


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, num: int) -> list[float]:
    target, losses = torch.sin(torch.arange(float(num))).to(x), []
    for step in range(num):
        optimizer.zero_grad()
        loss = (model(x * (1 + step % 3)) - target[step]).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


OPTIMIZERS = {
    "sgd": lambda params: torch.optim.SGD(params, lr=0.05, momentum=0.9),
    "adamw": lambda params: torch.optim.AdamW(params, lr=1e-2, weight_decay=0.0, amsgrad=True),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", CASES)
def test_training_goes_on_with_equal_losses(name: str, optimizer: str) -> None:
    model, _, x = made(name)
    for module in model.modules():
        if isinstance(module, nn.Dropout | nn.MultiheadAttention):
            setattr(module, "p" if isinstance(module, nn.Dropout) else "dropout", 0.0)
    cuts = meden.compact(model, x, dry_run=True).cuts
    stepping = OPTIMIZERS[optimizer](held(model, cuts).parameters())
    steps(model, stepping, x, 5)
    large, expected = copy.deepcopy((model, stepping))
    small = meden.compact(model, x, optimizer=stepping)
    losses = steps(small.model, stepping, x, 20)
    torch.testing.assert_close(losses, steps(held(large, cuts), expected, x, 20), rtol=1e-9, atol=0)
    assert len(set(losses)) == 20
    small.undo()
    again = steps(model, stepping, x, 20)
    torch.testing.assert_close(again, losses, rtol=1e-9, atol=0)


def test_a_plan_says_that_nothing_leaves() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    assert "nothing leaves" in str(meden.compact(net, torch.randn(8, 4)))
    with torch.no_grad():
        net[0].weight[0] = 0
    assert "nothing leaves" not in str(meden.compact(net, torch.randn(8, 4)))
