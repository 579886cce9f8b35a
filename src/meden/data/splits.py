"""Folds: which rows fit, which decide when to stop, which score. scikit-learn's splitters do the splitting.

Legend: ``n`` rows; every part is a sorted int64 array of row positions, and the three parts of a fold are disjoint.
"""

from __future__ import annotations

import dataclasses
import hashlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from meden._checks import InputError, check_count, check_number
from meden._shown import ShownFields
from meden.data.columns import Values
from meden.data.dataset import Dataset, group_codes
from meden.data.moments import Rows, early_and_late, moments_of, past_and_next

_TRIES = 20


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Fold(ShownFields):
    """One division of the rows.

    Attributes:
        fit: rows that train, and that encoders are fitted on.
        stop: rows of the training part that decide when to stop; may be empty.
        score: rows that score, and are seen by nothing else.
    """

    fit: Rows
    stop: Rows
    score: Rows


@dataclasses.dataclass(frozen=True, eq=False)
class _Rules:
    """What a division must respect: classes (n,) to be balanced, groups (n,) to be kept whole, moments (n,) in time."""

    num_rows: int
    strata: Values | None
    groups: Values | None
    moments: Values | None
    gap: int = 0


def make_folds(
    dataset: Dataset,
    folds: int,
    *,
    seed: int,
    groups: Any = None,
    order: Any = None,
    gap: int = 0,
    stop_fraction: float = 0.15,
) -> list[Fold]:
    """Divide the rows into folds, each with a stop split inside its training part.

    Classes are balanced over the folds (StratifiedKFold); one of fewer rows than folds is not scored in all of them,
    and the only row of a class always trains. Numbers are split at random (KFold), groups are kept whole
    (StratifiedGroupKFold, GroupKFold); with ``order`` each fold trains on the past and scores what follows
    (TimeSeriesSplit), and the stop split is the latest part of that past. Rows of one moment are never on both sides
    of a cut. Groups and order hold together: a fold scores, of what follows, a part of the groups that it did not
    train on, and so does its stop split. All follows from ``seed``.

    Args:
        dataset: the rows.
        folds: number of folds, from 2 to the number of rows (of groups; of moments less one with ``order``).
        seed: 0 or more.
        groups: labels (n,), in place of the data set's own.
        order: values (n,) that sort the rows in time, or the name of a column of numbers or dates.
        gap: moments that are left out before each cut in time, 0 or more; it needs ``order``.
        stop_fraction: share of a training part's rows (or groups, or moments) in its stop split, in [0, 0.5]; 0 for
            none. There is a row for every class at least.

    Raises:
        InputError: if the rows, groups or classes are too few, or a class would be absent from a fold's training.

    Warns, once, of classes that some folds do not score.

    Example:
        >>> from meden.data import as_dataset
        >>> folds = make_folds(as_dataset("iris"), 5, seed=0)
        >>> [(len(f.fit), len(f.stop), len(f.score)) for f in folds[:2]]
        [(102, 18, 30), (102, 18, 30)]
    """
    check_count("folds", folds, low=2)
    check_count("seed", seed, low=0)
    check_count("gap", gap, low=0)
    check_number("stop_fraction", stop_fraction, low=0.0, high=0.5)
    rules = _rules(dataset, groups, order, gap)
    _check_enough(dataset, rules, folds)
    made = _make(rules, folds, seed, stop_fraction)
    _check_parts(made, stop_fraction)
    _check_classes(dataset, rules, made, seed, stop_fraction)
    return made


def holdout(dataset: Dataset, fraction: float, seed: int) -> tuple[Rows, Rows]:
    """Divide the rows once, at random: training rows and held-out rows, classes balanced, groups kept whole.

    Args:
        dataset: the rows.
        fraction: share of the rows (or groups) that is held out, in (0, 1).
        seed: 0 or more.

    Raises:
        InputError: if the rows, groups or classes are too few.

    Example:
        >>> from meden.data import as_dataset
        >>> train, held_out = holdout(as_dataset("digits"), 0.9, seed=0)
        >>> len(train), len(held_out)
        (180, 1617)
    """
    check_number("fraction", fraction, low=0.0, high=1.0, low_open=True, high_open=True)
    check_count("seed", seed, low=0)
    rules = _rules(dataset, None, None, 0)
    return _split_once(rules, np.arange(rules.num_rows), fraction, _seed(seed, 0), "fraction")


