"""What leaves and what stays: constants, layers that would lose all, groups, ties, parametrisations."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.nn.utils.parametrizations import orthogonal, spectral_norm, weight_norm

import meden
from meden import InputError


def zero(*parts: tuple[torch.Tensor, int, object]) -> None:
    with torch.no_grad():
        for tensor, axis, positions in parts:
            tensor.movedim(axis, 0)[positions] = 0


def compacted(model: nn.Module, x: torch.Tensor) -> meden.edits.Compacted:
    """Compact, and check the output once more."""
    small = meden.compact(model, x)
    torch.testing.assert_close(copy.deepcopy(small.model).eval()(x), copy.deepcopy(model).eval()(x))
    return small


def test_a_constant_becomes_a_bias_that_was_not_there() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Sigmoid(), nn.Linear(4, 2, bias=False))
    zero((model[0].weight, 0, [1, 2]))
    constants = torch.sigmoid(model[0].bias[[1, 2]])
    small = compacted(model, torch.randn(5, 3)).model
    torch.testing.assert_close(small[2].bias, model[2].weight[:, [1, 2]] @ constants)
    assert small[2].bias.requires_grad and model[2].bias is None


def test_constants_go_through_layers() -> None:
    """A unit that reads a constant alone is a constant itself."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
    zero((model[0].weight, 0, 1))
    with torch.no_grad():
        model[2].weight[3, [0, 2, 3]] = 0
    small = compacted(model, torch.randn(6, 3))
    assert small.plan.channels == ("0[1]", "2[3]")


def test_what_takes_no_bias_keeps_the_constant_and_is_named() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(2, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.weight.T

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Sigmoid(), Scaled())
    zero((model[0].weight, 0, 1), (model[2].weight, 1, 2))
    small = compacted(model, torch.randn(5, 3))
    assert small.plan.channels == ("0[2]",)
    assert dict(small.plan.stay) == {"0[1]": "it is a constant, but 2 (Scaled) takes no bias"}
    assert "stays: 0[1] (it is a constant, but 2 (Scaled) takes no bias)" in str(small)


def test_a_constant_behind_a_border_of_zeros_stays() -> None:
    torch.manual_seed(0)
    for padding in (0, 1):
        model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.Sigmoid(), nn.Conv2d(3, 2, 3, padding=padding))
        zero((model[0].weight, 0, 1))
        assert len(compacted(model, torch.randn(2, 2, 5, 5)).plan.channels) == (0 if padding else 1)


def test_one_unit_is_left_of_a_layer_that_would_lose_all() -> None:
    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.skip, self.up, self.down = nn.Linear(3, 2), nn.Linear(3, 6), nn.Linear(6, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.skip(x) + self.down(torch.sigmoid(self.up(x)))

    torch.manual_seed(0)
    for axis in (1, 0):  # nothing reads them, or all of them are constants
        model = Branch()
        zero((model.down.weight, 1, list(range(6))) if axis else (model.up.weight, 0, list(range(6))))
        small = compacted(model, torch.randn(4, 3))
        assert small.model.up.out_features == 1 and small.plan.idle == ("up[0]",)
        assert not small.model.up.weight.any() and not small.model.down.weight.any()
        assert "kept as zeros: up[0]" in str(small)


def test_groups_of_a_norm_leave_whole() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(2, 6, 1), nn.GroupNorm(3, 6), nn.ReLU(), nn.Conv1d(6, 2, 1))
    zero((model[3].weight, 1, [0, 2, 3]))
    small = compacted(model, torch.randn(3, 2, 5)).model
    assert (small[1].num_groups, small[1].num_channels, small[0].out_channels) == (2, 4, 4)


def test_groups_of_a_convolution_leave_whole() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(2, 6, 1), nn.Conv1d(6, 6, 3, padding=1, groups=3), nn.ReLU(), nn.Conv1d(6, 2, 1))
    zero((model[3].weight, 1, [0, 2, 3]))
    small = compacted(model, torch.randn(3, 2, 5)).model
    assert (small[1].groups, small[1].in_channels, small[1].out_channels) == (2, 4, 4)


def test_transposed_convolutions() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.ConvTranspose2d(2, 4, 2), nn.InstanceNorm2d(4, affine=True), nn.PReLU(4))
    model.append(nn.ConvTranspose2d(4, 3, 2))
    zero((model[3].weight, 0, [1]))
    small = compacted(model, torch.randn(2, 2, 3, 3)).model
    assert (small[0].out_channels, small[1].num_features, small[2].num_parameters, small[3].in_channels) == (3, 3, 3, 3)


@pytest.mark.parametrize("settings", [{"num_layers": 2}, {"bidirectional": True}], ids=str)
def test_layers_and_directions_of_a_recurrent_network_lose_as_many_units(settings: dict[str, object]) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(3, 4, **settings)
            self.head = nn.Linear(4 * (1 + ("bidirectional" in settings)), 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.rnn(x)[0])

    torch.manual_seed(0)
    model, x = Net(), torch.randn(5, 2, 3)
    other = "weight_hh_l0_reverse" if "bidirectional" in settings else "weight_hh_l0"
    zero((model.rnn.weight_hh_l0, 1, [0, 2]), (getattr(model.rnn, other), 1, [0, 2]))
    if "bidirectional" in settings:
        zero((model.head.weight, 1, [0, 2, 5]))  # two forwards, one backwards
        zero((getattr(model.rnn, other), 1, 1))
    else:
        zero((model.rnn.weight_ih_l1, 1, [0, 2]), (model.rnn.weight_hh_l1, 1, 3), (model.head.weight, 1, 3))
    small = compacted(model, x)
    assert small.model.rnn.hidden_size == 3 and len(small.plan.channels) == 2
    assert "loses as many units of each layer and direction alone" in str(small)


