"""Ends of strengths that the data decide.

Legend: ``n`` fitting rows, ``D`` inputs of a row, ``C`` outputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from meden._checks import InputError
from meden.data import Dataset, Fold
from meden.penalties import L1
from meden.space.dimensions import Dimension, FromData, LogUniform, Maybe
from meden.space.names import AskedSpace, Space

L2_MULTIPLE = 10.0
"""At so many times the largest variance of the inputs along any direction, every weight of a ridge regression has
shrunk to less than a tenth."""


def resolve(space: AskedSpace, dataset: Dataset, folds: Sequence[Fold]) -> Space:
    """Return a space in which every strength has its ends: :class:`meden.FromData` becomes a LogUniform.

    For ``l1`` the high end is the smallest strength at which a linear model of the encoded inputs has no weight left,
    on the fitting rows of every fold. For ``l2`` there is no such strength; its high end is ten times the largest
    variance of the inputs along any direction, where no weight keeps a tenth of what it would be. Both are in the
    units of the canonical objective, and are rounded to two digits.

    Raises:
        InputError: if ends are left open that the data do not decide.

    Example:
        >>> import numpy as np
        >>> from meden.data import as_dataset, make_folds
        >>> x = np.tile([[1.0], [-1.0]], (10, 1))
        >>> data = as_dataset((x, x[:, 0]), task="regression")
        >>> resolve({"l1": Maybe(FromData())}, data, make_folds(data, 2, seed=0))
        {'l1': Maybe(dimension=LogUniform(low=0.0001, high=1.0))}
    """
    return {name: _resolved(name, dimension, dataset, folds) for name, dimension in space.items()}


def _resolved(name: str, dimension: Dimension | FromData, dataset: Dataset, folds: Sequence[Fold]) -> Dimension:
    if isinstance(dimension, Maybe) and isinstance(dimension.dimension, FromData):
        return Maybe(_range(name, dimension.dimension, dataset, folds))
    return _range(name, dimension, dataset, folds) if isinstance(dimension, FromData) else dimension


def _range(name: str, dimension: FromData, dataset: Dataset, folds: Sequence[Fold]) -> LogUniform:
    largest = {"l1": l1_max, "l2": l2_max}
    if name not in largest:
        raise InputError(f"FromData is for {' and '.join(largest)}, whose ends the data decide, got it for {name!r}")
    high = max(largest[name](*_encoded(name, dataset, fold)) for fold in folds)
    if not (math.isfinite(high) and high > 0):
        raise InputError(f"{name} must have its ends given: the inputs say nothing of the target, or are constant")
    high = float(f"{high:.1e}")
    return LogUniform(float(f"{high / 10**dimension.decades:.1e}"), high)


def _encoded(name: str, dataset: Dataset, fold: Fold) -> tuple[Tensor, Tensor]:
    """Return the fitting rows of a fold as a linear model would take them: (n, D) and (n, C)."""
    encoder = dataset.fit_encoder(fold.fit)
    x, y = dataset.features(encoder, fold.fit), encoder.target.encode(dataset.labels[fold.fit])
    if not x.is_floating_point() or (dataset.task == "classification" and y.ndim > 1):
        raise InputError(f"{name} must have its ends given where inputs are tokens or targets are sequences")
    wide = one_hot(y.long(), len(dataset.classes)) if dataset.task == "classification" else y.reshape(len(y), -1)
    return x.reshape(len(x), -1).double(), wide.double()


def l1_max(x: Tensor, y: Tensor) -> float:
    """Return the smallest L1 strength at which a linear model with an intercept has no weight.

    At zero weights the intercept is the mean, or the classes' frequencies, so that both canonical losses have the same
    gradient there.

    Args:
        x: (n, D) inputs.
        y: (n, C) numbers, or classes as 0 and 1.

    Reference:
        J. Friedman, T. Hastie and R. Tibshirani, Regularization paths for generalized linear models via coordinate
        descent, 2010.
    """
    return float(L1(1.0).strength_max(x.T @ (y.mean(0) - y) / len(y)))


def l2_max(x: Tensor, _y: Tensor) -> float:
    """Return ten times the largest variance of the inputs along any direction; ``x`` is (n, D)."""
    centred = x - x.mean(0)
    return L2_MULTIPLE * float(torch.linalg.matrix_norm(centred, ord=2) ** 2) / len(x)