def splits_hash(folds: Sequence[Fold]) -> str:
    """Return the SHA-256, in hexadecimal, of every part of every fold."""
    digest = hashlib.sha256()
    for fold in folds:
        for part in (fold.fit, fold.stop, fold.score):
            digest.update(np.int64(len(part)).tobytes() + np.ascontiguousarray(part, dtype=np.int64).tobytes())
    return digest.hexdigest()


def _rules(dataset: Dataset, groups: Any, order: Any, gap: int) -> _Rules:
    if gap and order is None:
        raise InputError(f"gap must be 0 for rows without an order, got {gap}")
    groups = dataset.groups if groups is None else group_codes(groups, dataset.num_rows)
    moments = None if order is None else moments_of(dataset, order)
    one_label = dataset.task == "classification" and dataset.labels.ndim == 1
    strata = dataset.labels if one_label else None
    return _Rules(dataset.num_rows, strata, groups, moments, gap)


def _make(rules: _Rules, folds: int, seed: int, stop_fraction: float) -> list[Fold]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)  # said in our words
        divided = list(enumerate(_divide(rules, folds, _seed(seed, 0)), start=1))
    return [
        Fold(*_stop_split(rules, train, stop_fraction, _seed(seed, i)), np.sort(score)) for i, (train, score) in divided
    ]


def _divide(rules: _Rules, folds: int, seed: int) -> Iterator[tuple[Rows, Rows]]:
    """Yield (training rows, scored rows) of each fold."""
    if rules.moments is None:
        return _at_random(rules, folds, seed)
    in_time = past_and_next(rules.moments, folds, rules.gap)
    if rules.groups is None:
        return in_time
    apart = _at_random(rules, folds, seed)
    return (_both(*parts) for parts in zip(in_time, apart, strict=True))


def _both(first: tuple[Rows, Rows], second: tuple[Rows, Rows]) -> tuple[Rows, Rows]:
    """Return (training rows, scored rows) of two divisions."""
    return np.intersect1d(first[0], second[0]), np.intersect1d(first[1], second[1])


def _at_random(rules: _Rules, folds: int, seed: int) -> Iterator[tuple[Rows, Rows]]:
    from sklearn import model_selection as ms

    rows = np.arange(rules.num_rows)
    strata = rules.strata if rules.strata is not None and np.bincount(rules.strata).max() >= folds else None
    if rules.groups is not None and strata is not None:
        splitter = ms.StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        return splitter.split(rows, strata, rules.groups)  # type: ignore[no-any-return]
    if rules.groups is not None:
        names = np.random.default_rng(seed).permutation(int(rules.groups.max()) + 1)  # GroupKFold takes no seed
        return ms.GroupKFold(folds).split(rows, groups=names[rules.groups])  # type: ignore[no-any-return]
    if strata is None:
        return ms.KFold(folds, shuffle=True, random_state=seed).split(rows)  # type: ignore[no-any-return]
    spare = np.bincount(strata)[strata] > 1  # the only row of a class trains in every fold
    divided = ms.StratifiedKFold(folds, shuffle=True, random_state=seed).split(rows[spare], strata[spare])
    return ((np.concatenate([rows[spare][train], rows[~spare]]), rows[spare][score]) for train, score in divided)


def _stop_split(rules: _Rules, train: Rows, fraction: float, seed: int) -> tuple[Rows, Rows]:
    if fraction == 0:
        return np.sort(train), np.empty(0, dtype=np.int64)
    if rules.moments is None:
        return _split_once(rules, train, fraction, seed, "stop_fraction")
    in_time = early_and_late(rules.moments, np.sort(train), fraction, rules.gap)
    if rules.groups is None:
        return in_time
    return _both(in_time, _split_once(rules, train, fraction, seed, "stop_fraction"))


def _split_once(rules: _Rules, rows: Rows, fraction: float, seed: int, argument: str) -> tuple[Rows, Rows]:
    """Split ``rows`` at random into (kept, given), all classes among the kept."""
    split = _split_rows if rules.groups is None else _split_groups
    received = f"{fraction} of {len(rows)} rows"
    if rules.groups is not None:
        received += f" in {len(np.unique(rules.groups[rows]))} groups"
    refusal = InputError(f"{argument} must leave rows of every class to train on and some to hold out, got {received}")
    try:
        candidates = list(split(rules, rows, fraction, seed))
    except ValueError as error:
        raise refusal from error
    for kept, given in candidates:
        if rules.strata is None or not np.setdiff1d(rules.strata[rows], rules.strata[kept]).size:
            return np.sort(kept), np.sort(given)
    raise refusal


