"""What the choice says of single held-out rows: classes taken for one another, probabilities, residuals.

Legend: ``n`` scored rows of all folds and seeds, ``C`` classes, ``M`` numbers to predict.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from meden.report import Section
from meden.report.classified import (
    CALIBRATION_KEYS,
    CONFUSION_KEYS,
    calibration_chart,
    confusion_chart,
    residuals_chart,
)
from meden.study.results import Results, Trial

MOST_NUMBERS = 4
"""Of a target of more numbers, the residuals of so many are drawn."""
HELD_OUT = "Each row is predicted by a model that has not seen it: the one of the choice in the row's fold"


def rows_section(results: Results) -> Section | None:
    """Return confusion and calibration of classes, or residuals of numbers; None where no outputs were kept."""
    outputs, labels = outputs_of(results, results.choice)
    if not outputs.shape[1]:
        return None
    several = " and with each seed, so it counts once per seed" * (len(results.choice.rows) > len(results.folds))
    text = f"{HELD_OUT}{several}."
    return (
        _classes(results, outputs, labels, text) if results.data.classes else _numbers(results, outputs, labels, text)
    )


def outputs_of(results: Results, trial: Trial) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return what a configuration says of the scored rows of its folds and seeds, and what is true.

    Returns:
        Probabilities (n, C) and positions of the classes (n,), or numbers (n, M) and numbers (n, M); outputs of shape
        (n, 0) where they were not kept.
    """
    labels = np.concatenate([results.data.labels[results.folds[row.fold].score] for row in trial.rows])
    width = len(results.data.classes) or int(np.prod(labels.shape[1:], dtype=int))
    single = labels.ndim == 1 or not results.data.classes
    if not single or any(row.outputs.shape[1:] != (width,) for row in trial.rows):
        return np.empty((len(labels), 0)), labels
    outputs = np.concatenate([row.outputs for row in trial.rows]).astype(np.float64)
    return outputs, labels if results.data.classes else labels.reshape(len(labels), -1)


def _classes(results: Results, outputs: NDArray[Any], labels: NDArray[Any], text: str) -> Section:
    classes, rows = results.data.classes, np.arange(len(labels))
    shares = np.clip(outputs, 0.0, 1.0)
    predicted = shares.argmax(axis=1)
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(counts, (labels, predicted), 1)
    if len(classes) == 2:
        calibration = calibration_chart(f"Calibration: probability of {classes[1]}", shares[:, 1], labels == 1)
    else:
        told = shares[rows, predicted]
        calibration = calibration_chart("Calibration: probability of the predicted class", told, labels == predicted)
    charts = (confusion_chart("Confusion matrix", counts, classes), calibration)
    text = f"{text} Where points lie on the diagonal, predicted probabilities match observed frequencies."
    keys = (*CONFUSION_KEYS, *CALIBRATION_KEYS)
    return Section(title="Predictions of held-out rows", text=(text,), keys=keys, charts=charts)


def _numbers(results: Results, outputs: NDArray[Any], labels: NDArray[Any], text: str) -> Section:
    target, num = results.data.target, outputs.shape[1]
    names = [target] if num == 1 else [f"{target} {place}" for place in range(1, num + 1)]
    charts = [
        residuals_chart(f"Residuals of {name}", outputs[:, place], labels[:, place], unit=name)
        for place, name in enumerate(names[:MOST_NUMBERS])
    ]
    text = f"{text} Residuals that follow a curve or fan out to one side show that there is something left to learn."
    text += f" Of {num} numbers, the first {MOST_NUMBERS} are drawn." * (num > MOST_NUMBERS)
    return Section(title="Residuals of held-out rows", text=(text,), charts=tuple(charts))
