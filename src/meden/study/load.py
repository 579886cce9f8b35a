"""Any study from its folder: finished or cut off, moved, its data gone. Nothing is trained and nothing is written."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from meden._checks import InputError
from meden._fields import check_all, damaged
from meden.data import Fold
from meden.member import ModelMaker
from meden.progress import LOST
from meden.space.names import REGULARISING, Space
from meden.study.final_states import WEIGHTS, FinalStates
from meden.study.folder import Description, read_description
from meden.study.ledger import LEDGER, Row, digest_of, read_rows, versions_of
from meden.study.results import BASELINES, PLAIN, Results, Trial, make_baseline, make_trial
from meden.study.study import Study


def load_study(
    folder: Path | str,
    data: Any = None,
    make_model: ModelMaker | None = None,
    *,
    penalties: Mapping[str, type[Any]] | None = None,
    augmentations: Mapping[str, type[Any]] | None = None,
) -> Study:
    """Open a study that :func:`meden.tune` (with ``study_dir``) or ``meden tune`` wrote.

    Neither the data nor a writable folder is needed, and no code of the study is run: a model of meden's own is found
    by its name, another one may be given. A study that was cut off shows what is there, with the status
    ``"unfinished"`` and what is missing as its ``reason``.

    Args:
        folder: of the study.
        data: its rows, as for :func:`meden.tune`, if it is to be trained again; None reads them when they are needed.
        make_model: as for :func:`meden.tune`, if it is to be trained again; None is that of the study.
        penalties: penalties of your own that the recipe holds, by name: ``{"Mine": Mine}``.
        augmentations: the same for augmentations.

    Raises:
        InputError: if the folder holds no study, one that is damaged, or one of a newer major version; if the data
            are not those of the study.

    Example:
        >>> import meden, tempfile
        >>> space, recipe = {"l2": meden.LogUniform(1e-4, 1.0)}, meden.Recipe(epochs=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     options = {"folds": 2, "budget": 2, "strategy": "grid", "recipe": recipe, "study_dir": folder}
        ...     made = meden.tune(meden.models.MLP, "iris", space, **options)
        ...     found = load_study(folder)
        >>> found.status, found.table().equals(made.table())
        ('ok', True)
    """
    described = read_description(Path(folder), penalties=penalties, augmentations=augmentations)
    ledger = read_rows(Path(folder) / LEDGER)
    if ledger.identity is not None and digest_of(ledger.identity) != described.identity:
        raise InputError(f"{str(folder)!r} must hold one study, but its {LEDGER} belongs to something else")
    results = results_of(described, ledger.rows.values(), versions_of(ledger.identity or {}))
    dataset = None if data is None else results.data.read(data)
    weights = Path(folder) / WEIGHTS
    ends = FinalStates(weights).of_folds(results.folds, described.folds) if weights.is_dir() else None
    return Study.of(results, make_model or results.model.find(), dataset, ends)


def results_of(described: Description, rows: Collection[Row], versions: Mapping[str, str] | None = None) -> Results:
    """Return what a search has found so far: the configurations that are complete, and what is missing.

    Args:
        described: the study.
        rows: of its ledger.
        versions: of the libraries that began it, by name; None where that is not known.
    """
    folds, seeds = [_sizes(fold) for fold in described.folds], described.settings["seeds"]
    configurations: dict[int, list[Row]] = {}
    compared: dict[str, list[Row]] = {}
    for row in rows:
        with damaged("the rows of a ledger must be of the study's configurations, folds and seeds"):
            _check_row(row, folds, seeds, described.space)
        if row.baseline:
            compared.setdefault(row.baseline, []).append(row)
        else:
            configurations.setdefault(row.configuration, []).append(row)
    num_missing = max(0, described.num_fits - sum(map(len, configurations.values())))
    kept, complete = _complete(configurations, range(len(folds)), seeds)
    if not complete and not num_missing:
        kept, complete = _complete(configurations, _folds_of_fullest(configurations, seeds), seeds)
    compared = {name: _of_folds(own, kept) for name, own in compared.items()}
    whole = [name for name in BASELINES if _is_whole(name, compared.get(name, ()), len(kept), seeds)]
    data = described.data
    if described.model.trains and not any(row.outputs.shape[1] for row in rows if row.status not in LOST):
        data = dataclasses.replace(data, task="losses", classes=(), constant_loss=math.nan)
    found = Results(
        data=data,
        folds=[described.folds[fold] for fold in kept],
        space=described.space,
        recipe=described.recipe,
        seed=described.settings["seed"],
        model=described.model,
        trials=[make_trial(number, own[0].params, own, described.space) for number, own in complete.items()],
        chosen_by=described.settings["metric"],
        baselines=[make_baseline(name, compared[name]) for name in whole],
        incomplete=[row for own in configurations.values() for row in own if row.configuration not in complete],
        num_missing=num_missing,
        settings=described.settings,
        notes=described.notes,
        versions=versions or {},
        shortened="" if num_missing else _shortened(described, kept, complete),
    )
    return dataclasses.replace(found, baselines=[trial for trial in found.baselines if _is_compared(trial, found)])


def _is_compared(baseline: Trial, found: Results) -> bool:
    """Return whether a baseline is one of the choice as it is now: a plain network may be that of an earlier one."""
    if baseline.baseline not in PLAIN or not found.usable:
        return True
    return baseline.params == {name: v for name, v in found.choice.params.items() if name not in REGULARISING}


def _is_whole(name: str, rows: Collection[Row], num_folds: int, seeds: int) -> bool:
    """Return whether a baseline has been trained in all folds, and with all seeds, by settings of one choice."""
    if len(rows) != num_folds * (seeds if name in PLAIN else 1):
        return False
    return len({row.fold for row in rows}) == num_folds and all(row.params == next(iter(rows)).params for row in rows)


def _complete(
    configurations: Mapping[int, Sequence[Row]], kept: Sequence[int], seeds: int
) -> tuple[Sequence[int], dict[int, list[Row]]]:
    """Return these folds, and the configurations all of whose fits in them are there."""
    own = {number: _of_folds(rows, kept) for number, rows in sorted(configurations.items())}
    return kept, {number: rows for number, rows in own.items() if rows and len(rows) == len(kept) * seeds}


def _of_folds(rows: Sequence[Row], kept: Sequence[int]) -> list[Row]:
    """Return the rows in some of the folds, which are numbered anew."""
    places = {fold: place for place, fold in enumerate(kept)}
    return [
        row if places[row.fold] == row.fold else dataclasses.replace(row, fold=places[row.fold])
        for row in rows
        if row.fold in places
    ]


def _folds_of_fullest(configurations: Mapping[int, Sequence[Row]], seeds: int) -> list[int]:
    """Return the folds of the configuration that has most of them, with all seeds: a time limit left no more."""
    counts = [Counter(row.fold for row in rows) for rows in configurations.values()]
    found = [sorted(fold for fold, num in count.items() if num == seeds) for count in counts]
    return max(found, key=len, default=[])


def _shortened(described: Description, kept: Sequence[int], complete: Mapping[int, Sequence[Row]]) -> str:
    limit, budget = described.settings.get("time_limit"), described.settings.get("budget", 0)
    epochs = [row.epochs for rows in complete.values() for row in rows if row.epochs is not None]
    parts = []
    if len(kept) < len(described.folds):
        parts.append(f"{len(kept)} of {len(described.folds)} folds")
    if epochs:
        parts.append(f"{max(epochs)} of {described.recipe.epochs} epochs")
    if limit is not None and len(complete) < budget:
        parts.append(f"{len(complete)} of {budget} configurations")
    if not parts:
        return ""
    given = "the time limit" if limit is None else f"the time limit of {limit:g} s"
    return f"{given} allowed {' and '.join(filter(None, (', '.join(parts[:-1]), parts[-1])))}"


def _sizes(fold: Fold) -> tuple[int, int, int]:
    return len(fold.fit), len(fold.stop), len(fold.score)


def _check_row(row: Row, folds: Sequence[tuple[int, int, int]], seeds: int, space: Space) -> None:
    check_all("fold and seed must be of the study", row.fold < len(folds) and row.seed < seeds, row.key)
    check_all("baseline must be one that is known", row.baseline in ("", *BASELINES), row.baseline)
    named = row.params.keys() <= space.keys() if row.baseline else row.params.keys() == space.keys()
    check_all("params must be of the space", named, row.params)
    for name, value in row.params.items():
        if value not in space[name]:
            raise ValueError(f"{name} must lie in {space[name]!r}, got {value!r:.60}")
    fitted, stopped, scored = folds[row.fold]
    check_all("losses and scores must be of the rows", len(row.losses) == len(row.scores) == scored, len(row.losses))
    epochs = len(row.train_loss)
    check_all("best_epoch must be one that was trained", row.best_epoch <= epochs == row.num_epochs, row.best_epoch)
    check_all("stop_loss must be of the epochs", len(row.stop_loss) in (0, epochs), len(row.stop_loss))
    trained = row.status in LOST or row.best_epoch > 0 or bool(row.baseline)
    check_all("a result must have an epoch", trained, row.best_epoch)
    check_all("outputs must be of the rows", len(row.outputs) == scored, len(row.outputs))
    both = (row.fit_losses is None) == (row.stop_losses is None)
    check_all("losses must be kept of fitting rows and stop split, or of neither", both, row.key)
    for losses, num in ((row.fit_losses, fitted), (row.stop_losses, stopped)):
        check_all("losses that were kept must be of the rows", losses is None or len(losses) == num, num)
