"""Noise columns: copies of the columns of a table that relate to each other as these do, and to the target not at all.

Legend: ``n`` rows, ``P`` columns, ``M`` copies of each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, eigh

from meden._checks import InputError, check_count
from meden.data.arrays import Arrays
from meden.data.columns import Values, missing
from meden.data.dataset import Dataset
from meden.data.latent import correlation, normal_scores, ordered_levels
from meden.data.tables import Table

Array = NDArray[np.float64]
MOST_FITTED = 500
"""Columns up to which each has a distance of its own from its copies; the time for that grows with the cube."""
ROUNDS = 5
MARGIN = 0.99
"""Of the largest distance that is possible: rounding would make a matrix at the edge indefinite."""


def with_noise_columns(dataset: Dataset, copies: int = 1, *, seed: int = 0) -> tuple[Dataset, list[tuple[str, ...]]]:
    """Return a data set with noise columns behind its own, and the names of the copies of each column, (P, M).

    A copy holds the cells of its column in another order (of those that are not missing, which are so in the copy,
    too), so drawn that it relates to the other columns and their copies as the column itself does, and to its own
    column as little as that allows. The target has no part in it. A column that tells nothing about the target beyond
    what the others do can then not be told from its copies, whatever looks for a difference: these are knockoffs.

    Dependence is that of a Gaussian copula: levels of strings are put in the order of what all columns share. What
    other dependence there is, copies do not have. Missing cells are no part of what copies are compared by.

    Args:
        dataset: a table, or rows that are vectors of numbers; arrays count their columns on: ``x3`` and so on.
        copies: of each column, 1 or more.
        seed: of the draws.

    Raises:
        InputError: if the data have no columns.

    Example:
        >>> from meden.data import as_dataset
        >>> with_noise_columns(as_dataset("iris"))[1][0]
        ('sepal length (cm) (noise 1)',)

    Reference:
        E. Candès, Y. Fan, L. Janson and J. Lv, Panning for gold: model-X knockoffs for high dimensional controlled
        variable selection, 2018; J. Gimenez and J. Zou, Improving the stability of the knockoff procedure: multiple
        simultaneous knockoffs and entropy maximization, 2019.
    """
    check_count("copies", copies)
    inputs = dataset.inputs
    if isinstance(inputs, Arrays):
        if inputs.x.ndim != 2 or not inputs.x.is_floating_point():
            shape = f"{tuple(inputs.x.shape)} of {inputs.x.dtype}"
            raise InputError(f"data must have columns: a table, or rows that are vectors of numbers, got {shape}")
        columns: list[Values] = list(inputs.x.detach().cpu().double().numpy().T)
    else:
        columns = list(inputs.values.values())
    drawn = knockoffs(columns, copies, seed)
    names = _names(inputs, copies)
    if isinstance(inputs, Arrays):
        noise = torch.from_numpy(np.column_stack([cells for own in drawn for cells in own])).to(inputs.x)
        made: Table | Arrays = dataclasses.replace(inputs, x=torch.cat([inputs.x, noise], 1))
    else:
        kinds, values = dict(inputs.kinds), dict(inputs.values)
        for own, called, kind in zip(drawn, names, inputs.kinds.values(), strict=True):
            kinds |= dict.fromkeys(called, kind)
            values |= dict(zip(called, own, strict=True))
        made = dataclasses.replace(inputs, kinds=kinds, values=values)
    return dataclasses.replace(dataset, inputs=made, origin=None), names


def knockoffs(columns: Sequence[Values], copies: int, seed: int = 0) -> list[list[Values]]:
    """Return copies of columns of canonical values (n,), (P, M); see :func:`with_noise_columns`."""
    random = np.random.default_rng(seed)
    ordered = ordered_levels(columns, random)
    scores = normal_scores(ordered, random)
    scores = (scores - scores.mean(axis=0)) / np.maximum(scores.std(axis=0), 1e-12)
    drawn = gaussian_knockoffs(scores, correlation(scores), copies, random)
    return [
        [_reordered(column, order, copy[:, place]) for copy in drawn]
        for place, (column, order) in enumerate(zip(columns, ordered, strict=True))
    ]


def gaussian_knockoffs(x: Array, covariance: Array, copies: int, random: np.random.Generator) -> Array:
    """Return copies, (M, n, P), of rows (n, P) that are normal with mean 0 and a covariance (P, P).

    With S the diagonal matrix of distances, a copy has covariance ``covariance`` with itself, and ``covariance`` - S
    with the columns and with any other copy.
    """
    distances = knockoff_distances(covariance, copies)
    solved = cho_solve(cho_factor(covariance), np.diag(distances))  # covariance^-1 S
    mean = x - x @ solved
    own = random.standard_normal((copies, *x.shape)) * np.sqrt(distances)
    of_mean = (copies + 1) / copies * np.diag(distances) - distances[:, None] * solved
    shared = random.standard_normal(x.shape) @ np.linalg.cholesky((of_mean + of_mean.T) / 2).T
    drawn: Array = mean + shared + own - own.mean(axis=0)
    return drawn


def knockoff_distances(covariance: Array, copies: int) -> Array:
    """Return by how much each column's covariance with its copies is below its variance, (P,).

    Distances maximise the entropy of columns and copies together; of more than ``MOST_FITTED`` columns all have the
    largest that they can have alike.

    Example:
        >>> knockoff_distances(np.eye(2), 1).round(2).tolist()
        [0.99, 0.99]
    """
    share = (copies + 1) / copies
    smallest = float(eigh(covariance, eigvals_only=True, subset_by_index=(0, 0))[0])
    distances = np.full(len(covariance), MARGIN * min(1.0, share * smallest))
    if len(covariance) > MOST_FITTED:
        return distances
    distances /= 2
    for _ in range(ROUNDS):
        inverse = np.linalg.inv(share * covariance - np.diag(distances))
        for place in range(len(distances)):
            room = distances[place] + 1 / inverse[place, place]  # what makes the matrix singular
            change = MARGIN * room * copies / (copies + 1) - distances[place]
            row = inverse[place].copy()
            inverse += np.outer(row, row) * (change / (1 - change * row[place]))
            distances[place] += change
    return distances


def _reordered(column: Values, ordered: Array, scores: Array) -> Values:
    """Return the present cells of a column in the order of scores, (n,); missing ones stay where they are."""
    present = np.flatnonzero(~missing(column))
    copy = column.copy()
    copy[present[np.argsort(scores[present])]] = column[present[np.argsort(ordered[present], kind="stable")]]
    return copy


def _names(inputs: Table | Arrays, copies: int) -> list[tuple[str, ...]]:
    """Return the names of the copies of each column."""
    taken = inputs.feature_names
    if isinstance(inputs, Arrays):
        first = len(taken)
        return [tuple(f"x{first + place * copies + k}" for k in range(copies)) for place in range(first)]
    word = "noise"
    while any(f"({word} " in name for name in taken):
        word += "_"
    return [tuple(f"{name} ({word} {k + 1})" for k in range(copies)) for name in taken]