def _split_rows(rules: _Rules, rows: Rows, fraction: float, seed: int) -> Iterator[tuple[Rows, Rows]]:
    from sklearn import model_selection as ms

    count = max(1, round(fraction * len(rows)))
    if rules.strata is None:
        kept, given = next(ms.ShuffleSplit(1, test_size=count, random_state=seed).split(rows))
        yield rows[kept], rows[given]
        return
    _, position, sizes = np.unique(rules.strata[rows], return_inverse=True, return_counts=True)
    spare = sizes[position] > 1  # the only row of a class stays
    splitter = ms.StratifiedShuffleSplit(1, test_size=max(count, int((sizes > 1).sum())), random_state=seed)
    kept, given = next(splitter.split(rows[spare], position[spare]))
    yield np.concatenate([rows[spare][kept], rows[~spare]]), rows[spare][given]


def _split_groups(rules: _Rules, rows: Rows, fraction: float, seed: int) -> Iterator[tuple[Rows, Rows]]:
    from sklearn import model_selection as ms

    assert rules.groups is not None
    splitter = ms.GroupShuffleSplit(_TRIES, test_size=fraction, random_state=seed)
    return ((rows[kept], rows[given]) for kept, given in splitter.split(rows, groups=rules.groups[rows]))


def _check_enough(dataset: Dataset, rules: _Rules, folds: int) -> None:
    if folds > rules.num_rows:
        raise InputError(f"folds must be at most {rules.num_rows} for {rules.num_rows} rows, got {folds}")
    num_groups = folds if rules.groups is None else len(np.unique(rules.groups))
    if folds > num_groups:
        raise InputError(f"folds must be at most the number of groups ({num_groups}), got {folds}")
    if rules.strata is None or rules.moments is not None:
        return
    sizes = np.bincount(rules.strata, minlength=len(dataset.classes))
    if (sizes > 1).sum() < 2:
        counts = ", ".join(f"{size} of {name!r}" for name, size in zip(dataset.classes, sizes, strict=True))
        raise InputError(
            f"at least two classes must have two or more rows, to train on and to score, got {counts:.200}"
        )
    if folds > sizes.max():
        raise InputError(f"folds must be at most the number of rows of the largest class ({sizes.max()}), got {folds}")
    rare = [f"{dataset.classes[code]!r} ({sizes[code]})" for code in np.flatnonzero((sizes > 0) & (sizes < folds))]
    if rare:
        shown = ", ".join(rare[:8]) + (", ..." if len(rare) > 8 else "")
        warnings.warn(
            f"classes with fewer rows than {folds} folds are not scored in all of them: {shown}", stacklevel=3
        )


def _check_parts(made: list[Fold], stop_fraction: float) -> None:
    """Refuse folds without rows, which order and groups together may leave."""
    for number, fold in enumerate(made, start=1):
        parts = {"train": fold.fit, "stop": fold.stop, "score": fold.score}
        empty = [name for name, rows in parts.items() if len(rows) == 0 and (name != "stop" or stop_fraction > 0)]
        if empty:
            raise InputError(
                f"groups and order must leave rows to {empty[0]} in every fold, got none in fold {number} of "
                f"{len(made)}; give only one of them, or fewer folds"
            )


def _check_classes(dataset: Dataset, rules: _Rules, made: list[Fold], seed: int, stop_fraction: float) -> None:
    """Refuse folds one of which would train without a class; look for a number of folds that would do."""
    absent = _absent(rules, made)
    if absent is None:
        return
    number, code = absent
    fewer = (k for k in range(len(made) - 1, 1, -1) if _absent(rules, _make(rules, k, seed, stop_fraction)) is None)
    working = next(fewer, None)
    remedy = f"folds={working} would work" if working else "split without it, or remove the class"
    raise InputError(
        f"{'order' if rules.moments is not None else 'groups'} must leave every class in the training rows of "
        f"every fold, got none of {dataset.classes[code]!r} in fold {number} of {len(made)}; {remedy}"
    )


def _absent(rules: _Rules, made: list[Fold]) -> tuple[int, int] | None:
    """Return the first (fold number, class) whose fit part lacks the class."""
    if rules.strata is None:
        return None
    classes = np.unique(rules.strata)
    lacking = ((i, np.setdiff1d(classes, rules.strata[fold.fit])) for i, fold in enumerate(made, start=1))
    return next(((i, int(codes[0])) for i, codes in lacking if codes.size), None)


def _seed(seed: int, part: int) -> int:
    return int(np.random.SeedSequence((seed, part)).generate_state(1)[0])
