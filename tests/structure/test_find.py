"""What is found of a model's channels, against what the model does when they change."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from meden import InputError
from meden.models import TabularNet
from meden.models.decoder import Decoder
from meden.structure import Channel, Slice, Structure, structure_of
from tests.structure.networks import NETWORKS, Gated, Pruned, Recurrent, Residual, Twice, perceptron

CASES = NETWORKS | {
    "tabular": lambda: (TabularNet(5, 2, num_numbers=3, width=4, depth=2), torch.randn(3, 5)),
    "decoder": lambda: (Decoder(6, 9, width=8, depth=1, num_heads=2), torch.randint(0, 9, (2, 6))),
}


def tensors(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_parameters()) | dict(model.named_buffers())


@torch.no_grad()
def write(model: nn.Module, part: Slice, value: Any) -> None:
    w = tensors(model)[part.name]
    at = torch.tensor(part.positions)
    w.index_copy_(part.axis, at, value(w.index_select(part.axis, at)))


@torch.no_grad()
def output(model: nn.Module, x: Tensor) -> Tensor:
    return model.eval()(x)


def prepared(case: str) -> tuple[nn.Module, Tensor, Structure]:
    torch.manual_seed(0)
    model, x = CASES[case]()
    model = model.double()
    for param in model.parameters():  # norms start as ones and zeros, which would hide much
        nn.init.normal_(param, std=0.7)
    x = x.double() if x.is_floating_point() else x
    return model, x, structure_of(model, x)


def free(structure: Structure) -> list[Channel]:
    return [channel for channel in structure.channels if channel.fixed is None]


@pytest.mark.parametrize("case", CASES)
def test_the_model_sees_a_channel_only_through_what_reads_it(case: str) -> None:
    model, x, structure = prepared(case)
    saved = {name: w.detach().clone() for name, w in model.state_dict().items()}
    for channel in free(structure):
        for read in channel.reads:
            write(model, read.weight, torch.zeros_like)
        before = output(model, x)
        for part in channel.slices:
            write(model, part, lambda w: w.abs() + torch.rand_like(w))
        for read in channel.reads:  # its own rows may be among them
            write(model, read.weight, torch.zeros_like)
        assert torch.allclose(output(model, x), before, rtol=0, atol=1e-12), channel.label
        model.load_state_dict(saved)


@pytest.mark.parametrize("case", CASES)
def test_what_is_called_a_constant_can_be_added_to_the_bias(case: str) -> None:
    model, x, structure = prepared(case)
    saved = {name: w.detach().clone() for name, w in model.state_dict().items()}
    num_folded = 0
    for channel in free(structure):
        for part in channel.slices:
            if not part.name.endswith(("bias", "bias_hh_l0", "running_mean", "running_var")):
                write(model, part, torch.zeros_like)
        other = torch.randn_like(x) if x.is_floating_point() else x.flip(0)
        again = next(c for c in structure_of(model, x).channels if c.label == channel.label and c.kind == channel.kind)
        for read in again.reads:
            if read.constant is None or (read.bias is None and bool(read.constant.any())):
                continue
            num_folded += 1
            before = output(model, other)
            w = tensors(model)[read.weight.name].detach()
            moved = w.movedim(read.weight.axis, 0)[list(read.weight.positions)]
            added = torch.tensordot(read.constant.to(w), moved.flatten(2).sum(-1) if moved.ndim > 2 else moved, 1)
            write(model, read.weight, torch.zeros_like)
            if read.bias is not None:
                with torch.no_grad():
                    tensors(model)[read.bias].add_(added)
            assert torch.allclose(output(model, other), before, rtol=0, atol=1e-10), (channel.label, read)
        model.load_state_dict(saved)
    assert num_folded or case in ("gru", "lstm", "rnn", "attention", "twice", "pruned", "decoder", "gated", "tabular")


def labels(structure: Structure, kind: str) -> list[str]:
    return [channel.label for channel in free(structure) if channel.kind == kind]


def test_counts_by_hand() -> None:
    found = structure_of(perceptron(), torch.randn(2, 6))
    assert labels(found, "unit") == [f"0[{n}]" for n in range(5)] + [f"4[{n}]" for n in range(4)]
    assert labels(found, "input") == [f"input[{n}]" for n in range(6)]
    first = next(channel for channel in found.channels if channel.label == "0[3]")
    names = [part.name for part in first.slices]
    assert names == ["0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "2.weight"]
    assert all(part.positions == (3,) and part.axis == 0 for part in first.slices)
    assert [(r.weight.name, r.weight.axis, r.bias) for r in first.reads] == [("4.weight", 1, "4.bias")]
    assert found.products == {"0": 2 * 6 * 5, "4": 2 * 5 * 4, "6": 2 * 4 * 2}


def test_a_sum_a_depthwise_convolution_and_a_group_norm_tie_filters() -> None:
    found = structure_of(Residual(), torch.randn(2, 1, 4, 4))
    assert labels(found, "filter") == ["stem[0:2]", "stem[2:4]", *(f"pointwise[{n}]" for n in range(6))]
    tied = next(channel for channel in found.channels if channel.label == "stem[2:4]")
    owners = {part.name.split(".")[0] for part in tied.slices}
    assert owners == {"stem", "norm", "depthwise", "back", "groups"}
    read = {r.weight.name: r.weight.positions for r in tied.reads}
    assert read == {"pointwise.weight": (2, 3), "last.weight": (*range(8, 16), 18, 19)}


def test_gates_of_a_unit_go_together() -> None:
    found = structure_of(Recurrent(nn.GRU), torch.randn(2, 4, 3))
    unit = free(found)[-1]
    assert {part.positions for part in unit.slices} == {(4, 9, 14)}
    assert [read.weight.name for read in unit.reads] == ["layer.weight_hh_l0", "last.weight"]


def test_the_halves_of_a_gated_layer_are_one_unit() -> None:
    found = structure_of(Gated(), torch.randn(2, 4))
    units = [channel for channel in free(found) if channel.kind == "unit"]
    assert [channel.slices[0].positions for channel in units] == [(n, n + 6) for n in range(6)]
    assert not labels(found, "input")  # the norm mixes them, and the sum carries them on


def test_a_layer_that_is_used_twice_has_its_units_as_inputs() -> None:
    found = structure_of(Twice(), torch.randn(2, 3))
    unit = next(channel for channel in free(found) if channel.kind == "unit")
    assert {part.name for part in unit.slices} == {"first.weight", "first.bias", "again.weight", "again.bias"}
    assert {read.weight.name for read in unit.reads} == {"again.weight", "last.weight"}


def test_masks_go_with_their_weight_and_what_a_weight_made_of_two_reads_stays() -> None:
    found = structure_of(Pruned(), torch.randn(2, 3))
    first = next(channel for channel in found.channels if channel.label == "input[0]")
    assert [read.weight.name for read in first.reads] == ["first.weight", "mask"]
    assert labels(found, "unit") == []


def test_columns_of_one_name_are_one_input() -> None:
    found = structure_of(perceptron(), torch.randn(2, 6), columns=["a", "b", "b", "a", "c", "b"])
    assert labels(found, "input") == ["a", "b", "c"]
    assert [c.reads[0].weight.positions for c in found.channels if c.kind == "input"] == [(0, 3), (1, 2, 5), (4,)]


class Strange(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.first, self.last, self.how = nn.Linear(3, 4), nn.Linear(4, 2), how
        self.register_buffer("order", torch.tensor([2, 0, 3, 1]))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.first(x))
        if self.how == "sorted":
            h = h.sort(-1).values
        elif self.how == "positions":
            h = h * torch.arange(4.0).add(1)
        elif self.how == "mixed":
            h = F.layer_norm(h, (4,))
        elif self.how == "unknown":
            h = torch.fft.rfft(torch.cat([h, h], 1)).real[:, :4]
        elif self.how == "permuted":
            h = h[:, self.order]
        elif self.how == "value" and h.sum() > 0:
            h = -h
        return self.last(h)


@pytest.mark.parametrize("how", ["sorted", "positions", "mixed", "unknown"])
def test_what_cannot_be_told_stays(how: str) -> None:
    found = structure_of(Strange(how), torch.randn(2, 3))
    units = [channel for channel in found.channels if channel.kind == "unit"]
    stay = {channel.label for channel in units if channel.fixed}
    assert {f"first[{n}]" for n in range(4)} <= stay or (how in ("mixed", "sorted") and not labels(found, "unit"))


def test_a_permutation_is_followed() -> None:
    found = structure_of(Strange("permuted"), torch.randn(2, 3))
    read = {c.label: c.reads[0].weight.positions for c in free(found) if c.kind == "unit"}
    assert read == {"first[0]": (1,), "first[1]": (3,), "first[2]": (0,), "first[3]": (2,)}


def test_bad_input_is_one_line() -> None:
    model = Strange("plain")
    for x, message in (
        (torch.randn(2, 5), "example must be an input of Strange"),
        ("text", "example must be an input of Strange"),
    ):
        with pytest.raises(InputError, match=message) as raised:
            structure_of(model, x)
        assert "\n" not in str(raised.value)
    with pytest.raises(InputError, match=r"model must be traceable by torch.export .* got Strange") as raised:
        structure_of(Strange("value"), torch.randn(2, 3))
    assert "\n" not in str(raised.value)
    with pytest.raises(InputError, match="columns must name the 3 inputs of a row, got 2 names"):
        structure_of(model, torch.randn(2, 3), columns=["a", "b"])


def test_the_model_is_left_as_it_is() -> None:
    model = perceptron()
    model[1].eval()
    before = {name: w.clone() for name, w in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    structure_of(model, torch.randn(2, 6))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(w, before[name]) for name, w in model.state_dict().items())
    assert all(param.grad is None for param in model.parameters())


def test_a_model_that_is_nowhere_is_refused_in_one_line():
    with pytest.raises(InputError, match="model must be one that can be copied to the CPU, got one on meta"):
        structure_of(nn.Linear(2, 3, device="meta"), torch.zeros(2, 2, device="meta"))
