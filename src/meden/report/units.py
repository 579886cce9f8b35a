"""A section of a report: the strengths in the units of the reader's own tool."""

from __future__ import annotations

from meden.recipe import Recipe
from meden.report.document import Column, ReportTable, Section, TableRow


def units_section(recipe: Recipe, tool: str, *, n: float | None = None, loss: str = "half_mse") -> Section:
    """Return the strengths of a recipe in another tool's units, as :meth:`meden.Recipe.strengths_in` returns them.

    Args:
        recipe: of the choice.
        tool: such as ``"keras.L2"``.
        n: rows trained on, for tools whose number depends on it.
        loss: what the other tool's user minimises.

    Raises:
        InputError: if the tool is not known.
    """
    found = recipe.strengths_in(tool, n=n, loss=loss)
    rows = tuple(
        TableRow((label, repr(value) if not isinstance(value, str) else value)) for label, value in found.items()
    )
    table = ReportTable((Column("regularizer", numeric=False), Column(tool, numeric=False)), rows)
    return Section(title=f"Strengths in the units of {tool}", table=table)
