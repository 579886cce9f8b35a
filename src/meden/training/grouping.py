"""The groups that a recipe names by their kind, found in a model with rows of the data it is to fit."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from torch import Tensor, nn

from meden.optim import Regularizer, with_groups
from meden.structure import ModelGroups, groups_of


class Groups:
    """Finds groups, once for models that are alike; of inputs of one column of a table it makes one group.

    Args:
        columns: the name of the column behind each input of a row; None where there are no names.
    """

    def __init__(self, columns: Sequence[str] | None = None) -> None:
        self.columns = columns
        self._found: dict[Hashable, ModelGroups] = {}

    def resolved(
        self,
        regularizers: Sequence[Regularizer],
        model: nn.Module,
        x: Callable[[], Tensor],
        alike: Callable[[], Hashable] = lambda: None,
    ) -> list[Regularizer]:
        """Return regularizers with a model's groups in the place of their kinds.

        Args:
            regularizers: of the model's recipe.
            model: as it is before anything is spread or wrapped.
            x: returns a few rows of inputs, (B, ...).
            alike: returns what models of equal groups have in common.

        Raises:
            InputError: if the model cannot be traced, or has no such groups.
        """

        def find(kind: str) -> ModelGroups:
            key = kind, alike()
            if key not in self._found:
                columns = self.columns if kind == "inputs" else None
                self._found[key] = groups_of(model, x(), kind, columns=columns)
            return self._found[key]

        return with_groups(regularizers, find)
