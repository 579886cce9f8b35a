"""What makes a score a promise that is not kept, as the split shows it: rows that know what they should not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meden.diagnosis.command import command
from meden.diagnosis.duplicates import twins
from meden.diagnosis.finding import Seen
from meden.diagnosis.intervals import wilson
from meden.diagnosis.rule import rule
from meden.diagnosis.splits.split import Split

SHOWN = 4
"""Pairs of rows that a message names."""


@rule("honesty", "error")
def stop_rows_scored(split: Split) -> Seen | None:
    """Rows that decide when to stop are also scored: the best epoch was chosen on the rows that score it."""
    found, count = 0, 0
    for fold in split.folds:
        both = np.isin(fold.score, fold.stop)
        if split.inputs is not None and len(fold.stop):
            equal = twins(split.rows(fold.score), among=split.rows(fold.stop))
            both[equal.rows[equal.exact]] = True
        found, count = found + int(both.sum()), count + len(fold.score)
    return _share(
        found,
        count,
        f"{found:,} of the {count:,} scored rows also decide when to stop",
        "In each fold, take the stop split from the training rows, so that the scored rows decide nothing",
        split.command(),
    )


@rule("honesty", "error")
def rows_across(split: Split) -> Seen | None:
    """Scored rows are among the fitting rows, by id or as equal or nearly equal rows."""
    ids, equal, near, count, shown = 0, 0, 0, 0, []
    for fold in split.folds:
        same = np.isin(fold.score, fold.fit)
        ids, count = ids + int(same.sum()), count + len(fold.score)
        if split.inputs is None or same.all():
            continue
        others = np.asarray(fold.score)[~same]
        found = twins(split.rows(others), among=split.rows(fold.fit))
        equal, near = equal + int(found.exact.sum()), near + int((~found.exact).sum())
        shown += [
            f"{row} and {twin}"
            for row, twin in zip(
                split.named(others[found.rows[:SHOWN]]),
                split.named(np.asarray(fold.fit)[found.twins[:SHOWN]]),
                strict=True,
            )
        ]
    kinds = {"the same row": ids, "an equal row": equal, "a nearly equal row": near}
    told = ", ".join(f"{kind} for {num:,}" for kind, num in kinds.items() if num)
    pairs = f" (such as rows {', '.join(shown[:SHOWN])})" if shown else ""
    return _share(
        ids + equal + near,
        count,
        f"of {count:,} scored rows, the fitting rows contain {told}{pairs}",
        "Remove duplicates before splitting, or give rows that belong together the same group",
        command("check", split.source),
    )


@rule("honesty", "error")
def groups_torn(split: Split) -> Seen | None:
    """Groups are on both sides of the split: the network may recognise the group instead of predicting the target."""
    if split.groups is None:
        return None
    groups = pd.factorize(np.asarray(split.groups))[0]
    torn, shown = [], []
    for score, before in _sides(split):
        torn.append(score[np.isin(groups[score], groups[before]) & (groups[score] >= 0)])
        partners = dict(zip(groups[before].tolist(), before.tolist(), strict=True))
        pairs = split.named([[row, partners[groups[row]]] for row in torn[-1][:SHOWN].tolist()])
        shown += [f"{row} and {other}" for row, other in pairs.tolist()]
    rows = np.concatenate(torn)
    count = sum(len(fold.score) for fold in split.folds)
    num = len(np.unique(groups[rows]))
    return _share(
        len(rows),
        count,
        f"{len(rows):,} of the {count:,} scored rows share a group with fitting rows (such as rows "
        f"{', '.join(shown[:SHOWN])}): {num:,} {'group is' if num == 1 else 'groups are'} split",
        "Keep each group on one side",
        split.command("--groups", "COLUMN"),
    )


@rule("honesty", "error")
def later_rows_fit(split: Split) -> Seen | None:
    """Fitting rows are later than scored rows: the past is predicted from the future."""
    if split.moments is None:
        return None
    order = pd.Series(np.asarray(split.moments)).rank().to_numpy()
    found, count = 0, 0
    for score, before in _sides(split):
        found += int((order[before] > np.nanmin(order[score], initial=np.inf)).sum())
        count += len(before)
    return _share(
        found,
        count,
        f"{found:,} of the {count:,} fitting rows are later than the first scored row",
        "Train only on rows earlier than the scored ones",
        split.command("--order", "COLUMN"),
    )


def _sides(split: Split) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Return the rows that score and those that train, to fit or to stop, in each fold."""
    for fold in split.folds:
        yield np.asarray(fold.score), split.part(fold, "fit", "stop").astype(np.int64)


def _share(found: int, count: int, message: str, advice: str, command: str) -> Seen | None:
    """Return what is seen of a share of the rows; None where there are none."""
    if found == 0:
        return None
    return Seen(message, advice, command, found / count, wilson(found / count, count))
