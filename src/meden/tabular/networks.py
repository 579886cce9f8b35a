"""The networks of a study as they answer new rows: the mean of the folds' models, weighted over configurations.

Legend: ``n`` rows, ``C`` classes, ``T`` answers of a row, ``M`` numbers to predict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from meden._checks import InputError
from meden.data.new_rows import check_answered
from meden.data.targets import ClassCodec
from meden.deadline import Deadline
from meden.member import Member
from meden.noise import derive
from meden.objective import EVAL_ROWS, evaluating, on_device
from meden.run import Run
from meden.study import Study
from meden.study.results import Trial
from meden.tabular.candidate import RowsToAnswer
from meden.training.fit_many import fit_many

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Networks:
    """Trained networks and what each counts."""

    runs: tuple[Run, ...]
    weights: tuple[float, ...]
    """Of the runs; they add up to 1."""

    def answers(self, frame: pd.DataFrame) -> Array:
        """Return the weighted mean answer: probabilities (n, C) or (n, T, C), or numbers (n,) or (n, M)."""
        return self.answers_to(RowsToAnswer(frame))

    def answers_to(self, rows: RowsToAnswer) -> Array:
        """Return the answer to rows that others have read, too; see :meth:`answers`."""
        total: Any = 0.0
        for run, weight in zip(self.runs, self.weights, strict=True):
            assert run.encoder is not None
            outputs = _outputs(run, torch.from_numpy(rows.inputs(run.encoder)))
            classified = isinstance(run.encoder.target, ClassCodec)
            total = total + weight * (outputs.softmax(-1).numpy() if classified else run.encoder.decode(outputs).values)
        return np.asarray(total)


def out_of_fold(trial: Trial) -> Array:
    """Return what the models of the folds said of the rows that score them, fold after fold: (n, C) or (n, M).

    Several seeds of a fold are averaged.
    """
    folds: dict[int, list[Array]] = {}
    for row in trial.rows:
        folds.setdefault(row.fold, []).append(row.outputs)
    return np.concatenate([np.mean(each, axis=0) for each in folds.values()]).astype(np.float64)


def networks_of(
    study: Study, weights: Mapping[int, float], *, refit: str, seeds: int = 1, deadline: Deadline | None = None
) -> Networks:
    """Return what predicts with some configurations of a study.

    Args:
        study: that kept the models of its folds.
        weights: of configurations, by their numbers; they add up to 1.
        refit: ``"folds"`` takes the models of the folds; ``"all"`` and ``"seeds"`` train on all rows.
        seeds: models of each configuration on all rows.
        deadline: of that training.

    Raises:
        InputError: if every model diverged.
    """
    trials = {trial.number: trial for trial in study.trials if trial.number in weights}
    if refit == "folds":
        each = {number: list(study.fold_models(trial).runs) for number, trial in trials.items()}
    else:
        each = _on_all_rows(study, trials, seeds=seeds, deadline=deadline)
    kept = {number: [run for run in runs if not run.failure] for number, runs in each.items()}
    total = sum(weights[number] for number, runs in kept.items() if runs)
    if not total:
        raise InputError("every final model diverged; try lower learning rates")
    return Networks(
        runs=tuple(_exact(run) for runs in kept.values() for run in runs),
        weights=tuple(weights[number] / total / len(runs) for number, runs in kept.items() for _ in runs),
    )


def _on_all_rows(
    study: Study, trials: Mapping[int, Trial], *, seeds: int, deadline: Deadline | None
) -> dict[int, list[Run]]:
    make_model, dataset = study.trainable()
    finals = [(number, *study.final(trial)) for number, trial in trials.items() for _ in range(seeds)]
    members = [
        Member(recipe, seed=derive(study.seed, "refit", place % seeds), model_args=model_args)
        for place, (_, recipe, model_args) in enumerate(finals)
    ]
    trained: dict[int, list[Run]] = {number: [] for number in trials}
    for (number, _, _), run in zip(finals, fit_many(make_model, members, dataset, deadline=deadline), strict=True):
        trained[number].append(run)
    return trained


def _exact(run: Run) -> Run:
    """Return a run on the CPU, without what it needs no more, whose answer to a row does not depend on other rows."""
    run.model.cpu().double()  # to nine digits
    return replace(run, held_out=None)


@torch.no_grad()
def _outputs(run: Run, x: Tensor) -> Tensor:
    """Return logits or encoded numbers (n, ...) for encoded rows (n, D).

    Raises:
        InputError: if one of them is not finite.
    """
    with evaluating(run.model):
        outputs = torch.cat([run.model(on_device(part, run.model)) for part in torch.split(x, EVAL_ROWS)])
    lost = ~torch.isfinite(outputs.flatten(1)).all(1)
    check_answered(dict.fromkeys(torch.nonzero(lost)[:, 0].tolist(), "the model's output is not finite"), len(x))
    return outputs
