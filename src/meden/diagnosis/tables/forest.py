"""Rows as numbers, and a forest's probabilities for rows that it has not seen.

Legend: ``r`` rows that are looked at, ``D`` inputs, ``C`` classes.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from meden._checks import InputError
from meden.data.tables import Table as ReadTable
from meden.diagnosis.tables.columns import identifiers
from meden.diagnosis.tables.table import Codes, Table

Inputs = npt.NDArray[np.float32]
TREES = 100
MOST_INPUTS = 2_000
"""Of more, so many are drawn."""


def inputs_of(table: Table, rows: Codes, without: Collection[str] = ()) -> tuple[Inputs, tuple[str, ...]]:
    """Return the inputs of some rows, (r, D), and the column that each is made of; identifiers are left out."""
    names = [name for name in table.columns if name not in without and name not in table.once(identifiers)]
    read = table.dataset.inputs
    if isinstance(read, ReadTable):
        part = read.only(names).take(rows)
        try:
            encoder = part.fit()
            inputs, origins = encoder.encode(part).numpy(), encoder.input_columns
        except InputError:  # no column whose values recur
            return np.zeros((len(rows), 0), dtype=np.float32), ()
    else:
        inputs = np.column_stack([table.columns[name][rows] for name in names]).astype(np.float32)
        origins = tuple(names)
    if inputs.shape[1] > MOST_INPUTS:
        kept = np.sort(np.random.default_rng(table.seed).choice(inputs.shape[1], MOST_INPUTS, replace=False))
        inputs, origins = inputs[:, kept], tuple(origins[place] for place in kept)
    return inputs, origins


def forest(table: Table) -> Any:
    """Return a forest that is not fitted yet.

    Reference:
        P. Geurts, D. Ernst and L. Wehenkel, Extremely randomized trees, 2006.
    """
    from sklearn.ensemble import ExtraTreesClassifier

    return ExtraTreesClassifier(TREES, random_state=table.seed)
