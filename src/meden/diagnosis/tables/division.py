"""A table that is divided already, as the rules on splits see it."""

from __future__ import annotations

from meden.data import Fold
from meden.diagnosis.splits.split import Split
from meden.diagnosis.tables.copies import compared
from meden.diagnosis.tables.table import Table


def division(table: Table) -> Split | None:
    """Return the split that a column of a table gives, with its groups and moments; None where there is none.

    Columns that are keys are left out, since no row has an equal with them.
    """
    if table.split is None:
        return None
    data = table.dataset
    return Split(
        folds=[Fold(*(table.part(name) for name in ("fit", "stop", "score")))],
        inputs=table.once(compared),
        target=data.labels,
        groups=data.groups,
        moments=table.moments,
        places=table.places,
        source="" if table.faults.in_cells else table.source,
    )
