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
    """A column without a value: no command trains on the table before it is left out."""
    found = table.faults.empty
    if not found:
        return None
    return Seen(
        f"{columns(found)} {named(found)} {have(len(found))} no value in any row",
        "Leave it out" if len(found) == 1 else "Leave them out",
        command=table.command(),
        value=float(len(found)),
    )


@rule("data", "error")
def unreadable_column(table: Table) -> Seen | None:
    """A column of what no encoder reads, such as lists: no command trains on the table before it is left out."""
    found = table.faults.unreadable
    if not found:
        return None
    return Seen(
        "; ".join(list(found.values())[:3]) + (f"; and {len(found) - 3} columns more" if len(found) > 3 else ""),
        "Make columns of numbers or texts of it, or leave it out",
        command=table.command(),
        value=float(len(found)),
    )


@rule("data", "error")
def missing_target(table: Table) -> Seen | None:
    """Rows without a target, or with another thing than a number among numbers: nothing can be learnt from them."""
    return _rows_left_out(table, table.faults.unlabelled, f"no usable target {table.dataset.target!r}")


@rule("data", "error")
def missing_group(table: Table) -> Seen | None:
    """Rows without a group, where groups stay together: it cannot be said what they belong to."""
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
        "Correct what is wrong, or leave such rows out of the table; the other findings are of the rest",
        value=len(cells) / total,
    )


@rule("data", "error")
def unusable_number(table: Table) -> Seen | None:
    """Numbers that are infinite, or beside which all others of their column vanish."""
    found = table.faults.cells
    if not found:
        return None
    told = [f"column {name!r} holds {cells_named(cells)}" for name, cells in found.items()]
    num = sum(map(len, found.values()))
    return Seen(
        "; ".join(told[:3])
        + (f"; and {len(told) - 3} columns more" if len(told) > 3 else "")
        + f": {plural(num, 'number')} that {are(num)} infinite, or so large that the others of the column vanish",
        "Correct the cells, or leave them empty; the other findings take them as missing",
        value=float(num),
    )
