"""Groups of a model: which numbers, in sets that a penalty sees as matrices."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from meden import InputError, ModelGroups, groups_of
from meden.structure import GroupSet, Piece
from tests.structure.networks import NETWORKS, Gated, Residual, perceptron


@pytest.mark.parametrize("case", NETWORKS)
@pytest.mark.parametrize("kind", ["units", "filters", "heads", "inputs"])
def test_groups_are_apart_and_what_is_put_is_what_was_taken(case: str, kind: Any) -> None:
    model, x = NETWORKS[case]()
    try:
        groups = groups_of(model, x, kind)
    except InputError as error:
        assert f"has removable groups, got '{kind}'" in str(error)
        return
    tensors: dict[str, Tensor] = {name: w.detach().clone() for name, w in model.named_parameters()}
    for part in groups.sets:
        rows = part.take(tensors)
        assert len(rows) == len(part.names)
        part.put(torch.arange(rows.numel(), dtype=rows.dtype).view(rows.shape), tensors)
        assert torch.equal(part.take(tensors).flatten(), torch.arange(rows.numel(), dtype=rows.dtype))


def pieces(groups: ModelGroups) -> list[tuple[str, list[str]]]:
    return [(part.label, [piece.name for piece in part.pieces]) for part in groups.sets]


def test_kinds_by_hand() -> None:
    x = torch.randn(2, 6)
    assert pieces(groups_of(perceptron(), x)) == [
        ("units of 0", ["0.weight", "0.bias", "1.weight", "1.bias", "2.weight"]),
        ("units of 4", ["4.weight", "4.bias"]),
    ]
    assert pieces(groups_of(perceptron(), x, "inputs")) == [("inputs of 0", ["0.weight"])]
    image = torch.randn(2, 1, 4, 4)
    tied = ["stem.weight", "stem.bias", "norm.weight", "norm.bias", "depthwise.weight", "depthwise.bias"]
    assert pieces(groups_of(Residual(), image, "filters")) == [
        ("filters of stem", [*tied, "back.weight", "groups.weight", "groups.bias"]),
        ("filters of pointwise", ["pointwise.weight", "pointwise.bias"]),
    ]
    assert pieces(groups_of(Gated(), torch.randn(2, 4), outgoing=True)) == [
        ("units of up", ["up.weight", "up.bias", "down.weight"])
    ]
    words = nn.Sequential(nn.Embedding(7, 3), nn.Flatten(), nn.Linear(6, 2))
    [rows] = groups_of(words, torch.zeros(2, 2, dtype=torch.long), "inputs").sets
    assert rows.names[-1] == "0[6]" and rows.pieces == (Piece("0.weight", 0, tuple((n,) for n in range(7))),)


def test_inputs_of_one_column_are_one_group_and_sizes_are_sets() -> None:
    groups = groups_of(perceptron(), torch.randn(2, 6), "inputs", columns=["a", "b", "b", "c", "d", "d"])
    assert [(part.names, part.pieces[0].positions) for part in groups.sets] == [
        (("a", "c"), ((0,), (3,))),
        (("b", "d"), ((1, 2), (4, 5))),
    ]


def test_bad_input_is_one_line() -> None:
    x = torch.randn(2, 6)
    net = nn.Sequential(nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 1))
    with pytest.raises(InputError, match="outgoing must be False when groups would overlap"):
        groups_of(net, x, outgoing=True)
    with pytest.raises(
        InputError, match=r"has removable groups, got 'units' \([01]\[[01]\] has to stay: it is an output"
    ):
        groups_of(nn.Sequential(nn.Linear(6, 2)), x)
    with pytest.raises(InputError, match="kind must be one of"):
        groups_of(net, x, "neurons")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="model must be"):
        groups_of("net", x)  # type: ignore[arg-type]


def test_a_set_takes_rows_of_several_tensors() -> None:
    part = GroupSet("units", ("a", "b"), (Piece("w", 1, ((2,), (0,))), Piece("b", 0, ((2,), (0,)))))
    tensors = {"w": torch.arange(6.0).view(2, 3), "b": torch.tensor([10.0, 11.0, 12.0])}
    assert part.take(tensors).tolist() == [[2.0, 5.0, 12.0], [0.0, 3.0, 10.0]]
    part.put(torch.zeros(2, 3), tensors)
    assert tensors["w"].tolist() == [[0.0, 1.0, 0.0], [0.0, 4.0, 0.0]] and tensors["b"].tolist() == [0.0, 11.0, 0.0]
