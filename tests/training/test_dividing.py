"""What cannot be divided among processes, or parts of a batch, is refused before a process starts."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from meden import InputError, Recipe, Sharding
from meden.optim import Activity
from meden.penalties import KLSparsity
from meden.training.dividing import check_divides
from meden.training.fit import prepare

from .sharded_cases import net, normed, rows


def layer() -> nn.Module:
    return nn.Linear(5, 3).double()


def check(make: Any, num_processes: int, recipe: dict[str, Any], sharding: dict[str, Any]) -> None:
    fit, _ = rows()
    training = prepare(make(), fit, recipe=Recipe(**{"epochs": 1, "batch_size": 4, **recipe}))
    check_divides(training, num_processes, Sharding(**sharding))


SPARSE = {"activity": [Activity(KLSparsity(0.1), on="blocks.*.0")]}
CHECKPOINTED = {"activation_checkpointing": True}
REFUSED = {
    "rows of a batch": (net, 5, {}, {}, "batch_size must be at least the number of processes, 5, .* got 4"),
    "batch norm": (normed, 2, {}, {}, "model must process each row independently on 2 processes, got a Net"),
    "batch norm in parts": (
        normed,
        1,
        {},
        {"micro_batch_size": 2},
        r"independently on parts \(micro_batch_size\)",
    ),
    "a mean over the batch": (net, 2, SPARSE, {}, "activity must not hold KLSparsity on 2 processes"),
    "R-Drop": (net, 1, {"rdrop": 1.0}, CHECKPOINTED, "activation_checkpointing must be off with rdrop"),
    "no blocks": (layer, 1, {}, CHECKPOINTED, "blocks must select modules to checkpoint, got none"),
    "other blocks": (
        net,
        1,
        {},
        {"blocks": "layers.*"},
        r"blocks: on must select at least .* got 'layers\.\*'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    *case, told = REFUSED[name]
    with pytest.raises(InputError, match=told) as refused:
        check(*case)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("make", "num_processes", "recipe", "sharding"),
    [
        (net, 4, {}, CHECKPOINTED),
        (normed, 1, {}, {}),
        (net, 2, {"rdrop": 1.0}, {"micro_batch_size": 1}),
        (layer, 2, {}, {}),
    ],
)
def test_taken(make: Any, num_processes: int, recipe: dict[str, Any], sharding: dict[str, Any]) -> None:
    check(make, num_processes, recipe, sharding)
