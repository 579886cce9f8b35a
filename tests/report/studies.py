"""Studies made by hand: plausible losses, no training."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import meden
from meden.data import as_dataset, make_folds
from meden.space.dimensions import LogUniform, Uniform
from meden.space.names import Space
from meden.study.data_summary import DataSummary
from meden.study.ledger import Row
from meden.study.model_reference import ModelReference
from meden.study.results import make_baseline, make_trial
from meden.study.study import Study

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"

SPACE: Space = {"l2": LogUniform(1e-4, 1.0), "dropout": Uniform(0.0, 0.7)}


def table(task: str, target: str, num_rows: int = 60, labels: tuple[str, str] = ("good", "bad")) -> pd.DataFrame:
    random = np.random.default_rng(0)
    x = random.normal(size=num_rows)
    y = np.where(x + random.normal(size=num_rows) > 0, *labels) if task == "classification" else 100 * x + 5
    return pd.DataFrame({"x": x, EVIL: random.normal(size=num_rows), target: y})


def any_network(num_inputs: int, num_outputs: int, **_: Any) -> meden.models.MLP:
    """Return a network whatever its arguments are called."""
    return meden.models.MLP(num_inputs, num_outputs)


def study(
    num_trials: int = 12,
    *,
    space: Space = SPACE,
    task: str = "classification",
    target: str = "y",
    diverged: tuple[int, ...] = (),
    stop_split: bool = True,
    labels: tuple[str, str] = ("good", "bad"),
    reason: str = "loss or weights were not finite after epoch 2 (step 9)",
    num_folds: int = 3,
    num_rows: int = 60,
    epochs: int = 20,
    make_model: Any = meden.models.MLP,
    baselines: Mapping[str, float] | None = None,
) -> Study:
    """A study whose held-out loss is lowest in the middle of its space and whose training loss grows with strength.

    Baselines are given by their mean loss above that of the best configuration, about 0.4.
    """
    dataset = as_dataset(table(task, target, num_rows, labels=labels), target=target, task=task)
    folds = make_folds(dataset, num_folds, seed=0, stop_fraction=0.15 if stop_split else 0.0)
    random = np.random.default_rng(1)
    trials = []
    for number in range(num_trials):
        params = {
            name: dimension.grid(num_trials)[(number * 5 + i) % len(dimension.grid(num_trials))]
            for i, (name, dimension) in enumerate(space.items())
        }
        place = float(np.mean([dimension.position(params[name]) for name, dimension in space.items()]))
        rows = [
            _row(
                random,
                number,
                fold,
                params,
                place,
                dataset.labels[folds[fold].score],
                epochs,
                stop_split,
                reason if number in diverged else "",
            )
            for fold in range(num_folds)
        ]
        trials.append(make_trial(number, params, rows, space))
    compared = [
        make_baseline(name, [_baseline(random, name, above, n, dataset.labels[f.score]) for n, f in enumerate(folds)])
        for name, above in (baselines or {}).items()
    ]
    return Study(
        baselines=compared,
        make_model=make_model,
        dataset=dataset,
        data=DataSummary.of(dataset),
        model=ModelReference.of(make_model),
        space=space,
        recipe=meden.Recipe(epochs=epochs),
        folds=folds,
        seed=0,
        trials=trials,
    )


def _row(
    random: Any,
    number: int,
    fold: int,
    params: dict[str, Any],
    place: float,
    labels: NDArray[Any],
    epochs: int,
    stop_split: bool,
    reason: str,
) -> Row:
    num_scored = len(labels)
    t = np.arange(1, epochs + 1)
    train = np.exp(-t / 4) + 0.05 + 0.4 * place
    stop = train + 0.02 * t * (1 - place) + 0.05 * random.normal(size=epochs)
    losses = 0.4 + (place - 0.5) ** 2 + 0.1 * random.normal(size=num_scored) + 0.03 * random.normal()
    scores = (random.random(num_scored) < 0.9).astype(np.float32)
    nothing = np.full(num_scored, np.nan, dtype=np.float32)
    best = epochs if not stop_split else int(np.argmin(stop)) + 1
    return Row(
        configuration=number,
        fold=fold,
        seed=0,
        params=params,
        status="diverged" if reason else "completed",
        reason=reason or f"all {epochs} epochs",
        best_epoch=0 if reason else best,
        best_step=3 * best,
        num_epochs=epochs,
        seconds=0.5,
        train_loss=[float("nan")] * 2 if reason else train.tolist(),
        stop_loss=stop.tolist() if stop_split else [],
        losses=nothing if reason else losses.astype(np.float32),
        scores=nothing if reason else scores,
        outputs=np.empty((num_scored, 0)) if reason else _outputs(labels, scores),
    )


def _outputs(labels: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    """Return probabilities of two classes, or numbers, that are off where the scores say so."""
    if labels.dtype.kind == "f":
        return (labels + 10 * (1 - right))[:, None]
    return np.where(np.eye(2)[labels] == right[:, None], 0.8, 0.2).astype(np.float32)


def _baseline(random: Any, name: str, above: float, fold: int, labels: NDArray[Any]) -> Row:
    losses = 0.4 + above + 0.02 * random.normal(size=len(labels))
    right = (random.random(len(labels)) < 0.9 - above).astype(np.float64)
    return Row(
        configuration=0,
        fold=fold,
        seed=0,
        baseline=name,
        params={},
        status="completed",
        reason="fitted",
        best_epoch=0,
        best_step=0,
        num_epochs=0,
        seconds=0.1,
        train_loss=[],
        stop_loss=[],
        losses=losses.astype(np.float32),
        scores=right,
        outputs=_outputs(labels, right),
    )
