"""Ties between channels that are easy to miss: each was missed once, with a smaller model that answered otherwise."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from meden import InputError, groups_of
from meden.structure import Channel, structure_of


class Net(nn.Module):
    """Layers by name, and what is done with them."""

    def __init__(self, forward: Callable[..., Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.run = forward
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, *args: Tensor) -> Tensor:
        return self.run(self, *args)


def channels(net: Net, *args: Tensor, kind: str = "unit") -> list[Channel]:
    return [channel for channel in structure_of(net, args).channels if channel.kind == kind]


def free(net: Net, *args: Tensor, kind: str = "unit") -> list[str]:
    return [channel.label for channel in channels(net, *args, kind=kind) if channel.fixed is None]


X = torch.randn(2, 4)


def test_a_layer_of_which_one_use_mixes_all_rows_keeps_them_in_the_other() -> None:
    mixed = Net(
        lambda s, x, y: F.softmax(s.f(x), -1).amax(-1, keepdim=True) + s.o(torch.relu(s.f(y))),
        f=nn.Linear(4, 6), o=nn.Linear(6, 1),
    )  # fmt: skip
    normed = Net(
        lambda s, x, y: s.p(s.n(s.f(x))) + s.o(torch.relu(s.f(y))),
        f=nn.Linear(4, 6), n=nn.LayerNorm(6), p=nn.Linear(6, 1), o=nn.Linear(6, 1),
    )  # fmt: skip
    for net in (mixed, normed):
        assert free(net, X, X) == []
        with pytest.raises(InputError, match="has removable groups, got 'units'"):
            groups_of(net, (X, X))


def biased(s: Net, x: Tensor) -> Tensor:
    q, k, v = (part.unflatten(-1, (2, 2)).transpose(1, 2) for part in s.qkv(x).chunk(3, -1))
    places = torch.arange(3)
    bias = s.bias((places[:, None] - places).abs()).permute(2, 0, 1)
    return s.out(F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(2))


def test_a_bias_of_heads_goes_with_its_head() -> None:
    net = Net(biased, qkv=nn.Linear(4, 12), out=nn.Linear(4, 3), bias=nn.Embedding(3, 2))
    first, second = channels(net, torch.randn(2, 3, 4), kind="head")
    assert [(part.name, part.positions) for part in second.slices if part.name.startswith("bias")] == [
        ("bias.weight", (1,))
    ]
    assert first.fixed is None and free(net, torch.randn(2, 3, 4)) == []


def test_an_input_that_is_read_in_ways_that_are_not_known_is_no_group() -> None:
    through = Net(lambda s, x: s.o(torch.relu(s.f(x))) + x[:, :1], f=nn.Linear(4, 3), o=nn.Linear(3, 2))
    groups = groups_of(through, X, "inputs")
    assert [name for part in groups.sets for name in part.names] == ["input[1]", "input[2]", "input[3]"]
    aside = Net(
        lambda s, x: s.o(torch.relu(s.f(x))) + torch.fft.fft(x).real[:, :2], f=nn.Linear(4, 3), o=nn.Linear(3, 2)
    )
    with pytest.raises(InputError, match=r"input.* has to stay: it reaches aten.*fft"):
        groups_of(aside, X, "inputs")


def test_a_head_of_constant_values_is_none_where_a_mask_may_hide_all() -> None:
    def attend(s: Net, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (2, 2)).transpose(1, 2) for part in s.qkv(x).chunk(3, -1))
        return s.out(F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2))

    net = Net(attend, qkv=nn.Linear(4, 12), out=nn.Linear(4, 3))
    with torch.no_grad():
        net.qkv.weight[8:] = 0
        net.qkv.bias[8:] = 0.3
    masked = torch.ones(2, 1, 3, 3, dtype=torch.bool)
    for channel in channels(net, torch.randn(2, 3, 4), masked, kind="head"):
        assert channel.reads[0].constant is None
    net.run = lambda s, x: attend(s, x, None)  # type: ignore[arg-type]
    for channel in channels(net, torch.randn(2, 3, 4), kind="head"):
        assert channel.reads[0].constant is not None
        assert torch.allclose(channel.reads[0].constant, torch.tensor(0.3))


def test_what_is_drawn_is_no_constant() -> None:
    net = Net(lambda s, x: s.o(s.f(x) + 1e-9 * torch.randn_like(s.f(x))), f=nn.Linear(4, 3), o=nn.Linear(3, 2))
    with torch.no_grad():
        net.f.weight.zero_()
    assert all(read.constant is None for channel in channels(net, X) for read in channel.reads)


def test_steps_of_a_recurrent_cell_are_followed() -> None:
    def steps(s: Net, x: Tensor) -> Tensor:
        h, c = s.cell(x[:, 0])
        for t in range(1, x.shape[1]):
            h, c = s.cell(x[:, t], (h, c))
        return s.out(h)

    net = Net(steps, cell=nn.LSTMCell(3, 4), out=nn.Linear(4, 2))
    found = channels(net, torch.randn(2, 3, 3))
    units = [channel for channel in found if channel.fixed is None]
    assert [channel.slices[0].positions for channel in units] == [(n, n + 4, n + 8, n + 12) for n in range(4)]
    assert {read.weight.name for read in units[0].reads} == {"cell.weight_hh", "out.weight"}


def test_a_bias_that_is_added_apart_takes_constants_over() -> None:
    net = Net(lambda s, x: torch.relu(x @ s.f.weight.T) @ s.o.weight.T + s.o.bias, f=nn.Linear(4, 3), o=nn.Linear(3, 2))
    assert {read.bias for channel in channels(net, X) for read in channel.reads} == {"o.bias"}


def test_channels_that_are_stacked_stay_apart() -> None:
    net = Net(
        lambda s, x: s.o(torch.stack([s.f(x), s.g(x)], 1).flatten(1)),
        f=nn.Linear(4, 2), g=nn.Linear(4, 2), o=nn.Linear(4, 1),
    )  # fmt: skip
    assert [channel.reads[0].weight.positions for channel in channels(net, X) if not channel.fixed] == [
        (0,), (1,), (2,), (3,),
    ]  # fmt: skip


def test_an_example_without_rows_is_one_line() -> None:
    with pytest.raises(InputError, match="example must give an output that holds numbers, got none"):
        structure_of(nn.Linear(4, 2), torch.zeros(0, 4))
