"""The groups that a recipe names by their kind, found in a model with rows of the data it is to fit."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from torch import Tensor, nn

from meden.optim import Regularizer, with_groups
from meden.structure import Kind, ModelGroups, groups_of

_FOUND: weakref.WeakKeyDictionary[Any, dict[Hashable, ModelGroups]] = weakref.WeakKeyDictionary()
"""What was found in models, by the function that makes them, as long as that lives: tracing takes half a second."""


def found_in(make_model: Callable[..., nn.Module]) -> dict[Hashable, ModelGroups]:
    """Return where the groups of a function's models are kept, by what models of equal groups have in common."""
    try:
        return _FOUND.setdefault(make_model, {})
    except TypeError:  # some callables have no hash, or cannot be referred to weakly
        return {}


def grouped(
    regularizers: Sequence[Regularizer],
    model: nn.Module,
    x: Tensor,
    columns: Sequence[str] | None = None,
    found: dict[Hashable, ModelGroups] | None = None,
    alike: Callable[[nn.Module], Hashable] = id,
) -> list[Regularizer]:
    """Return regularizers with a model's groups in the place of their kinds.

    Args:
        regularizers: of the model's recipe.
        model: as it is before anything is spread or wrapped.
        x: a few rows of inputs, (B, ...).
        columns: the name of the column behind each input of a row, where rows are of a table: inputs of one column are
            one group. None where there are no names.
        found: where groups are kept, for models that are alike.
        alike: returns what such models have in common.

    Raises:
        InputError: if the model cannot be traced, or has no such groups.
    """
    found = {} if found is None else found

    def find(kind: Kind) -> ModelGroups:
        is_table = columns is not None and x.ndim == 2 and x.is_floating_point()
        named = tuple(columns) if columns is not None and is_table and kind == "inputs" else None
        key = kind, named, alike(model)
        if key not in found:
            found[key] = groups_of(model, x, kind, columns=named)
        return found[key]

    return with_groups(regularizers, find)
