"""The tensors of a model by name, tied ones as one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from torch import Tensor, nn

from meden.structure import Slice

Place = tuple[str, int]
"""A tensor, by the first of its names, and one of its axes."""


class Names:
    """Parameters and buffers of a model by all of their names; what is tied goes by the first.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        >>> model[1].weight = model[0].weight
        >>> Names(model).all_of["0.weight"]
        ['0.weight', '1.weight']
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
        first: dict[int, str] = {}
        self.first: dict[str, str] = {}
        self.all_of: dict[str, list[str]] = defaultdict(list)
        for name, tensor in named:
            self.first[name] = first.setdefault(id(tensor), name)
            self.all_of[self.first[name]].append(name)
        self.tensors: dict[str, Tensor] = {name: tensor for name, tensor in named if self.first[name] == name}

    def place(self, part: Slice) -> Place:
        """Return the tensor and the axis of a slice."""
        return self.first[part.name], part.axis

    def owner(self, name: str) -> nn.Module:
        """Return the module that holds a tensor."""
        return self.model.get_submodule(name.rpartition(".")[0])

    def is_tied(self, name: str) -> bool:
        """Say whether a tensor has several names."""
        return len(self.all_of[name]) > 1

    def modules_of(self, places: Collection[Place]) -> dict[str, nn.Module]:
        """Return the modules that hold some of these tensors, by name."""
        owners = {alias.rpartition(".")[0] for name, _ in places for alias in self.all_of[name]}
        return {owner: self.model.get_submodule(owner) for owner in sorted(owners)}