def test_tied_weights_stay_tied() -> None:
    class Tied(nn.Module):
        """Two layers that share a matrix, whose units are one channel."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.out = nn.Linear(3, 4), nn.Linear(3, 4), nn.Linear(4, 2)
            self.second.weight = self.first.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.first(x).relu() + self.second(x).tanh())

    torch.manual_seed(0)
    model = Tied()
    zero((model.out.weight, 1, [2]))
    small = compacted(model, torch.randn(4, 3)).model
    assert small.first.weight is small.second.weight and small.second.out_features == 3


@pytest.mark.parametrize("made", [weight_norm, spectral_norm, orthogonal])
@pytest.mark.parametrize("at", [0, 2, 4])
def test_weights_that_a_parametrisation_makes_stay_whole(made: Callable[[nn.Module], nn.Module], at: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    zero((model[2].weight, 1, [2]), (model[4].weight, 1, [1]))
    made(model[at])
    small = compacted(model, torch.randn(4, 3))
    assert small.model[at].weight.shape == model[at].weight.shape
    assert small.plan.channels == {0: ("2[1]",), 2: (), 4: ("0[2]",)}[at]


def test_what_torchs_pruning_masks_leaves_once_the_mask_is_made_permanent() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2))
    prune.ln_structured(model[2], "weight", amount=4, n=2, dim=1)
    assert not compacted(model, torch.randn(4, 3)).plan.channels
    prune.remove(model[2], "weight")
    assert compacted(model, torch.randn(4, 3)).model[0].out_features == 2


def test_hooks_frozen_tensors_and_modes_stay() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    model[0].weight.requires_grad_(False)
    model[1].eval()
    calls = []
    model[1].register_forward_hook(lambda *_: calls.append(1))
    zero((model[2].weight, 1, [1]))
    small = meden.compact(model, torch.randn(4, 3)).model
    calls.clear()
    small(torch.randn(1, 3))
    assert calls == [1]
    assert [p.requires_grad for p in small.parameters()] == [False, True, True, True]
    assert [m.training for m in small.modules()] == [True, True, False, True]


class OwnSize(nn.Module):
    """A layer that knows its own width."""

    def __init__(self) -> None:
        super().__init__()
        self.width = 4
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(-1, self.width) * self.scale


class OwnFactor(OwnSize):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale / self.scale.numel()


@pytest.mark.parametrize(
    ("layer", "says"),
    [(OwnSize, r"1 \(OwnSize\) does not run: RuntimeError: shape"), (OwnFactor, r"changed by 0\.\d+ of it; of 1")],
)
def test_a_layer_that_knows_its_size_in_another_way_is_named(layer: type[nn.Module], says: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), layer(), nn.Linear(4, 2))
    zero((model[2].weight, 1, [1]))
    before, tensors = copy.deepcopy(model.state_dict()), list(model.parameters())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(InputError, match=says) as error:
        meden.compact(model, torch.randn(5, 3), optimizer=optimizer)
    assert f"of 1 ({layer.__name__}) only the tensors could be cut (the model is as it was)" in str(error.value)
    assert "\n" not in str(error.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert optimizer.param_groups[0]["params"] == tensors


def test_models_and_examples_that_cannot_be_used() -> None:
    class Branching(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if bool(x.sum() > 0) else -x

    with pytest.raises(InputError, match=r"model must be a torch\.nn\.Module, got int"):
        meden.compact(3, torch.randn(2, 3))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="example must be an input of Linear"):
        meden.compact(nn.Linear(3, 2), torch.randn(2, 4))
    with pytest.raises(InputError, match=r"model must be traceable by torch\.export"):
        meden.compact(Branching(), torch.randn(2, 3))


def test_nothing_to_cut_is_no_error() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    small = meden.compact(model, torch.randn(4, 3))
    assert small.plan.rows == () and small.plan.parameters == (26, 26)


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_a_bias_that_comes_into_being_loses_the_rows_of_its_layer(kind: str, tmp_path: Path) -> None:
    def make() -> nn.Sequential:
        if kind == "linear":
            return nn.Sequential(
                *(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 2)),
            )
        inner = (nn.Conv2d(3, 4, 1, bias=False), nn.Sequential(nn.BatchNorm2d(4), nn.ReLU()))
        return nn.Sequential(nn.Conv2d(4, 3, 1), nn.ReLU(), *inner, nn.Conv2d(4, 2, 1))

    torch.manual_seed(0)
    model = make().eval()
    with torch.no_grad():
        model[0].weight[0], model[0].bias[0] = 0, 1
        model[4].weight[:, 1] = 0
    x = torch.randn(5, 4) if kind == "linear" else torch.randn(5, 4, 2, 2)
    averager, sgd = copy.deepcopy(model), torch.optim.SGD(model.parameters(), lr=0.1)
    small = meden.compact(model, x, averages=averager, optimizer=sgd)
    for made in (small.model, averager):
        assert made[2].weight.shape[:2] == (3, 2) and made[2].bias.shape == (3,)
        torch.testing.assert_close(made(x), model(x))
    small.save(tmp_path)
    assert torch.equal(meden.edits.load_compact(make().eval(), tmp_path)(x), small.model(x))
