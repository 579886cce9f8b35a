"""Groups of inputs: all weights that read what one column of a table became.

Legend: D inputs of a model, H outputs of a layer that reads them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from meden.structure.groups import GroupSet, ModelGroups, Piece


def input_groups(columns: Sequence[str], weights: Sequence[str]) -> ModelGroups:
    """Return one group for each column: the slices, of every weight that reads the inputs, of all that encode it.

    Args:
        columns: of each input, the name of the column that it is made of, (D,), as an encoder's ``input_columns``
            has it.
        weights: names of the parameters (H, D) that multiply the inputs, such as that of the first layer and that of a
            skip connection.

    Returns:
        A set for each number of inputs that a column became, the smallest first; columns in the order of their first
        input.

    Example:
        >>> groups = input_groups(["age", "pet", "pet", "age", "size"], ["0.weight"])
        >>> [(s.names, s.pieces[0].positions) for s in groups.sets]
        [(('size',), ((4,),)), (('age', 'pet'), ((0, 3), (1, 2)))]
    """
    positions: dict[str, list[int]] = {}
    for place, column in enumerate(columns):
        positions.setdefault(column, []).append(place)
    sizes = sorted(Counter(map(len, positions.values())))
    return ModelGroups("inputs", tuple(_of_size(positions, size, weights) for size in sizes))


def _of_size(positions: dict[str, list[int]], size: int, weights: Sequence[str]) -> GroupSet:
    alike = {column: tuple(places) for column, places in positions.items() if len(places) == size}
    label = f"columns of {size} input{'s' if size > 1 else ''}"
    return GroupSet(label, tuple(alike), tuple(Piece(name, 1, tuple(alike.values())) for name in weights))
