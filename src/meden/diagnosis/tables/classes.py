"""Classes with too few rows for what is to be done with them."""

from __future__ import annotations

import numpy as np

from meden.diagnosis.finding import Seen
from meden.diagnosis.rule import rule
from meden.diagnosis.tables.table import Table
from meden.diagnosis.tables.wording import named


@rule("data", "warning")
def rare_class(table: Table) -> Seen | None:
    """A class has too few rows for every fold, or for every part of the split, to contain it."""
    if not table.is_classes:
        return None
    classes = table.dataset.classes
    if table.split is None:
        counts, fewest, where = np.bincount(table.dataset.labels, minlength=len(classes)), table.folds, "in the table"
    else:
        counts = np.bincount(table.dataset.labels[table.part("score")], minlength=len(classes))
        fewest, where = 1, "among the scored rows"
    rare = [place for place in np.flatnonzero(counts < fewest) if table.split is None or counts[place] == 0]
    if not rare:
        return None
    least = int(counts[rare].min())
    told = ", ".join(f"{classes[place]!r} ({counts[place]})" for place in rare[:5])
    return Seen(
        f"{len(rare)} of {len(classes)} classes {'has' if len(rare) == 1 else 'have'} too few rows {where}: {told}",
        "Collect more rows of them, merge them with another class, or use fewer folds",
        command=table.command("--folds", str(least)) if table.split is None and least > 1 else "",
        value=float(least),
    )


@rule("data", "error")
def unseen_class(table: Table) -> Seen | None:
    """A class occurs among the scored rows but not among the fitting rows: it can only be missed."""
    if not table.is_classes or table.split is None:
        return None
    labels, classes = table.dataset.labels, table.dataset.classes
    unseen = np.setdiff1d(labels[table.part("score")], labels[table.part("fit")])
    if not unseen.size:
        return None
    rows = int(np.isin(labels[table.part("score")], unseen).sum())
    share = rows / len(table.part("score"))
    return Seen(
        f"no fitting row is of {named(str(classes[code]) for code in unseen)}, but {rows} of the scored rows are",
        "Split the rows again so that each part has every class",
        value=share,
    )
