"""What answers on held-out rows are worth, in all metrics at once.

Legend: ``n`` rows, ``C`` classes.

Reference: T. Hastie, R. Tibshirani and J. Friedman, The elements of statistical learning, 2009, chapter 7; D. McFadden,
Conditional logit analysis of qualitative choice behavior, 1974 (the gain over the classes' shares).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss, r2_score, roc_auc_score

LEAST = 1e-7
"""A probability of 0 is taken as this, the step of float32 below 1: a method's precision must not decide."""


def of_classes(
    truth: pd.Series, labels: np.ndarray, probabilities: np.ndarray, classes: list[str], shares: pd.Series
) -> dict[str, float]:
    """Return the scores of a classifier.

    Args:
        truth: classes, (n,).
        labels: the answers, (n,).
        probabilities: (n, C).
        classes: their order, sorted, (C,).
        shares: of each class among the rows that trained, by its name.
    """
    told = np.clip(np.asarray(probabilities, dtype=np.float64), LEAST, 1)
    told /= told.sum(axis=1, keepdims=True)
    positions = pd.Index(classes).get_indexer(truth)
    areas = [roc_auc_score(positions == place, told[:, place]) for place in np.unique(positions)]
    loss = log_loss(truth, told, labels=classes)
    of_shares = float(-np.log(shares[truth.to_numpy()].to_numpy()).mean())
    return {
        "accuracy": float(accuracy_score(truth, labels)),
        "balanced_accuracy": float(balanced_accuracy_score(truth, labels)),
        "log_loss": float(loss),
        "log_loss_gain": float(1 - loss / of_shares),
        "roc_auc": float(np.mean(areas)),
    }


def of_numbers(truth: pd.Series, answers: np.ndarray) -> dict[str, float]:
    """Return R2 and root mean squared error of numbers, (n,)."""
    return {"r2": float(r2_score(truth, answers)), "rmse": float(np.sqrt(np.mean((truth - answers) ** 2)))}
