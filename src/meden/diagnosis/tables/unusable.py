"""What of a table training refuses: columns without a value, rows without a target or a group, infinite numbers.

``check`` looks at the rest; messages name rows by their positions in the table as it was given.
"""

from __future__ import annotations

from meden.data.faults import Cells
from meden.data.reading import cells_named
from meden.diagnosis.finding import Seen
from meden.diagnosis.rule import rule
from meden.diagnosis.tables.table import Table
from meden.diagnosis.tables.wording import are, columns, have, listed, named, plural


@rule("data", "error")
def empty_column(table: Table) -> Seen | None:
    """A column has no values: training is refused until it is removed."""
    found = table.faults.empty
    if not found:
        return None
    return Seen(
        f"{columns(found)} {named(found)} {have(len(found))} no value in any row",
        "Remove it" if len(found) == 1 else "Remove them",
        command=table.command(),
        value=float(len(found)),
    )


@rule("data", "error")
def unreadable_column(table: Table) -> Seen | None:
    """A column holds values that no encoder reads, such as lists: training is refused until it is removed."""
    found = table.faults.unreadable
    if not found:
        return None
    return Seen(
        "; ".join(list(found.values())[:3]) + (f"; and {len(found) - 3} more columns" if len(found) > 3 else ""),
        "Convert it to columns of numbers or strings, or remove it",
        command=table.command(),
        value=float(len(found)),
    )


@rule("data", "error")
def missing_target(table: Table) -> Seen | None:
    """Rows have no target, or a target that is not a number among numbers: they cannot be used for training."""
    return _rows_left_out(table, table.faults.unlabelled, f"no usable target {table.dataset.target!r}")


@rule("data", "error")
def missing_group(table: Table) -> Seen | None:
    """Rows have no group although folds keep groups together."""
    return _rows_left_out(table, table.faults.ungrouped, "no group")


def _rows_left_out(table: Table, cells: Cells, what: str) -> Seen | None:
    if not cells:
        return None
    empty, odd = [row for row, text in cells if not text], [cell for cell in cells if cell[1]]
    told = [f"nothing in {listed(empty)}"] if empty else []
    told += [cells_named(odd)] if odd else []
    total = table.num_rows + len(table.faults.unlabelled) + len(table.faults.ungrouped)
    return Seen(
        f"{plural(len(cells), 'row')} of {total:,} {have(len(cells))} {what}: {'; '.join(told)}",
        "Correct the cells, or remove such rows from the table; the other findings are about the remaining rows",
        value=len(cells) / total,
    )


@rule("data", "error")
def unusable_number(table: Table) -> Seen | None:
    """Numbers are infinite, or so large that all others in their column vanish."""
    found = table.faults.cells
    if not found:
        return None
    told = [f"column {name!r} holds {cells_named(cells)}" for name, cells in found.items()]
    num = sum(map(len, found.values()))
    return Seen(
        "; ".join(told[:3])
        + (f"; and {len(told) - 3} more columns" if len(told) > 3 else "")
        + f": {plural(num, 'number')} that {are(num)} infinite, or so large that the others in the column vanish",
        "Correct the cells, or leave them empty; the other findings treat them as missing",
        value=float(num),
    )
