"""Classes with too few rows for what is to be done with them."""

from __future__ import annotations

import numpy as np

from meden.diagnosis.finding import Seen
from meden.diagnosis.rule import rule
from meden.diagnosis.tables.table import Table
from meden.diagnosis.tables.wording import named


@rule("data", "warning")
def rare_class(table: Table) -> Seen | None:
    """A class with fewer rows than folds, or than one in each part of the split: it is not scored everywhere."""
    if not table.is_classes:
        return None
    classes = table.dataset.classes
    if table.split is None:
        counts, fewest, where = np.bincount(table.dataset.labels, minlength=len(classes)), table.folds, "in the table"
    else:
        counts = np.bincount(table.dataset.labels[table.part("score")], minlength=len(classes))
        fewest, where = 1, "among those that score"
    rare = [place for place in np.flatnonzero(counts < fewest) if table.split is None or counts[place] == 0]
    if not rare:
        return None
    least = int(counts[rare].min())
    told = ", ".join(f"{classes[place]!r} ({counts[place]})" for place in rare[:5])
    return Seen(
        f"{len(rare)} of {len(classes)} classes {'has' if len(rare) == 1 else 'have'} too few rows {where}: {told}",
        "Collect more of them, put them together with another class, or take fewer folds",
        command=table.command("--folds", str(least)) if table.split is None and least > 1 else "",
        value=float(least),
    )


@rule("data", "error")
def unseen_class(table: Table) -> Seen | None:
    """A class that scores and that no row that fits has: it can only be missed."""
    if not table.is_classes or table.split is None:
        return None
    labels, classes = table.dataset.labels, table.dataset.classes
    unseen = np.setdiff1d(labels[table.part("score")], labels[table.part("fit")])
    if not unseen.size:
        return None
    rows = int(np.isin(labels[table.part("score")], unseen).sum())
    share = rows / len(table.part("score"))
    return Seen(
        f"no row that fits is of {named(str(classes[code]) for code in unseen)}, but {rows} of those that score are",
        "Divide the rows again, with each class in each part",
        value=share,
    )
